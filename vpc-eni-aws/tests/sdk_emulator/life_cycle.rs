//! What the backend does when all goes well.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use vpc_ipam_core::{
    addr::Prefix,
    cloud::{AddressCount, Authority, CloudBackend, CreateEni, EniKind},
    testkit::ec2::{Delays, Ec2Action},
};

use crate::support::{Cloud, find, ids, m5_large, one, prefixes, secondary, sorted};

#[tokio::test]
async fn the_instance_knows_itself() {
    let cloud = Cloud::start(&m5_large().vpc_cidr("100.64.0.0/16".parse().unwrap()));
    let facts = cloud.backend.instance().await.unwrap();
    let primary = cloud.eni(&cloud.primary());
    assert_eq!(facts.instance, cloud.instance);
    assert_eq!(facts.instance_type, "m5.large");
    assert_eq!(facts.region, "us-west-2");
    assert_eq!(facts.availability_zone, "us-west-2a");
    assert_eq!(facts.vpc, primary.vpc);
    assert_eq!(facts.primary_eni, primary.id);
    assert_eq!(facts.primary_mac, primary.mac);
    assert_eq!(Some(facts.primary_ip), primary.primary_ip);
    assert_eq!(facts.subnet, primary.subnet);
    let blocks: Vec<_> = sorted(facts.vpc_cidrs).iter().map(ToString::to_string).collect();
    assert_eq!(blocks, ["10.0.0.0/16", "100.64.0.0/16"]);
    assert_eq!((facts.limits.enis, facts.limits.slots(), facts.limits.prefixes), (3, 9, true));
    assert_eq!(cloud.backend.call_counts().ec2_requests(), 0);

    // A block that is added to the VPC later is seen; everything else is read once.
    let reads = cloud.backend.call_counts().imds["GetInstanceID"].requests;
    cloud.world().add_vpc_cidr(&primary.vpc, "100.65.0.0/16".parse().unwrap()).unwrap();
    let facts = cloud.backend.instance().await.unwrap();
    assert_eq!(facts.vpc_cidrs.len(), 3);
    assert_eq!(cloud.backend.call_counts().imds["GetInstanceID"].requests, reads);
}

#[tokio::test]
async fn secondary_addresses_from_birth_to_death() {
    let extra = BTreeMap::from([("team".to_owned(), "net & <co>".to_owned())]);
    let cloud = Cloud::with(&m5_large(), |c| c.cluster_name("blue").extra_tags(extra));
    let backend = &cloud.backend;

    let view = backend.describe().await.unwrap();
    assert_eq!((view.authority, view.enis.len()), (Authority::Ec2, 1));
    let primary = &view.enis[0];
    assert!(primary.primary && primary.cidrs.is_empty());
    assert_eq!((primary.device, primary.card, primary.kind), (0, 0, EniKind::Interface));
    assert_eq!(primary.subnet_cidr.to_string(), "10.0.0.0/24");

    let eni = backend.create_eni(&secondary(3)).await.unwrap();
    let born = cloud.eni(&eni.id);
    assert_eq!((eni.device, eni.card, eni.primary, eni.mac), (1, 0, false, born.mac));
    assert_eq!(eni.primary_ip, IpAddr::V4(born.primary_ip.unwrap()));
    assert_eq!(sorted(eni.cidrs.clone()), born.owned());
    assert_eq!(eni.cidrs.len(), 3);
    assert_eq!(born.description, format!("aws-K8S-{}", cloud.instance));
    assert_eq!(born.groups, cloud.eni(&cloud.primary()).groups);
    assert_eq!(born.subnet, primary.subnet);
    assert!(born.attachment.unwrap().delete_on_termination);
    assert_eq!(born.tags["node.k8s.amazonaws.com/instance_id"], cloud.instance.as_str());
    assert_eq!(born.tags["cluster.k8s.amazonaws.com/name"], "blue");
    assert_eq!(born.tags["eks:eni:owner"], "amazon-vpc-cni");
    assert_eq!(born.tags["team"], "net & <co>");
    assert!(born.tags.contains_key("node.k8s.amazonaws.com/createdAt"));
    assert_eq!(eni.tags, born.tags);

    let view = backend.describe().await.unwrap();
    assert_eq!(view.enis.len(), 2);
    assert_eq!(find(&view, &eni.id), &eni);

    let added = backend.assign_addresses(&eni.id, AddressCount::Secondary(2)).await.unwrap();
    assert_eq!(added.len(), 2);
    assert!(added.iter().all(Prefix::is_host));
    backend.unassign_addresses(&eni.id, &eni.cidrs[..2]).await.unwrap();
    let held = [&eni.cidrs[2..], &added].concat();
    assert_eq!(cloud.eni(&eni.id).owned(), sorted(held.clone()));
    let view = backend.describe().await.unwrap();
    assert_eq!(sorted(find(&view, &eni.id).cidrs.clone()), sorted(held));

    backend.delete_eni(&eni.id).await.unwrap();
    assert_eq!(cloud.enis(), [cloud.primary()]);
    assert_eq!(ids(&backend.describe().await.unwrap()), [cloud.primary()]);
    backend.delete_eni(&eni.id).await.unwrap();
}

