//! The backend through its life cycle against moto, an EC2 that others wrote.
//!
//! Where moto differs from EC2 the tests say so and expect what moto does; see `docs/emulator.md`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod world;

use std::path::Path;

use vpc_ipam_core::{
    addr::Prefix,
    cloud::{AddressCount, Authority, CloudBackend as _, CloudErrorKind, CreateEni},
    id::EniId,
};

use self::world::{Moto, installed};

fn run(name: &str, test: impl AsyncFnOnce(Moto)) {
    let Some(bin) = installed(name) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { test(Moto::start(Path::new(&bin)).await).await });
}

#[test]
fn an_eni_is_made_filled_emptied_and_freed() {
    run("life_cycle", async |moto| {
        let backend = &moto.backend;
        let facts = backend.instance().await.unwrap();
        assert_eq!(facts.primary_eni.as_str(), moto.fact("primary"));

        let born =
            backend.create_eni(&CreateEni::new(0, AddressCount::Secondary(3))).await.unwrap();
        assert_eq!((born.device, born.primary, born.cidrs.len()), (1, false, 3));
        assert_eq!(born.subnet.as_str(), moto.fact("subnet"));
        assert_eq!(born.tags["node.k8s.amazonaws.com/instance_id"], moto.fact("instance"));
        assert_eq!(born.tags["cluster.k8s.amazonaws.com/name"], "prod");

        let view = backend.describe().await.unwrap();
        assert_eq!((view.authority, view.enis.len()), (Authority::Ec2, 2));
        let shown = view.enis.iter().find(|eni| eni.id == born.id).unwrap();
        assert_eq!(sorted(shown.cidrs.clone()), sorted(born.cidrs.clone()));

        // EC2 names the new addresses only, moto all that the ENI has, its own included.
        let named = backend.assign_addresses(&born.id, AddressCount::Secondary(2)).await.unwrap();
        assert!(named.contains(&Prefix::host(born.primary_ip)), "moto has changed: {named:?}");
        let held = cidrs(&moto, &born.id).await;
        assert_eq!(held.len(), 5);
        let new: Vec<Prefix> = held.iter().filter(|c| !born.cidrs.contains(c)).copied().collect();
        assert!(new.len() == 2 && new.iter().all(|cidr| named.contains(cidr)));

        backend.unassign_addresses(&born.id, &new).await.unwrap();
        assert_eq!(cidrs(&moto, &born.id).await, sorted(born.cidrs));
        backend.delete_eni(&born.id).await.unwrap();
        backend.delete_eni(&born.id).await.unwrap();
        assert_eq!(backend.describe().await.unwrap().enis.len(), 1);
    });
}

#[test]
fn what_the_foreign_ec2_refuses_is_told_with_its_code_and_leaves_nothing() {
    run("refusals", async |moto| {
        let backend = &moto.backend;
        let gone: EniId = "eni-0123456789abcdef0".parse().unwrap();
        let error = backend.assign_addresses(&gone, AddressCount::Secondary(1)).await.unwrap_err();
        assert_eq!(error.kind, CloudErrorKind::Gone, "{error}");
        assert!(error.message.contains("InvalidNetworkInterfaceID.NotFound"), "{error}");
        backend.delete_eni(&gone).await.unwrap();

        // moto takes a count of prefixes and assigns none: no success is made of that.
        let primary = moto.fact("primary").parse().unwrap();
        let error =
            backend.assign_addresses(&primary, AddressCount::Prefixes(1)).await.unwrap_err();
        assert_eq!(error.kind, CloudErrorKind::Malformed, "{error}");

        let mut elsewhere = CreateEni::new(0, AddressCount::Secondary(1));
        elsewhere.subnet = Some("subnet-0123456789abcdef0".parse().unwrap());
        let error = backend.create_eni(&elsewhere).await.unwrap_err();
        assert_eq!(error.kind, CloudErrorKind::Gone, "{error}");
        assert!(error.message.contains("InvalidSubnetID.NotFound"), "{error}");
        assert_eq!(backend.describe().await.unwrap().enis.len(), 1);
    });
}

async fn cidrs(moto: &Moto, eni: &EniId) -> Vec<Prefix> {
    let view = moto.backend.describe().await.unwrap();
    sorted(view.enis.into_iter().find(|found| found.id == *eni).unwrap().cidrs)
}

fn sorted(mut cidrs: Vec<Prefix>) -> Vec<Prefix> {
    cidrs.sort();
    cidrs
}
