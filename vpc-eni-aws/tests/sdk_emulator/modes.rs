//! Settings that forbid calls, and metadata that cannot be read.

use vpc_eni_aws::{AwsBackend, AwsConfig, UpkeepConfig};
use vpc_ipam_core::{
    cloud::{AddressCount, Authority, CloudBackend, CloudError, CloudErrorKind as Kind},
    testkit::ec2::{Ec2Action, Ec2Error, ForeignEni},
};

use crate::support::{Cloud, find, ids, m5_large, secondary};

async fn changes(backend: &AwsBackend, cloud: &Cloud) -> Vec<CloudError> {
    let eni = cloud.primary();
    let cidr = "10.0.0.9/32".parse().unwrap();
    vec![
        backend.create_eni(&secondary(1)).await.unwrap_err(),
        backend.delete_eni(&"eni-0123456789abcdef0".parse().unwrap()).await.unwrap_err(),
        backend.assign_addresses(&eni, AddressCount::Secondary(1)).await.unwrap_err(),
        backend.unassign_addresses(&eni, &[cidr]).await.unwrap_err(),
    ]
}

/// The reference goes on asking for subnets, and for ENIs where views do not agree.
#[tokio::test]
async fn a_node_on_metadata_alone_never_asks_ec2() {
    let cloud = Cloud::with(&m5_large(), |config| config.imds_only(true));
    let (instance, now) = (cloud.instance.clone(), cloud.now());
    cloud.world().attach_foreign(&instance, &ForeignEni::default(), now).unwrap();
    let facts = cloud.backend.instance().await.unwrap();
    assert_eq!(facts.limits.enis, 3);
    let view = cloud.backend.describe().await.unwrap();
    assert_eq!((view.authority, view.enis.len()), (Authority::Imds, 2));
    assert!(find(&view, &cloud.primary()).primary);
    assert!(view.enis.iter().all(|eni| !eni.excluded && eni.tags.is_empty()));
    for error in changes(&cloud.backend, &cloud).await {
        assert_eq!(error.kind, Kind::Disabled);
        assert!(error.message.contains("ENABLE_IMDS_ONLY_MODE"), "{error}");
    }
    // Nothing is amiss.
    assert!(cloud.backend.ec2_failure().is_none() && cloud.backend.troubles().is_empty());
    assert_eq!(cloud.backend.call_counts().ec2_requests(), 0);
    assert!(cloud.world().calls().is_empty(), "{:?}", cloud.world().calls());
}

#[tokio::test]
async fn without_provisioning_nothing_is_changed_in_ec2_and_all_is_read() {
    let cloud = Cloud::with(&m5_large(), |config| config.provisioning(false));
    assert_eq!(cloud.backend.describe().await.unwrap().authority, Authority::Ec2);
    for error in changes(&cloud.backend, &cloud).await {
        assert_eq!(error.kind, Kind::Disabled);
        assert!(error.message.contains("DISABLE_NETWORK_RESOURCE_PROVISIONING"), "{error}");
    }
    // Not even by what is not asked through the port.
    let backend = std::sync::Arc::new(backend_of(&cloud));
    backend.describe().await.unwrap();
    let adopted = backend.upkeep(UpkeepConfig::default()).adopt().await.unwrap();
    assert_eq!((adopted.tagged, adopted.failed), (0, 1));
    let called: Vec<_> = cloud.world().calls().keys().map(|action| action.as_str()).collect();
    assert!(called.iter().all(|action| action.starts_with("Describe")), "{called:?}");
}

fn backend_of(cloud: &Cloud) -> AwsBackend {
    let config = AwsConfig::builder()
        .ec2_endpoint(&cloud.ec2.as_ref().unwrap().url)
        .imds_endpoint(&cloud.imds.as_ref().unwrap().url)
        .static_credentials("AKID", "secret")
        .provisioning(false);
    AwsBackend::new(config.build().unwrap()).unwrap()
}

#[tokio::test]
async fn an_adopted_eni_is_tagged_in_ec2() {
    let cloud = Cloud::start(&m5_large());
    let config = AwsConfig::builder()
        .ec2_endpoint(&cloud.ec2.as_ref().unwrap().url)
        .imds_endpoint(&cloud.imds.as_ref().unwrap().url)
        .static_credentials("AKID", "secret")
        .cluster_name("blue");
    let backend = std::sync::Arc::new(AwsBackend::new(config.build().unwrap()).unwrap());
    let upkeep = backend.upkeep(UpkeepConfig::default());
    backend.describe().await.unwrap();
    assert_eq!(upkeep.adopt().await.unwrap().tagged, 1);
    let tags = cloud.eni(&cloud.primary()).tags;
    assert_eq!(tags["node.k8s.amazonaws.com/instance_id"], cloud.instance.as_str());
    assert_eq!(tags["cluster.k8s.amazonaws.com/name"], "blue");
    backend.describe().await.unwrap();
    upkeep.adopt().await.unwrap();
    assert_eq!(cloud.world().calls()[&Ec2Action::CreateTags], 1);
    // What it makes itself is born with them.
    backend.create_eni(&secondary(1)).await.unwrap();
    backend.describe().await.unwrap();
    assert_eq!(upkeep.adopt().await.unwrap().tagged, 0);
}

/// The reference looks at another error there, and never tells.
#[tokio::test]
async fn a_missing_permission_to_detach_is_told_as_such() {
    let cloud = Cloud::start(&m5_large());
    let eni = cloud.backend.create_eni(&secondary(1)).await.unwrap();
    let action = Ec2Action::DetachNetworkInterface;
    cloud.world().faults_mut().fail(action, Ec2Error::unauthorized(), 1);
    let error = cloud.backend.delete_eni(&eni.id).await.unwrap_err();
    assert_eq!(error.kind, Kind::PermissionDenied);
    assert_eq!(error.code.as_deref(), Some("UnauthorizedOperation"));
    assert!(cloud.backend.denied_actions().contains_key("DetachNetworkInterface"));
}

/// The reference takes any failure to read what an ENI has for "it has nothing, and is on card 0".
#[tokio::test]
async fn an_eni_whose_metadata_cannot_be_read_is_not_taken_for_one_without_addresses() {
    let cloud = Cloud::start(&m5_large());
    let mac = cloud.eni(&cloud.primary()).mac;
    for key in ["local-ipv4s", "network-card", "ipv4-prefix", "device-number"] {
        let path = format!("/latest/meta-data/network/interfaces/macs/{mac}/{key}");
        let broken = |status| {
            cloud.emulator.heal_imds();
            cloud.emulator.fail_imds(&path, status, 1000);
            let imds = &cloud.imds.as_ref().unwrap().url;
            let config = AwsConfig::builder().imds_endpoint(imds).imds_only(true);
            AwsBackend::new(config.build().unwrap()).unwrap()
        };
        let view = broken(503).describe().await;
        assert!(view.is_err(), "{key}: {view:?}");
        // Absent is something else: normal, or the ENI is left out until it is there.
        let view = broken(404).describe().await.unwrap();
        let whole = ["network-card", "ipv4-prefix"].contains(&key);
        assert_eq!(ids(&view).len(), usize::from(whole), "{key}");
    }
}
