//! What is sent, byte for byte.

use std::sync::Arc;

use vpc_eni_aws::UpkeepConfig;
use vpc_ipam_core::cloud::CloudBackend as _;

use crate::{
    support::{Cloud, m5_large},
    wire::{backend_of, server},
};

#[tokio::test]
async fn a_sweep_asks_for_unattached_enis_of_the_cluster_page_by_page() {
    let cloud = Cloud::start(&m5_large());
    let vpc = cloud.world().vpcs()[0].id.clone();
    let ec2 = server(|n, _| {
        let next = if n == 0 { "<nextToken>more/1=</nextToken>" } else { "" };
        let page = format!(
            "<DescribeNetworkInterfacesResponse><networkInterfaceSet>\
             <item><networkInterfaceId>no id</networkInterfaceId></item></networkInterfaceSet>\
             {next}</DescribeNetworkInterfacesResponse>"
        );
        Some((200, page))
    });
    let backend = Arc::new(backend_of(&cloud, &ec2, |config| config.cluster_name("blue*")));
    let swept = backend.upkeep(UpkeepConfig::default()).sweep().await.unwrap();
    // One that has no usable id is nothing to stumble over.
    assert_eq!((swept.listed, swept.failed), (0, 0));
    let requests = ec2.requests.lock().unwrap();
    assert_eq!(requests.len(), 2);
    for part in [
        "Action=DescribeNetworkInterfaces&",
        "&Filter.1.Name=tag-key&Filter.1.Value.1=node.k8s.amazonaws.com%2Finstance_id&",
        "&Filter.2.Name=status&Filter.2.Value.1=available&",
        &format!("&Filter.3.Name=vpc-id&Filter.3.Value.1={vpc}&"),
        "&Filter.4.Name=tag%3Acluster.k8s.amazonaws.com%2Fname&Filter.4.Value.1=blue%5C%2A",
        "&MaxResults=1000",
    ] {
        assert!(requests[0].contains(part), "{part} is not in {}", requests[0]);
    }
    assert!(requests[1].contains("&NextToken=more%2F1%3D"), "{}", requests[1]);
}

#[tokio::test]
async fn quirk_q1_the_ec2_endpoint_reaches_the_ec2_client() {
    let cloud = Cloud::start(&m5_large());
    let ec2 = server(|_, _| Some((503, String::new())));
    let backend = backend_of(&cloud, &ec2, |config| config);
    backend.describe().await.unwrap();
    assert!(backend.ec2_failure().is_some());
    let requests = ec2.requests.lock().unwrap().clone();
    let described = |request: &String| request.contains("Action=DescribeNetworkInterfaces&");
    assert!(requests.iter().any(described), "{requests:?}");
    assert_eq!(cloud.world().calls().len(), 0, "the other EC2 was asked");
}

#[tokio::test]
async fn the_watch_of_the_vpcs_blocks_costs_one_read_of_metadata_and_no_call() {
    let config = m5_large().ipv6(0, "2001:db8::/64".parse().unwrap());
    for (family, reads) in [
        (vpc_ipam_core::config::Family::V4, &["GetVPCIPv4CIDRBlocks"][..]),
        (vpc_ipam_core::config::Family::V6, &["GetVPCIPv4CIDRBlocks", "GetVPCIPv6CIDRBlocks"]),
    ] {
        let cloud = Cloud::with(&config, |config| config.family(family));
        let first = cloud.backend.instance().await.unwrap();
        let counts = |cloud: &Cloud| -> std::collections::BTreeMap<_, _> {
            let counts = cloud.backend.call_counts();
            assert_eq!(counts.ec2_requests(), 0);
            counts.imds.into_iter().map(|(name, count)| (name, count.requests)).collect()
        };
        let before = counts(&cloud);
        let vpc = first.vpc.clone();
        cloud.world().add_vpc_cidr(&vpc, "100.64.0.0/16".parse().unwrap()).unwrap();
        let second = cloud.backend.instance().await.unwrap();
        assert_eq!(second.vpc_cidrs.len(), first.vpc_cidrs.len() + 1);
        let after = counts(&cloud);
        let read: Vec<_> = after
            .iter()
            .filter(|(name, n)| before.get(*name) != Some(*n))
            .map(|(k, _)| k)
            .collect();
        assert_eq!(read, reads);
        let ipv6 = second.vpc_cidrs.iter().filter(|block| !block.is_v4()).count();
        assert_eq!(ipv6, reads.len() - 1);
    }
}
