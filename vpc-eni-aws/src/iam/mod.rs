//! The IAM permissions that the backend needs, by feature. docs/iam.md is made of this table, and a test compares it
//! with the calls that the code makes.

mod page;
#[cfg(test)]
mod tests;

pub use self::page::markdown;

/// What a permission is for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Feature {
    /// A node whose pods have IPv4 addresses: single ones or prefixes, which need the same.
    Ipv4,
    /// A node whose pods have IPv6 addresses.
    Ipv6,
    /// `ENABLE_SUBNET_DISCOVERY`: new ENIs go into the best subnet that tags admit.
    SubnetDiscovery,
    /// The node's ENIs follow the security groups of its primary ENI.
    SecurityGroups,
    /// ENIs that nodes of the cluster have left behind are deleted, unless `DISABLE_LEAKED_ENI_CLEANUP`.
    LeakedEnis,
    /// Instance types that are not in the built-in table.
    UnknownTypes,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Ipv4,
        Self::Ipv6,
        Self::SubnetDiscovery,
        Self::SecurityGroups,
        Self::LeakedEnis,
        Self::UnknownTypes,
    ];

    /// As in the documentation.
    pub fn title(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
            Self::SubnetDiscovery => "Subnet discovery",
            Self::SecurityGroups => "Security groups",
            Self::LeakedEnis => "Leaked ENIs",
            Self::UnknownTypes => "Unknown types",
        }
    }
}

/// On what an action is allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Resource {
    /// EC2 knows no narrower one (`Describe*`), or several kinds take part.
    Any,
    /// ENIs.
    Enis,
}

impl Resource {
    /// As in a policy.
    pub fn arn(self) -> &'static str {
        match self {
            Self::Any => "*",
            Self::Enis => "arn:aws:ec2:*:*:network-interface/*",
        }
    }
}

/// One action that the backend may call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Permission {
    /// The action, without `ec2:`.
    pub action: &'static str,
    /// The narrowest resource that does.
    pub resource: Resource,
    /// Who needs it.
    pub features: &'static [Feature],
    /// What it is called for.
    pub why: &'static str,
    /// What is lost without it.
    pub without: &'static str,
}

/// The table, by action.
pub const PERMISSIONS: &[Permission] = &[
    Permission {
        action: "AssignIpv6Addresses",
        resource: Resource::Any,
        features: &[Feature::Ipv6],
        why: "the node's prefix",
        without: "no pod gets an address, unless the ENI has a prefix already",
    },
    Permission {
        action: "AssignPrivateIpAddresses",
        resource: Resource::Any,
        features: &[Feature::Ipv4],
        why: "addresses and prefixes on ENIs that are there",
        without: "an ENI keeps what it was created with",
    },
    Permission {
        action: "AttachNetworkInterface",
        resource: Resource::Any,
        features: &[Feature::Ipv4, Feature::Ipv6],
        why: "new ENIs",
        without: "the node has the ENIs that it has",
    },
    Permission {
        action: "CreateNetworkInterface",
        resource: Resource::Any,
        features: &[Feature::Ipv4, Feature::Ipv6],
        why: "new ENIs",
        without: "the node has the ENIs that it has",
    },
    Permission {
        action: "CreateTags",
        resource: Resource::Enis,
        features: &[Feature::Ipv4, Feature::Ipv6, Feature::LeakedEnis],
        why: "new ENIs are born with tags, adopted ones get them, leaked ones are marked with the time they were found",
        without: "no ENI can be created",
    },
    Permission {
        action: "DeleteNetworkInterface",
        resource: Resource::Any,
        features: &[Feature::Ipv4, Feature::Ipv6, Feature::LeakedEnis],
        why: "ENIs that are no longer needed, could not be attached, or were left behind",
        without: "ENIs leak, and with them the subnet's addresses",
    },
    Permission {
        action: "DescribeInstanceTypes",
        resource: Resource::Any,
        features: &[Feature::UnknownTypes],
        why: "how many ENIs and addresses the type has",
        without: "the node does not become ready on such a type",
    },
    Permission {
        action: "DescribeNetworkInterfaces",
        resource: Resource::Any,
        features: &[Feature::Ipv4, Feature::Ipv6, Feature::SecurityGroups, Feature::LeakedEnis],
        why: "what the node's ENIs hold; which ENIs are left over",
        without: "instance metadata stands in, which only ever adds; nothing is created or deleted",
    },
    Permission {
        action: "DescribeSubnets",
        resource: Resource::Any,
        features: &[Feature::SubnetDiscovery],
        why: "which subnets there are, their tags and free addresses; a subnet's block where metadata does not say",
        without: "new ENIs go into the node's own subnet",
    },
    Permission {
        action: "DetachNetworkInterface",
        resource: Resource::Any,
        features: &[Feature::Ipv4, Feature::Ipv6],
        why: "ENIs that are no longer needed",
        without: "they stay",
    },
    Permission {
        action: "ModifyNetworkInterfaceAttribute",
        resource: Resource::Any,
        features: &[Feature::Ipv4, Feature::Ipv6, Feature::SecurityGroups],
        why: "a new ENI shall vanish with its instance; security groups",
        without: "no ENI can be created, for it would be left behind",
    },
    Permission {
        action: "UnassignIpv6Addresses",
        resource: Resource::Any,
        features: &[Feature::Ipv6],
        why: "prefixes that are no longer needed; the reference's policies lack it",
        without: "they stay until the ENI is deleted",
    },
    Permission {
        action: "UnassignPrivateIpAddresses",
        resource: Resource::Any,
        features: &[Feature::Ipv4],
        why: "addresses and prefixes that are no longer needed",
        without: "they stay until the ENI is deleted",
    },
];
