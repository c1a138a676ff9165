//! What is refused, and how.

use vpc_ipam_core::testkit::ec2::{Ec2Action, Ec2Error};

use super::*;

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let bed = Bed::plain();
    let eni = bed.primary();
    let i = &bed.instance;
    for (action, rest, code) in [
        ("RunInstances", String::new(), "InvalidAction"),
        ("DeleteNetworkInterface", String::new(), "MissingParameter"),
        (
            "DeleteNetworkInterface",
            "NetworkInterfaceId=x".to_owned(),
            "InvalidNetworkInterfaceID.Malformed",
        ),
        (
            "DeleteNetworkInterface",
            format!("NetworkInterfaceId={eni}&Colour=red"),
            "UnknownParameter",
        ),
        ("DeleteNetworkInterface", format!("NetworkInterfaceId={eni}"), "InvalidParameterValue"),
        (
            "AssignPrivateIpAddresses",
            format!("NetworkInterfaceId={eni}&SecondaryPrivateIpAddressCount=-1"),
            "InvalidParameterValue",
        ),
        (
            "AssignPrivateIpAddresses",
            format!("NetworkInterfaceId={eni}&SecondaryPrivateIpAddressCount=1&Ipv4PrefixCount=1"),
            "InvalidParameterCombination",
        ),
        ("AssignPrivateIpAddresses", format!("NetworkInterfaceId={eni}"), "MissingParameter"),
        (
            "AssignPrivateIpAddresses",
            format!("NetworkInterfaceId={eni}&SecondaryPrivateIpAddressCount=10"),
            "PrivateIpAddressLimitExceeded",
        ),
        (
            "UnassignPrivateIpAddresses",
            format!("NetworkInterfaceId={eni}&PrivateIpAddress.1=10.0.0.4"),
            "InvalidParameterValue",
        ),
        (
            "UnassignPrivateIpAddresses",
            format!("NetworkInterfaceId={eni}&PrivateIpAddress.1=ten"),
            "InvalidParameterValue",
        ),
        (
            "AttachNetworkInterface",
            format!("NetworkInterfaceId={eni}&InstanceId=i-gone&DeviceIndex=1"),
            "InvalidInstanceID.NotFound",
        ),
        (
            "AttachNetworkInterface",
            format!("NetworkInterfaceId={eni}&InstanceId={i}&DeviceIndex=1"),
            "InvalidNetworkInterface.InUse",
        ),
        (
            "AttachNetworkInterface",
            format!("NetworkInterfaceId={eni}&InstanceId={i}"),
            "MissingParameter",
        ),
        (
            "ModifyNetworkInterfaceAttribute",
            format!("NetworkInterfaceId={eni}"),
            "InvalidParameterCombination",
        ),
        (
            "ModifyNetworkInterfaceAttribute",
            format!("NetworkInterfaceId={eni}&Attachment.DeleteOnTermination=true"),
            "MissingParameter",
        ),
        (
            "ModifyNetworkInterfaceAttribute",
            format!(
                "NetworkInterfaceId={eni}&SecurityGroupId.1=sg-x&Attachment.AttachmentId=x\
                 &Attachment.DeleteOnTermination=true"
            ),
            "InvalidParameterCombination",
        ),
        ("DetachNetworkInterface", "AttachmentId=x".to_owned(), "InvalidAttachmentID.NotFound"),
        ("CreateNetworkInterface", "SubnetId=subnet-x".to_owned(), "InvalidSubnetID.NotFound"),
        (
            "CreateNetworkInterface",
            format!("SubnetId={}&SecurityGroupId.1=sg-x", bed.subnet()),
            "InvalidGroup.NotFound",
        ),
        (
            "CreateNetworkInterface",
            format!("SubnetId={}&TagSpecification.1.ResourceType=instance", bed.subnet()),
            "InvalidParameterValue",
        ),
        (
            "CreateNetworkInterface",
            format!("SubnetId={}&InterfaceType=modem", bed.subnet()),
            "InvalidParameterValue",
        ),
        ("DescribeInstances", "InstanceId.1=i-gone".to_owned(), "InvalidInstanceID.NotFound"),
        ("DescribeInstanceTypes", "InstanceType.1=x9.tiny".to_owned(), "InvalidInstanceType"),
        (
            "DescribeSubnets",
            "Filter.1.Name=colour&Filter.1.Value.1=x".to_owned(),
            "InvalidParameterValue",
        ),
        ("DescribeTags", "Filter.1.Name=key".to_owned(), "MissingParameter"),
        (
            "CreateTags",
            "ResourceId.1=eni-gone&Tag.1.Key=k".to_owned(),
            "InvalidNetworkInterfaceID.NotFound",
        ),
    ] {
        let message = bed.refused(action, &rest, 400, code).await;
        assert!(!message.is_empty(), "{action}");
    }
    assert_eq!(bed.world().enis().count(), 1);
}

