//! Parameters as EC2 reads them: lists, pages, filters, and what is not supported.

use super::*;

#[tokio::test]
async fn what_ec2_has_and_this_has_not_is_not_unknown() {
    let bed = Bed::plain();
    let create = format!("SubnetId={}", bed.subnet());
    let eni = format!("NetworkInterfaceId={}", bed.primary());
    for (action, rest) in [
        ("CreateNetworkInterface", format!("{create}&PrivateIpAddress=10.0.0.9")),
        (
            "CreateNetworkInterface",
            format!("{create}&PrivateIpAddresses.1.PrivateIpAddress=10.0.0.9"),
        ),
        ("CreateNetworkInterface", format!("{create}&Ipv6PrefixCount=1")),
        ("ModifyNetworkInterfaceAttribute", format!("{eni}&SourceDestCheck.Value=false")),
        ("AssignPrivateIpAddresses", format!("{eni}&AllowReassignment=true")),
        ("UnassignIpv6Addresses", format!("{eni}&Ipv6Addresses.1=2001:db8::1")),
    ] {
        let message = bed.refused(action, &rest, 400, "UnsupportedOperation").await;
        assert!(message.contains("is not supported by this emulator"), "{message}");
    }
    bed.refused("CreateNetworkInterface", &format!("{create}&Colour=red"), 400, "UnknownParameter")
        .await;
    assert_eq!(bed.world().enis().count(), 1);
}

#[tokio::test]
async fn numbers_of_lists_have_one_spelling() {
    let bed = Bed::plain();
    for bad in ["InstanceId.0", "InstanceId.01", "InstanceId.+1", "InstanceId.x", "InstanceId"] {
        let rest = format!("{bad}={}", bed.instance);
        bed.refused("DescribeInstances", &rest, 400, "UnknownParameter").await;
    }
}

#[tokio::test]
async fn addresses_of_ones_choice() {
    let bed = Bed::plain();
    let eni = bed.primary();
    let rest = format!(
        "NetworkInterfaceId={eni}&PrivateIpAddress.1=10.0.0.77&PrivateIpAddress.2=10.0.0.9"
    );
    let xml = bed.ok("AssignPrivateIpAddresses", &rest).await;
    assert_eq!(texts(&xml, "privateIpAddress"), ["10.0.0.77", "10.0.0.9"]);
    let rest = format!("NetworkInterfaceId={eni}&Ipv4Prefix.1=10.0.0.96/28");
    let xml = bed.ok("AssignPrivateIpAddresses", &rest).await;
    assert_eq!(texts(&xml, "ipv4Prefix"), ["10.0.0.96/28"]);
    let free = bed.world().subnets()[0].available_ips();
    for (given, code) in [
        // One that is free beside one that is not: neither is taken.
        ("PrivateIpAddress.1=10.0.0.50&PrivateIpAddress.2=10.0.0.77", "InvalidIPAddress.InUse"),
        ("PrivateIpAddress.1=10.0.0.100", "InvalidIPAddress.InUse"),
        ("Ipv4Prefix.1=10.0.0.64/28", "InvalidIPAddress.InUse"),
        ("PrivateIpAddress.1=10.0.1.1", "InvalidParameterValue"),
        ("Ipv4Prefix.1=10.0.0.128/27", "InvalidParameterValue"),
        ("Ipv4Prefix.1=10.0.0.128", "InvalidParameterValue"),
        (
            "PrivateIpAddress.1=10.0.0.50&SecondaryPrivateIpAddressCount=1",
            "InvalidParameterCombination",
        ),
    ] {
        let rest = format!("NetworkInterfaceId={eni}&{given}");
        bed.refused("AssignPrivateIpAddresses", &rest, 400, code).await;
    }
    assert_eq!(bed.world().subnets()[0].available_ips(), free);
    let many: Vec<String> =
        (1..=7).map(|n| format!("PrivateIpAddress.{n}=10.0.0.{}", 150 + n)).collect();
    let rest = format!("NetworkInterfaceId={eni}&{}", many.join("&"));
    bed.refused("AssignPrivateIpAddresses", &rest, 400, "PrivateIpAddressLimitExceeded").await;
}

#[tokio::test]
async fn lists_come_in_pages() {
    let bed = Bed::plain();
    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let xml = bed.ok("DescribeInstanceTypes", &format!("MaxResults=5{token}")).await;
        let page = texts(&xml, "instanceType");
        assert!(page.len() <= 5);
        names.extend(page);
        match texts(&xml, "nextToken").first() {
            Some(next) => token = format!("&NextToken={}", next.replace(':', "%3A")),
            None => break,
        }
    }
    assert_eq!(names.len(), vpc_ipam_core::testkit::ec2::instance_types().len());
    for (action, rest, code) in [
        ("DescribeInstanceTypes", "MaxResults=4", "InvalidParameterValue"),
        (
            "DescribeInstanceTypes",
            "MaxResults=5&InstanceType.1=m5.large",
            "InvalidParameterCombination",
        ),
        ("DescribeTags", "NextToken=mine", "InvalidNextToken"),
        ("DescribeVpcs", "NextToken=mine", "InvalidNextToken"),
        ("DescribeSubnets", "MaxResults=1001", "InvalidParameterValue"),
        ("DescribeInstances", "MaxResults=ten", "InvalidParameterValue"),
    ] {
        bed.refused(action, rest, 400, code).await;
    }
}

