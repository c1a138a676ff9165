//! Each action on its happy path.

use super::*;

#[tokio::test]
async fn an_eni_lives_over_http() {
    let bed = Bed::plain();
    let rest = format!(
        "SubnetId={}&Description=aws-K8S-x&SecondaryPrivateIpAddressCount=2&ClientToken=t1\
         &TagSpecification.1.ResourceType=network-interface&TagSpecification.1.Tag.1.Key=k\
         &TagSpecification.1.Tag.1.Value=a%3Cb",
        bed.subnet()
    );
    let xml = bed.ok("CreateNetworkInterface", &rest).await;
    let eni = text(&xml, "networkInterfaceId");
    assert_eq!(texts(&xml, "primary"), ["true", "false", "false"]);
    assert_eq!(text(&xml, "value"), "a&lt;b");
    let again = bed.ok("CreateNetworkInterface", &rest).await;
    assert_eq!(text(&again, "networkInterfaceId"), eni);

    let rest = format!(
        "NetworkInterfaceId={eni}&InstanceId={}&DeviceIndex=1&NetworkCardIndex=0",
        bed.instance
    );
    let attachment = text(&bed.ok("AttachNetworkInterface", &rest).await, "attachmentId");
    let rest = format!(
        "NetworkInterfaceId={eni}&Attachment.AttachmentId={attachment}&Attachment.DeleteOnTermination=true"
    );
    bed.ok("ModifyNetworkInterfaceAttribute", &rest).await;
    let xml = bed
        .ok(
            "DescribeNetworkInterfaces",
            &format!("Filter.1.Name=attachment.instance-id&Filter.1.Value.1={}", bed.instance),
        )
        .await;
    assert_eq!(texts(&xml, "networkInterfaceId").len(), 2);
    assert_eq!(texts(&xml, "deleteOnTermination"), ["true", "true"]);

    bed.ok("DetachNetworkInterface", &format!("AttachmentId={attachment}")).await;
    bed.ok("DeleteNetworkInterface", &format!("NetworkInterfaceId={eni}")).await;
    let message = bed
        .refused(
            "DescribeNetworkInterfaces",
            &format!("NetworkInterfaceId.1={eni}"),
            400,
            "InvalidNetworkInterfaceID.NotFound",
        )
        .await;
    assert_eq!(message, format!("The networkInterface ID '{eni}' does not exist"));
}

#[tokio::test]
async fn prefixes_come_and_go() {
    let bed = Bed::plain();
    let eni = bed.primary();
    let rest = format!("NetworkInterfaceId={eni}&Ipv4PrefixCount=2");
    let xml = bed.ok("AssignPrivateIpAddresses", &rest).await;
    assert_eq!(texts(&xml, "ipv4Prefix"), ["10.0.0.16/28", "10.0.0.32/28"]);
    assert!(xml.contains("<assignedPrivateIpAddressesSet/>"), "{xml}");
    let rest = format!("NetworkInterfaceId={eni}&Ipv4Prefix.1=10.0.0.16%2F28");
    assert_eq!(text(&bed.ok("UnassignPrivateIpAddresses", &rest).await, "return"), "true");
    let rest = format!("NetworkInterfaceId.1={eni}");
    let xml = bed.ok("DescribeNetworkInterfaces", &rest).await;
    assert_eq!(texts(&xml, "ipv4Prefix"), ["10.0.0.32/28"]);

    let rest = format!("NetworkInterfaceId={eni}&SecondaryPrivateIpAddressCount=2");
    bed.ok("AssignPrivateIpAddresses", &rest).await;
    let rest =
        format!("NetworkInterfaceId={eni}&PrivateIpAddress.1=10.0.0.5&PrivateIpAddress.2=10.0.0.6");
    bed.ok("UnassignPrivateIpAddresses", &rest).await;
    assert_eq!(bed.world().enis().next().unwrap().slots_used(), 1);
}

#[tokio::test]
async fn ipv6_prefixes_come_and_go() {
    let bed = Bed::plain();
    {
        let mut world = bed.world();
        let subnet = world.subnets()[0].id.clone();
        world.set_subnet_ipv6(&subnet, "2001:db8::/64".parse().unwrap()).unwrap();
    }
    let eni = bed.primary();
    let rest = format!("NetworkInterfaceId={eni}&Ipv6PrefixCount=1");
    let xml = bed.ok("AssignIpv6Addresses", &rest).await;
    assert_eq!(text(&xml, "assignedIpv6PrefixSet"), "<item>2001:db8:0:0:1::/80</item>");
    let rest = format!("NetworkInterfaceId.1={eni}");
    let xml = bed.ok("DescribeNetworkInterfaces", &rest).await;
    assert_eq!(texts(&xml, "ipv6Prefix"), ["2001:db8:0:0:1::/80"]);
    assert_eq!(
        bed.meta(&format!("network/interfaces/macs/{}/ipv6-prefix", bed.mac())).await.unwrap(),
        "2001:db8:0:0:1::/80"
    );
    let rest = format!("NetworkInterfaceId={eni}&Ipv6Prefix.1=2001:db8:0:0:1::/80");
    let xml = bed.ok("UnassignIpv6Addresses", &rest).await;
    assert!(xml.contains("<unassignedIpv6PrefixSet><item>"), "{xml}");
    let rest = format!("SubnetId={}&Ipv6AddressCount=1", bed.subnet());
    let xml = bed.ok("CreateNetworkInterface", &rest).await;
    assert_eq!(texts(&xml, "ipv6Address"), ["2001:db8::10"]);
}