#[tokio::test]
async fn prefixes_from_birth_to_death() {
    let cloud = Cloud::start(&m5_large());
    let backend = &cloud.backend;
    let eni = backend.create_eni(&prefixes(2)).await.unwrap();
    assert_eq!(eni.cidrs.len(), 2);
    assert!(eni.cidrs.iter().all(|cidr| cidr.len() == 28));
    let added = backend.assign_addresses(&eni.id, AddressCount::Prefixes(1)).await.unwrap();
    assert_eq!((added.len(), added[0].len()), (1, 28));
    // Both sorts on one ENI, given back in one call of ours.
    let single = backend.assign_addresses(&eni.id, AddressCount::Secondary(1)).await.unwrap();
    let give = [added[0], single[0]];
    backend.unassign_addresses(&eni.id, &give).await.unwrap();
    assert_eq!(cloud.eni(&eni.id).owned(), sorted(eni.cidrs));
    backend.delete_eni(&eni.id).await.unwrap();
    assert_eq!(cloud.enis(), [cloud.primary()]);
}

#[tokio::test]
async fn an_eni_without_addresses_can_be_had() {
    let cloud = Cloud::start(&m5_large());
    let eni = cloud.backend.create_eni(&secondary(0)).await.unwrap();
    assert!(eni.cidrs.is_empty());
    assert_eq!(ids(&cloud.backend.describe().await.unwrap()).len(), 2);
}

#[tokio::test]
async fn a_request_beyond_the_instance_is_cut_to_what_an_eni_holds() {
    let cloud = Cloud::start(&m5_large());
    cloud.backend.instance().await.unwrap();
    let eni = cloud.backend.create_eni(&secondary(100)).await.unwrap();
    assert_eq!(eni.cidrs.len(), 9);
}

#[tokio::test]
async fn device_indexes_are_per_card_and_gaps_are_filled() {
    let cloud = Cloud::start(&one("p4d.24xlarge", "10.0.0.0/20"));
    let backend = &cloud.backend;
    let first = backend.create_eni(&secondary(1)).await.unwrap();
    let second = backend.create_eni(&secondary(1)).await.unwrap();
    assert_eq!((first.device, second.device), (1, 2));
    backend.delete_eni(&first.id).await.unwrap();
    let third = backend.create_eni(&secondary(1)).await.unwrap();
    assert_eq!(third.device, 1);
    let other = CreateEni::new(2, AddressCount::Secondary(1));
    let other = backend.create_eni(&other).await.unwrap();
    // Indexes are counted per card; the first on another card makes no ENI the primary one.
    assert_eq!((other.card, other.device, other.primary), (2, 0, false));
    let view = backend.describe().await.unwrap();
    assert_eq!(view.enis.iter().filter(|eni| eni.primary).count(), 1);
}

#[tokio::test]
async fn attaching_and_detaching_take_their_time() {
    let mut delays = Delays::NONE;
    delays.attach = Duration::from_millis(500);
    delays.detach = Duration::from_millis(700);
    let cloud = Cloud::start(&m5_large().delays(delays));
    let eni = cloud.backend.create_eni(&secondary(2)).await.unwrap();
    assert_eq!(eni.cidrs.len(), 2);
    cloud.backend.delete_eni(&eni.id).await.unwrap();
    assert_eq!(cloud.enis(), [cloud.primary()]);
    // Waiting looks at the ENI; it does not provoke refused deletions.
    assert_eq!(cloud.world().calls()[&Ec2Action::DeleteNetworkInterface], 1);
}

#[tokio::test]
async fn each_call_is_counted_and_told() {
    #[derive(Debug, Default)]
    struct Log(std::sync::Mutex<Vec<String>>);
    impl vpc_eni_aws::CallObserver for Log {
        fn observe(&self, call: &vpc_eni_aws::Call<'_>) {
            assert!(call.latency > Duration::ZERO);
            self.0.lock().unwrap().push(format!("{} {:?}", call.action, call.outcome));
        }
    }
    let cloud = Cloud::start(&m5_large());
    let log = std::sync::Arc::new(Log::default());
    let config = vpc_eni_aws::AwsConfig::builder()
        .ec2_endpoint(&cloud.ec2.as_ref().unwrap().url)
        .imds_endpoint(&cloud.imds.as_ref().unwrap().url)
        .static_credentials("AKID", "secret")
        .build()
        .unwrap();
    let observer = Some(std::sync::Arc::clone(&log) as _);
    let backend = vpc_eni_aws::AwsBackend::with_observer(config, observer).unwrap();
    backend.describe().await.unwrap();
    let nowhere = "eni-0123456789abcdef0".parse().unwrap();
    let refused = backend.assign_addresses(&nowhere, AddressCount::Secondary(1)).await;
    assert!(refused.is_err());
    let mut log = log.0.lock().unwrap().clone();
    // These two are made at the same time.
    log[..2].sort();
    assert_eq!(
        log,
        [
            "DescribeNetworkInterfaces Ok",
            "DescribeSubnets Ok",
            "AssignPrivateIpAddresses Refused(\"InvalidNetworkInterfaceID.NotFound\")",
        ]
    );
    let counts = backend.call_counts();
    assert_eq!(counts.ec2_requests(), 3);
    let assign = &counts.ec2["AssignPrivateIpAddresses"];
    assert_eq!((assign.requests, assign.errors), (1, 1));
    assert_eq!(assign.errors_by_code["InvalidNetworkInterfaceID.NotFound"], 1);
}