#[tokio::test]
async fn filters_pick_and_unknown_ones_are_refused() {
    let bed = Bed::plain();
    let vpc = bed.world().vpcs()[0].id.to_string();
    let filter = |name: &str, value: &str| format!("Filter.1.Name={name}&Filter.1.Value.1={value}");
    for (action, name, value, element, found) in [
        ("DescribeInstances", "private-dns-name", "ip-10-0-0-4.*", "instanceId", 1),
        ("DescribeInstances", "vpc-id", &vpc, "instanceId", 1),
        ("DescribeInstances", "instance-state-name", "stopped", "instanceId", 0),
        ("DescribeInstances", "tag:Name", "*", "instanceId", 0),
        ("DescribeInstanceTypes", "instance-type", "m5.*", "instanceType", 5),
        ("DescribeInstanceTypes", "bare-metal", "true", "instanceType", 1),
        ("DescribeVpcs", "cidr", "10.0.0.0/16", "vpcId", 1),
        ("DescribeVpcs", "vpc-id", "vpc-none", "vpcId", 0),
        ("DescribeSecurityGroups", "group-name", "default", "groupId", 1),
        ("DescribeNetworkInterfaces", "addresses.primary", "true", "macAddress", 1),
        ("DescribeNetworkInterfaces", "attachment.delete-on-termination", "false", "macAddress", 0),
    ] {
        let xml = bed.ok(action, &filter(name, value)).await;
        assert_eq!(texts(&xml, element).len(), found, "{action} {name}={value}: {xml}");
    }
    for action in [
        "DescribeInstances",
        "DescribeInstanceTypes",
        "DescribeNetworkInterfaces",
        "DescribeSecurityGroups",
        "DescribeVpcs",
    ] {
        bed.refused(action, &filter("colour", "red"), 400, "InvalidParameterValue").await;
    }
}

#[tokio::test]
async fn regions_vpcs_and_groups() {
    let bed = Bed::plain();
    let xml = bed.ok("DescribeRegions", "").await;
    assert_eq!(text(&xml, "regionName"), "us-west-2");
    bed.refused("DescribeRegions", "RegionName.1=eu-west-1", 400, "InvalidParameterValue").await;
    let xml = bed.ok("DescribeVpcs", "").await;
    assert_eq!(text(&xml, "cidrBlock"), "10.0.0.0/16");
    bed.refused("DescribeVpcs", "VpcId.1=vpc-gone", 400, "InvalidVpcID.NotFound").await;
    bed.refused("DescribeVpcs", "VpcId.1=x", 400, "InvalidVpcID.Malformed").await;
    bed.refused("DescribeSecurityGroups", "GroupId.1=sg-gone", 400, "InvalidGroup.NotFound").await;
}

#[tokio::test]
async fn timeouts_have_ranges() {
    let bed = Bed::plain();
    let rest = |name: &str, value: u32| {
        format!("SubnetId={}&ConnectionTrackingSpecification.{name}={value}", bed.subnet())
    };
    for (name, low, high) in [
        ("TcpEstablishedTimeout", 60, 432_000),
        ("UdpStreamTimeout", 60, 180),
        ("UdpTimeout", 30, 60),
    ] {
        bed.ok("CreateNetworkInterface", &rest(name, low)).await;
        bed.ok("CreateNetworkInterface", &rest(name, high)).await;
        for bad in [low - 1, high + 1] {
            let code = "InvalidParameterValue";
            bed.refused("CreateNetworkInterface", &rest(name, bad), 400, code).await;
        }
    }
}

#[tokio::test]
async fn what_is_no_form_or_not_at_ec2s_address() {
    let bed = Bed::plain();
    let query = "Action=DescribeRegions&Version=2016-11-15";
    let reply = bed.at("GET", &format!("/?{query}"), "").await;
    assert_eq!(text(&reply.body, "regionName"), "us-west-2");
    let headers = [("Content-Type", "application/json")];
    let reply = request(bed.ec2, "POST", "/", &headers, query).await;
    assert_eq!((reply.status, text(&reply.body, "Code").as_str()), (400, "MalformedQueryString"));
    let headers = [("Content-Type", "Application/X-WWW-Form-UrlEncoded; charset=utf-8")];
    assert_eq!(request(bed.ec2, "POST", "/", &headers, query).await.status, 200);
    for (method, path) in [("POST", "/other"), ("DELETE", "/"), ("GET", "/latest/meta-data/")] {
        let reply = bed.at(method, path, "").await;
        assert_eq!((reply.status, text(&reply.body, "Code").as_str()), (404, "InvalidRequest"));
    }
}