#[tokio::test]
async fn an_instance_and_its_type() {
    let bed = Bed::new(&config("p4d.24xlarge"));
    let rest = format!("InstanceId.1={}", bed.instance);
    let xml = bed.ok("DescribeInstances", &rest).await;
    assert_eq!(text(&xml, "instanceId"), bed.instance.as_str());
    assert_eq!(text(&xml, "instanceType"), "p4d.24xlarge");
    assert_eq!(text(&xml, "deviceIndex"), "0");
    assert_eq!(text(&xml, "networkCardIndex"), "0");
    assert_eq!(text(&xml, "launchTime"), "2023-11-14T22:13:20Z");
    assert_eq!(texts(&xml, "reservationId").len(), 1);

    let xml = bed.ok("DescribeInstanceTypes", "InstanceType.1=p4d.24xlarge").await;
    assert_eq!(texts(&xml, "maximumNetworkInterfaces"), ["60", "15", "15", "15", "15"]);
    assert_eq!(texts(&xml, "networkCardIndex"), ["0", "1", "2", "3"]);
    assert_eq!(text(&xml, "maximumNetworkCards"), "4");
    assert_eq!(text(&xml, "ipv4AddressesPerInterface"), "50");
    assert_eq!(text(&xml, "hypervisor"), "nitro");
    let xml = bed.ok("DescribeInstanceTypes", "InstanceType.1=m5.metal").await;
    assert_eq!(text(&xml, "bareMetal"), "true");
    assert_eq!(texts(&xml, "hypervisor").len(), 0);
}

#[tokio::test]
async fn subnets_and_tags() {
    let bed = Bed::plain();
    let rest = format!(
        "ResourceId.1={}&ResourceId.2={}&Tag.1.Key=a&Tag.1.Value=1&Tag.2.Key=b",
        bed.subnet(),
        bed.primary()
    );
    assert_eq!(text(&bed.ok("CreateTags", &rest).await, "return"), "true");
    let vpc = bed.world().vpcs()[0].id.to_string();
    let rest = format!(
        "Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}\
         &Filter.2.Name=availability-zone&Filter.2.Value.1=us-west-2a"
    );
    let xml = bed.ok("DescribeSubnets", &rest).await;
    assert_eq!(text(&xml, "subnetId"), bed.subnet());
    assert_eq!(text(&xml, "cidrBlock"), "10.0.0.0/24");
    assert_eq!(text(&xml, "availableIpAddressCount"), "250");
    assert_eq!(texts(&xml, "key"), ["a", "b"]);
    let rest = format!("SubnetId.1={}", bed.subnet());
    assert_eq!(text(&bed.ok("DescribeSubnets", &rest).await, "vpcId"), vpc);

    let rest = format!(
        "Filter.1.Name=resource-id&Filter.1.Value.1={}&Filter.2.Name=key&Filter.2.Value.1=a",
        bed.primary()
    );
    let xml = bed.ok("DescribeTags", &rest).await;
    assert_eq!(texts(&xml, "value"), ["1"]);
    assert_eq!(texts(&xml, "resourceType"), ["network-interface"]);
}

#[tokio::test]
async fn groups_and_idle_timeouts() {
    let bed = Bed::plain();
    let group = {
        let mut world = bed.world();
        let vpc = world.vpcs()[0].id.clone();
        world.add_security_group(&vpc, "pods").unwrap()
    };
    let rest = format!(
        "SubnetId={}&SecurityGroupId.1={group}&ConnectionTrackingSpecification.UdpTimeout=40\
         &InterfaceType=efa",
        bed.subnet()
    );
    let xml = bed.ok("CreateNetworkInterface", &rest).await;
    assert_eq!(text(&xml, "groupId"), group.as_str());
    assert_eq!(text(&xml, "interfaceType"), "efa");
    assert_eq!(text(&xml, "connectionTrackingConfiguration"), "<udpTimeout>40</udpTimeout>");
    let default = bed.world().vpcs()[0].default_group.to_string();
    let eni = text(&xml, "networkInterfaceId");
    let rest = format!("NetworkInterfaceId={eni}&SecurityGroupId.1={default}");
    bed.ok("ModifyNetworkInterfaceAttribute", &rest).await;
    let xml = bed.ok("DescribeNetworkInterfaces", &format!("NetworkInterfaceId.1={eni}")).await;
    assert_eq!(text(&xml, "groupId"), default);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let bed = Bed::plain();
    for _ in 0..5 {
        bed.ok("CreateNetworkInterface", &format!("SubnetId={}", bed.subnet())).await;
    }
    let xml = bed.ok("DescribeNetworkInterfaces", "MaxResults=5").await;
    assert_eq!(texts(&xml, "networkInterfaceId").len(), 5);
    let token = text(&xml, "nextToken");
    let rest = format!("MaxResults=5&NextToken={token}");
    let xml = bed.ok("DescribeNetworkInterfaces", &rest).await;
    assert_eq!(texts(&xml, "networkInterfaceId").len(), 1);
    assert_eq!(texts(&xml, "nextToken").len(), 0);
}

#[tokio::test]
async fn every_action_answers_in_its_own_element() {
    let bed = Bed::plain();
    for action in vpc_ipam_core::testkit::ec2::Ec2Action::ALL {
        let reply = bed.ec2(action.as_str(), "").await;
        let read = matches!(action.as_str().get(..8), Some("Describe"));
        if read {
            assert_eq!(reply.status, 200, "{action}");
            assert!(reply.body.contains(&format!("<{action}Response xmlns=")), "{}", reply.body);
        } else {
            assert_eq!(text(&reply.body, "Code"), "MissingParameter", "{action}");
        }
        assert_eq!(bed.world().calls()[action], 1, "{action}");
    }
}
