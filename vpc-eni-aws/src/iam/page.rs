//! The table as a page of documentation.

use std::fmt::Write as _;

use super::{Feature, PERMISSIONS, Resource};

const HEAD: &str = r#"# IAM permissions

What the daemon's role must be allowed to do in EC2, and no more. The page is made of the table in
`vpc-eni-aws/src/iam`, which a test compares with the calls that the code makes.

Prefix mode needs what IPv4 needs. A node that only reads instance metadata needs no permission at all, nor does
metadata itself. With `DISABLE_NETWORK_RESOURCE_PROVISIONING` the three `Describe…` actions about ENIs, subnets and
types are enough. `/healthz` and the log name an action that is missing when it is first needed.

The managed policy `AmazonEKS_CNI_Policy` covers IPv4 and all that is optional. It also allows `DescribeInstances`,
`DescribeTags` and `DescribeSecurityGroups`, which this daemon does not call.

"#;

const SCOPED: &str = r#"
## Scoped to a cluster

With `CLUSTER_NAME` every ENI is created with the tag `cluster.k8s.amazonaws.com/name`, so a role can be kept from the
ENIs of others. Replace `CLUSTER` and `VPC_ARN`; instances must be tagged `kubernetes.io/cluster/CLUSTER=owned`. Not
covered are ENIs that are to be adopted, and those of nodes that were created without `CLUSTER_NAME`.

```json
{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets"
      ],
      "Resource": "*"
    },
    {
      "Effect": "Allow",
      "Action": "ec2:CreateTags",
      "Resource": "arn:aws:ec2:*:*:network-interface/*"
    },
    {
      "Effect": "Allow",
      "Action": "ec2:CreateNetworkInterface",
      "Resource": "arn:aws:ec2:*:*:network-interface/*",
      "Condition": { "StringEquals": { "aws:RequestTag/cluster.k8s.amazonaws.com/name": "CLUSTER" } }
    },
    {
      "Effect": "Allow",
      "Action": "ec2:CreateNetworkInterface",
      "Resource": ["arn:aws:ec2:*:*:subnet/*", "arn:aws:ec2:*:*:security-group/*"],
      "Condition": { "ArnEquals": { "ec2:Vpc": "VPC_ARN" } }
    },
    {
      "Effect": "Allow",
      "Action": [
        "ec2:AssignIpv6Addresses",
        "ec2:AssignPrivateIpAddresses",
        "ec2:AttachNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DetachNetworkInterface",
        "ec2:ModifyNetworkInterfaceAttribute",
        "ec2:UnassignIpv6Addresses",
        "ec2:UnassignPrivateIpAddresses"
      ],
      "Resource": "arn:aws:ec2:*:*:network-interface/*",
      "Condition": { "StringEquals": { "aws:ResourceTag/cluster.k8s.amazonaws.com/name": "CLUSTER" } }
    },
    {
      "Effect": "Allow",
      "Action": [
        "ec2:AttachNetworkInterface",
        "ec2:DetachNetworkInterface",
        "ec2:ModifyNetworkInterfaceAttribute"
      ],
      "Resource": "arn:aws:ec2:*:*:instance/*",
      "Condition": { "StringEquals": { "aws:ResourceTag/kubernetes.io/cluster/CLUSTER": "owned" } }
    },
    {
      "Effect": "Allow",
      "Action": "ec2:ModifyNetworkInterfaceAttribute",
      "Resource": "arn:aws:ec2:*:*:security-group/*"
    }
  ]
}
```

The addresses and prefixes of the primary ENI are assigned too, and it carries the tag only if whoever starts the
instances sets it: in launch templates, tag network interfaces as well.
"#;

/// The permissions as a Markdown page.
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("| Action | ");
    for feature in Feature::ALL {
        // Writing to a string cannot fail.
        let _ = write!(page, "{} | ", feature.title());
    }
    page.push_str("What for | Without it |\n|---|");
    page.push_str(&"---|".repeat(Feature::ALL.len() + 2));
    for permission in PERMISSIONS {
        let _ = write!(page, "\n| `ec2:{}` |", permission.action);
        for feature in Feature::ALL {
            page.push_str(if permission.features.contains(&feature) { " yes |" } else { " |" });
        }
        let _ = write!(page, " {} | {} |", permission.why, permission.without);
    }
    page.push_str("\n\n## Least policies\n\nEach is complete for the features that it names.\n");
    let all: Vec<Feature> = Feature::ALL.into_iter().filter(|f| *f != Feature::Ipv6).collect();
    policy(&mut page, "IPv4 alone, or with prefixes", &[Feature::Ipv4]);
    policy(&mut page, "IPv4 with all that is optional", &all);
    policy(&mut page, "IPv6", &[Feature::Ipv6]);
    page.push_str(SCOPED);
    page
}

fn policy(page: &mut String, title: &str, features: &[Feature]) {
    let wanted = |resource| {
        let of = PERMISSIONS.iter().filter(move |p| p.resource == resource);
        let of = of.filter(|p| p.features.iter().any(|f| features.contains(f)));
        of.map(|p| format!("        \"ec2:{}\"", p.action)).collect::<Vec<_>>().join(",\n")
    };
    let statement = |resource: Resource| {
        format!(
            "    {{\n      \"Effect\": \"Allow\",\n      \"Action\": [\n{}\n      ],\n      \"Resource\": \"{}\"\n    }}",
            wanted(resource),
            resource.arn()
        )
    };
    let statements = [statement(Resource::Any), statement(Resource::Enis)].join(",\n");
    let _ = write!(
        page,
        "\n{title}:\n\n```json\n{{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n{statements}\n  ]\n}}\n```\n"
    );
}
