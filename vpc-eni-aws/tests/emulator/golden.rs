//! Whole replies, byte for byte.

use super::*;

/// Ids and MACs are seeded, so the worlds of two runs are the same; names make the texts readable.
fn named(bed: &Bed, xml: &str) -> String {
    let world = bed.world();
    let mut out = xml.to_owned();
    let mut put = |id: &str, name: &str| out = out.replace(id, name);
    for (n, eni) in world.enis().enumerate() {
        put(eni.id.as_str(), &format!("ENI-{n}"));
        put(&eni.mac.to_string(), &format!("MAC-{n}"));
        if let Some(attachment) = &eni.attachment {
            put(&attachment.id, &format!("ATTACHMENT-{n}"));
        }
        put(eni.groups[0].as_str(), "GROUP");
    }
    put(world.instances()[0].id.as_str(), "INSTANCE");
    put(world.subnets()[0].id.as_str(), "SUBNET");
    put(world.vpcs()[0].id.as_str(), "VPC");
    out.replace("><", ">\n<")
}

fn check(bed: &Bed, xml: &str, want: &str) {
    let got = named(bed, xml);
    let want: Vec<&str> = want.trim().lines().map(str::trim).collect();
    assert_eq!(got.lines().collect::<Vec<_>>(), want);
}

#[tokio::test]
async fn create() {
    let bed = Bed::plain();
    let rest = format!(
        "SubnetId={}&Description=a%26b&Ipv4PrefixCount=1&ClientToken=tok\
         &TagSpecification.1.ResourceType=network-interface&TagSpecification.1.Tag.1.Key=k\
         &TagSpecification.1.Tag.1.Value=v",
        bed.subnet()
    );
    let xml = bed.ok("CreateNetworkInterface", &rest).await;
    // Seed 0 sorts the new ENI behind the primary one.
    let number = bed.world().enis().position(|e| e.attachment.is_none()).unwrap();
    let want = r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <CreateNetworkInterfaceResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
        <requestId>00000000-0000-4000-8000-000000000000</requestId>
        <networkInterface>
        <networkInterfaceId>ENI-N</networkInterfaceId>
        <subnetId>SUBNET</subnetId>
        <vpcId>VPC</vpcId>
        <availabilityZone>us-west-2a</availabilityZone>
        <description>a&amp;b</description>
        <ownerId>123456789012</ownerId>
        <requesterManaged>false</requesterManaged>
        <status>available</status>
        <macAddress>MAC-N</macAddress>
        <privateIpAddress>10.0.0.5</privateIpAddress>
        <privateDnsName>ip-10-0-0-5.us-west-2.compute.internal</privateDnsName>
        <sourceDestCheck>true</sourceDestCheck>
        <interfaceType>interface</interfaceType>
        <groupSet>
        <item>
        <groupId>GROUP</groupId>
        <groupName>default</groupName>
        </item>
        </groupSet>
        <privateIpAddressesSet>
        <item>
        <privateIpAddress>10.0.0.5</privateIpAddress>
        <privateDnsName>ip-10-0-0-5.us-west-2.compute.internal</privateDnsName>
        <primary>true</primary>
        </item>
        </privateIpAddressesSet>
        <ipv4PrefixSet>
        <item>
        <ipv4Prefix>10.0.0.16/28</ipv4Prefix>
        </item>
        </ipv4PrefixSet>
        <ipv6AddressesSet/>
        <ipv6PrefixSet/>
        <tagSet>
        <item>
        <key>k</key>
        <value>v</value>
        </item>
        </tagSet>
        </networkInterface>
        <clientToken>tok</clientToken>
        </CreateNetworkInterfaceResponse>"#;
    check(&bed, &xml, &want.replace("-N<", &format!("-{number}<")));
}

#[tokio::test]
async fn describe() {
    let bed = Bed::plain();
    let xml = bed.ok("DescribeNetworkInterfaces", "MaxResults=1000").await;
    let want = r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <DescribeNetworkInterfacesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
        <requestId>00000000-0000-4000-8000-000000000000</requestId>
        <networkInterfaceSet>
        <item>
        <networkInterfaceId>ENI-0</networkInterfaceId>
        <subnetId>SUBNET</subnetId>
        <vpcId>VPC</vpcId>
        <availabilityZone>us-west-2a</availabilityZone>
        <description/>
        <ownerId>123456789012</ownerId>
        <requesterManaged>false</requesterManaged>
        <status>in-use</status>
        <macAddress>MAC-0</macAddress>
        <privateIpAddress>10.0.0.4</privateIpAddress>
        <privateDnsName>ip-10-0-0-4.us-west-2.compute.internal</privateDnsName>
        <sourceDestCheck>true</sourceDestCheck>
        <interfaceType>interface</interfaceType>
        <groupSet>
        <item>
        <groupId>GROUP</groupId>
        <groupName>default</groupName>
        </item>
        </groupSet>
        <attachment>
        <instanceId>INSTANCE</instanceId>
        <instanceOwnerId>123456789012</instanceOwnerId>
        <attachmentId>ATTACHMENT-0</attachmentId>
        <deviceIndex>0</deviceIndex>
        <networkCardIndex>0</networkCardIndex>
        <status>attached</status>
        <deleteOnTermination>true</deleteOnTermination>
        </attachment>
        <privateIpAddressesSet>
        <item>
        <privateIpAddress>10.0.0.4</privateIpAddress>
        <privateDnsName>ip-10-0-0-4.us-west-2.compute.internal</privateDnsName>
        <primary>true</primary>
        </item>
        </privateIpAddressesSet>
        <ipv4PrefixSet/>
        <ipv6AddressesSet/>
        <ipv6PrefixSet/>
        <tagSet/>
        </item>
        </networkInterfaceSet>
        </DescribeNetworkInterfacesResponse>"#;
    check(&bed, &xml, want);
}

#[tokio::test]
async fn assign() {
    let bed = Bed::plain();
    let eni = bed.primary();
    let rest = format!("NetworkInterfaceId={eni}&SecondaryPrivateIpAddressCount=2");
    let xml = bed.ok("AssignPrivateIpAddresses", &rest).await;
    let want = r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <AssignPrivateIpAddressesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
        <requestId>00000000-0000-4000-8000-000000000000</requestId>
        <networkInterfaceId>ENI-0</networkInterfaceId>
        <assignedPrivateIpAddressesSet>
        <item>
        <privateIpAddress>10.0.0.5</privateIpAddress>
        </item>
        <item>
        <privateIpAddress>10.0.0.6</privateIpAddress>
        </item>
        </assignedPrivateIpAddressesSet>
        <assignedIpv4PrefixSet/>
        <return>true</return>
        </AssignPrivateIpAddressesResponse>"#;
    check(&bed, &xml, want);
}

#[tokio::test]
async fn error() {
    let bed = Bed::plain();
    let reply = bed.ec2("DeleteNetworkInterface", "NetworkInterfaceId=eni-gone").await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.header("content-type"), Some("text/xml;charset=UTF-8"));
    let want = r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <Response>
        <Errors>
        <Error>
        <Code>InvalidNetworkInterfaceID.NotFound</Code>
        <Message>The networkInterface ID 'eni-gone' does not exist</Message>
        </Error>
        </Errors>
        <RequestID>00000000-0000-4000-8000-000000000000</RequestID>
        </Response>"#;
    check(&bed, &reply.body, want);
}