#[tokio::test]
async fn statuses_are_ec2s() {
    let bed = Bed::plain();
    for (error, status) in [
        (Ec2Error::unauthorized(), 403),
        (Ec2Error::throttled(), 503),
        (Ec2Error::internal(), 500),
        (Ec2Error::new("AuthFailure", "who?"), 401),
        (Ec2Error::new("Blocked", "no"), 400),
    ] {
        let code = error.code.to_string();
        bed.world().faults_mut().fail(Ec2Action::DescribeTags, error, 1);
        bed.refused("DescribeTags", "", status, &code).await;
    }
    bed.ok("DescribeTags", "").await;
    bed.refused("DescribeTags", "DryRun=true", 412, "DryRunOperation").await;
}

#[tokio::test]
async fn broken_requests_get_an_xml_error() {
    let bed = Bed::plain();
    for (body, code) in [
        ("", "MissingAction"),
        ("Action=DescribeTags", "MissingParameter"),
        ("Action=DescribeTags&Version=2014-01-01", "NoSuchVersion"),
        ("Action=DescribeTags&Action=DescribeTags&Version=2016-11-15", "MalformedQueryString"),
        ("Action=%3Cscript%3E&Version=2016-11-15", "InvalidAction"),
    ] {
        let reply = bed.raw(body).await;
        assert_eq!(reply.status, 400);
        assert_eq!(text(&reply.body, "Code"), code, "{body}");
        assert!(!reply.body.contains("<script>"), "{}", reply.body);
    }
    let reply = bed.raw(&format!("Action={}", "x".repeat(2 << 20))).await;
    assert_eq!(text(&reply.body, "Code"), "MalformedQueryString");
}

#[tokio::test]
async fn a_full_subnet_and_a_full_instance() {
    let config = WorldConfig::new("10.0.0.0/16".parse().unwrap())
        .subnet("10.0.0.0/28".parse().unwrap())
        .subnet("10.0.1.0/24".parse().unwrap())
        .instance(0, "t3.small")
        .instance(1, "m4.large");
    let bed = Bed::new(&config);
    let rest = format!("SubnetId={}&Ipv4PrefixCount=1", bed.subnet());
    bed.refused("CreateNetworkInterface", &rest, 400, "InsufficientCidrBlocks").await;
    let rest = format!("SubnetId={}&SecondaryPrivateIpAddressCount=10", bed.subnet());
    bed.refused("CreateNetworkInterface", &rest, 400, "InsufficientFreeAddressesInSubnet").await;
    for device in 1..=3 {
        let rest = format!("SubnetId={}", bed.subnet());
        let eni = text(&bed.ok("CreateNetworkInterface", &rest).await, "networkInterfaceId");
        let rest =
            format!("NetworkInterfaceId={eni}&InstanceId={}&DeviceIndex={device}", bed.instance);
        if device < 3 {
            bed.ok("AttachNetworkInterface", &rest).await;
            let busy = rest.replace(&eni, &bed.spare().await);
            bed.refused("AttachNetworkInterface", &busy, 400, "InvalidParameterValue").await;
        } else {
            bed.refused("AttachNetworkInterface", &rest, 400, "AttachmentLimitExceeded").await;
        }
    }
    let xen = bed.world().instances()[1].primary_eni.to_string();
    let rest = format!("NetworkInterfaceId={xen}&Ipv4PrefixCount=1");
    bed.refused("AssignPrivateIpAddresses", &rest, 400, "UnsupportedOperation").await;
}
