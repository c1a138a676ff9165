//! Which subnets new ENIs go into, and which ENIs are excluded, against an EC2.

use std::collections::BTreeMap;

use vpc_ipam_core::{
    cloud::{AddressCount, CloudBackend, CloudErrorKind as Kind, CreateEni},
    id::SubnetId,
    testkit::ec2::{CreateTags, Ec2Action, Ec2Error, WorldConfig},
};

use crate::support::{Cloud, find, m5_large, prefixes, secondary};

const ROLE: &str = "kubernetes.io/role/cni";
const OURS: &str = "cni.networking.k8s.aws/cluster/blue";
const THEIRS: &str = "cni.networking.k8s.aws/cluster/green";

/// The node's own subnet, and larger ones in the same zone.
fn subnets(others: &[&str]) -> WorldConfig {
    let config = m5_large();
    others.iter().fold(config, |config, cidr| config.subnet(cidr.parse().unwrap()))
}

fn cloud(config: &WorldConfig) -> Cloud {
    Cloud::with(config, |config| config.cluster_name("blue"))
}

fn subnet(cloud: &Cloud, number: usize) -> SubnetId {
    cloud.world().subnets()[number].id.clone()
}

fn tag(cloud: &Cloud, number: usize, tags: &[(&str, &str)]) {
    let resources = vec![subnet(cloud, number).to_string()];
    let tags: BTreeMap<_, _> =
        tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let now = cloud.now();
    cloud.world().create_tags(&CreateTags { resources, tags }, now).unwrap();
}

fn calls(cloud: &Cloud, action: Ec2Action) -> u64 {
    cloud.world().calls().get(&action).copied().unwrap_or(0)
}

#[tokio::test]
async fn the_emptiest_subnet_that_is_tagged_for_this_cluster_is_taken() {
    let cloud = cloud(&subnets(&["10.0.4.0/22", "10.0.8.0/22", "10.0.16.0/20", "10.0.1.0/24"]));
    tag(&cloud, 1, &[(ROLE, "1"), (THEIRS, "1")]);
    tag(&cloud, 2, &[(ROLE, "1"), (OURS, "1"), (THEIRS, "1")]);
    tag(&cloud, 4, &[(ROLE, "1")]);
    let eni = cloud.backend.create_eni(&secondary(3)).await.unwrap();
    assert_eq!(eni.subnet, subnet(&cloud, 2));
    assert!(!eni.excluded);
    assert_eq!(calls(&cloud, Ec2Action::DescribeSubnets), 1);
}

#[tokio::test]
async fn a_fragmented_subnet_is_left_for_one_that_has_a_block() {
    let cloud = cloud(&subnets(&["10.0.1.0/24"]));
    tag(&cloud, 1, &[(ROLE, "1")]);
    let (own, larger) = (subnet(&cloud, 0), subnet(&cloud, 1));
    for block in 0..16 {
        cloud.world().reserve_address(&larger, [10, 0, 1, block * 16 + 8].into()).unwrap();
    }
    // Fewer are free here, but in whole blocks.
    for ip in 100..130 {
        cloud.world().reserve_address(&own, [10, 0, 0, ip].into()).unwrap();
    }
    let eni = cloud.backend.create_eni(&prefixes(1)).await.unwrap();
    assert_eq!((eni.subnet, eni.cidrs.len()), (own, 1));
    assert_eq!(calls(&cloud, Ec2Action::CreateNetworkInterface), 2);
}

#[tokio::test]
async fn without_permission_to_list_subnets_enis_are_made_in_the_nodes_own() {
    let cloud = cloud(&subnets(&["10.0.4.0/22"]));
    tag(&cloud, 1, &[(ROLE, "1")]);
    cloud.world().faults_mut().fail(Ec2Action::DescribeSubnets, Ec2Error::unauthorized(), 1);
    let eni = cloud.backend.create_eni(&secondary(3)).await.unwrap();
    assert_eq!(eni.subnet, subnet(&cloud, 0));
    let trouble = cloud.backend.troubles()["subnets"].clone();
    assert!(trouble.contains("ec2:DescribeSubnets"), "{trouble}");
}

#[tokio::test]
async fn no_valid_subnet_is_an_error_that_costs_no_creation() {
    let cloud = cloud(&m5_large());
    tag(&cloud, 0, &[(ROLE, "0")]);
    let error = cloud.backend.create_eni(&secondary(3)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Other);
    assert!(error.message.contains("no valid subnets"), "{error}");
    assert_eq!(calls(&cloud, Ec2Action::CreateNetworkInterface), 0);
    // Who is there stays, and serves no new pods.
    let view = cloud.backend.describe().await.unwrap();
    assert!(find(&view, &cloud.primary()).excluded);
    assert_eq!(calls(&cloud, Ec2Action::DescribeSubnets), 1);
}

#[tokio::test]
async fn pods_that_belong_elsewhere_get_enis_there_with_the_groups_that_are_asked_for() {
    let cloud = cloud(&subnets(&["10.0.4.0/22", "10.0.8.0/22"]));
    tag(&cloud, 1, &[(ROLE, "1")]);
    let vpc = cloud.world().vpcs()[0].id.clone();
    let group = cloud.world().add_security_group(&vpc, "pods").unwrap();
    let mut request = CreateEni::new(0, AddressCount::Secondary(2));
    request.subnet = Some(subnet(&cloud, 2));
    request.groups = vec![group.clone(), group.clone()];
    let eni = cloud.backend.create_eni(&request).await.unwrap();
    let made = cloud.eni(&eni.id);
    assert_eq!((made.subnet, made.groups), (subnet(&cloud, 2), vec![group]));
    // Without any, those of the primary ENI.
    request.groups.clear();
    let eni = cloud.backend.create_eni(&request).await.unwrap();
    assert_eq!(cloud.eni(&eni.id).groups, cloud.eni(&cloud.primary()).groups);
    assert_eq!(calls(&cloud, Ec2Action::DescribeSubnets), 0);
}

#[tokio::test]
async fn subnets_are_read_to_the_last_page() {
    let mut config = m5_large();
    for n in 0..1003 {
        let cidr = format!("10.0.{}.{}/28", n / 16 + 1, n % 16 * 16);
        config = config.subnet(cidr.parse().unwrap());
    }
    let cloud = cloud(&config);
    let last = cloud.world().subnets().iter().map(|subnet| subnet.id.clone()).max().unwrap();
    let at = cloud.world().subnets().iter().position(|subnet| subnet.id == last).unwrap();
    tag(&cloud, 0, &[(ROLE, "0")]);
    tag(&cloud, at, &[(ROLE, "1")]);
    let eni = cloud.backend.create_eni(&secondary(1)).await.unwrap();
    assert_eq!(eni.subnet, last);
    assert_eq!(calls(&cloud, Ec2Action::DescribeSubnets), 2);
}
