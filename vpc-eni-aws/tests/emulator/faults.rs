//! Faults that are injected while it runs.

use std::time::{Duration, Instant};

use vpc_eni_aws::emulator::{Ec2Fault, Faults, MetadataFault};
use vpc_ipam_core::testkit::ec2::{Consistency, Ec2Action, Rate, RequestRates};

use super::*;

#[tokio::test]
async fn a_fault_meets_one_eni_from_its_second_call_on() {
    let bed = Bed::plain();
    let (eni, other) = (bed.spare().await, bed.spare().await);
    bed.emulator.inject(
        &Faults::new().ec2(
            Ec2Fault::refused(
                "InvalidNetworkInterfaceID.NotFound",
                "The networkInterface ID '{id}' does not exist",
            )
            .on(Ec2Action::DescribeNetworkInterfaces)
            .resource(&eni)
            .from_call(2),
        ),
    );
    let both = format!("NetworkInterfaceId.1={other}&NetworkInterfaceId.2={eni}");
    bed.ok("DescribeNetworkInterfaces", &both).await;
    bed.ok("DescribeNetworkInterfaces", &format!("NetworkInterfaceId.1={other}")).await;
    let code = "InvalidNetworkInterfaceID.NotFound";
    let message = bed.refused("DescribeNetworkInterfaces", &both, 400, code).await;
    assert_eq!(message, format!("The networkInterface ID '{eni}' does not exist"));
    bed.ok("DescribeNetworkInterfaces", &both).await;
}

#[tokio::test]
async fn a_fault_waits_for_its_time_and_for_calls() {
    let bed = Bed::plain();
    bed.emulator.inject(
        &Faults::new()
            .ec2(
                Ec2Fault::unauthorized()
                    .on(Ec2Action::DescribeTags)
                    .after(Duration::from_secs(5))
                    .lasting(Duration::from_secs(5))
                    .always(),
            )
            .ec2(
                Ec2Fault::throttled()
                    .on(Ec2Action::DescribeSubnets)
                    .after_calls(Ec2Action::DescribeTags, 2),
            ),
    );
    bed.ok("DescribeSubnets", "").await;
    bed.ok("DescribeTags", "").await;
    bed.wind(5000);
    bed.ok("DescribeSubnets", "").await;
    bed.refused("DescribeTags", "", 403, "UnauthorizedOperation").await;
    bed.refused("DescribeSubnets", "", 503, "RequestLimitExceeded").await;
    bed.ok("DescribeSubnets", "").await;
    bed.refused("DescribeTags", "", 403, "UnauthorizedOperation").await;
    bed.wind(5000);
    bed.ok("DescribeTags", "").await;
    assert!(bed.emulator.state().faults.is_empty());
}

#[tokio::test]
async fn a_late_answer_is_of_a_call_that_took_effect_at_once() {
    let bed = Bed::plain();
    let late = Ec2Fault::late(Duration::from_millis(300)).on(Ec2Action::CreateNetworkInterface);
    bed.emulator.inject(&Faults::new().ec2(late));
    let rest = format!("SubnetId={}", bed.subnet());
    let began = Instant::now();
    let slow = bed.ok("CreateNetworkInterface", &rest);
    let watch = async {
        while bed.world().enis().count() == 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bed.ok("DescribeTags", "").await;
    };
    tokio::pin!(slow);
    tokio::select! {
        biased;
        _ = &mut slow => panic!("the answer is not late"),
        () = watch => {}
    }
    slow.await;
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn half_an_answer_and_none() {
    let bed = Bed::plain();
    let faults = "
        [[ec2]]
        action = \"AssignPrivateIpAddresses\"
        fewer = 2

        [[ec2]]
        action = \"CreateNetworkInterface\"
        answer_lost = true
    ";
    bed.emulator.inject(&Faults::parse("f.toml", faults).unwrap());
    let rest = format!("NetworkInterfaceId={}&SecondaryPrivateIpAddressCount=5", bed.primary());
    let xml = bed.ok("AssignPrivateIpAddresses", &rest).await;
    assert_eq!(texts(&xml, "privateIpAddress").len(), 2);
    let rest = format!("SubnetId={}", bed.subnet());
    bed.refused("CreateNetworkInterface", &rest, 504, "NoAnswer").await;
    assert_eq!(bed.world().enis().count(), 2, "nobody has heard of it, but it is there");
}

#[tokio::test]
async fn metadata_refuses_paths_and_leaves_things_out() {
    let bed = Bed::plain();
    let instance = bed.instance.clone();
    let eni = bed.emulator.change(
        &serde_json::from_value(serde_json::json!({
            "do": "create_eni", "instance": instance.as_str(), "addresses": 2
        }))
        .unwrap(),
    );
    let eni = eni.unwrap().unwrap();
    let mac = bed.world().eni(&eni.parse().unwrap()).unwrap().mac;
    let macs = "network/interfaces/macs";
    assert!(bed.meta(macs).await.unwrap().contains(&mac.to_string()));

    bed.emulator.inject(
        &Faults::new()
            .metadata(
                MetadataFault::status(404, "/latest/meta-data/network/interfaces/macs/*/ipv6s")
                    .always(),
            )
            .metadata(
                MetadataFault::body(
                    "0x1",
                    "/latest/meta-data/network/interfaces/macs/*/device-number",
                )
                .times(1),
            )
            .metadata(MetadataFault::omit_keys(None, &["local-ipv4s"])),
    );
    assert_eq!(bed.meta(&format!("{macs}/{mac}/device-number")).await.unwrap(), "0x1");
    assert_eq!(bed.meta(&format!("{macs}/{mac}/device-number")).await.unwrap(), "1");
    assert_eq!(bed.meta(&format!("{macs}/{mac}/local-ipv4s")).await, None);
    let keys = bed.meta(&format!("{macs}/{mac}")).await.unwrap();
    assert!(!keys.contains("local-ipv4s") && keys.contains("interface-id"), "{keys}");
    let primary = bed.mac();
    assert!(bed.meta(&format!("{macs}/{primary}/local-ipv4s")).await.is_some());
    bed.emulator
        .inject(&Faults::new().metadata(MetadataFault::omit_all().lasting(Duration::from_secs(3))));
    assert_eq!(bed.meta(macs).await.unwrap(), format!("{primary}/"));
    bed.wind(3000);
    assert!(bed.meta(macs).await.unwrap().contains(&mac.to_string()));
    bed.emulator.clear_faults();
    assert!(bed.meta(&format!("{macs}/{mac}/local-ipv4s")).await.is_some());
}

#[tokio::test]
async fn frozen_metadata_shows_what_was_when_it_froze() {
    let bed = Bed::plain();
    let frozen = MetadataFault::frozen(Duration::from_secs(10)).after(Duration::from_secs(5));
    bed.emulator.inject(&Faults::new().metadata(frozen));
    let path = format!("network/interfaces/macs/{}/local-ipv4s", bed.mac());
    let rest = format!("NetworkInterfaceId={}&SecondaryPrivateIpAddressCount=1", bed.primary());
    let count = async || bed.meta(&path).await.unwrap().lines().count();
    bed.wind(1000);
    bed.ok("AssignPrivateIpAddresses", &rest).await;
    assert_eq!(count().await, 2, "it has not begun");
    bed.wind(5000);
    bed.ok("AssignPrivateIpAddresses", &rest).await;
    assert_eq!(count().await, 2);
    bed.wind(9000);
    assert_eq!(count().await, 3);
}

#[tokio::test]
async fn tokens_are_refused_and_version_one_is_a_choice() {
    let bed = Bed::plain();
    bed.emulator.inject(&Faults::new().metadata(MetadataFault::status(405, "/latest/api/token")));
    let ttl = [("X-aws-ec2-metadata-token-ttl-seconds", "60")];
    assert_eq!(bed.imds("PUT", "/latest/api/token", &ttl).await.status, 405);
    let path = "/latest/meta-data/instance-id";
    assert_eq!(bed.imds("GET", path, &[]).await.status, 401);
    bed.emulator.allow_imds_v1(true);
    assert_eq!(bed.imds("GET", path, &[]).await.body, bed.instance.to_string());
    // Who has a token must have a good one.
    let bad = [("X-aws-ec2-metadata-token", "old")];
    assert_eq!(bed.imds("GET", path, &bad).await.status, 401);
}

#[tokio::test]
async fn conditions_end_with_the_faults() {
    let bed = Bed::plain();
    let before = bed.world().delays();
    let lag = Consistency { lag: Duration::from_secs(9), ..Consistency::STRONG };
    let rates =
        RequestRates::unlimited().with(Ec2Action::DescribeTags, Rate { size: 1, refill: 0 });
    bed.emulator.inject(&Faults::new().delays(Delays::USUAL).consistency(lag).throttling(rates));
    bed.emulator
        .inject(&Faults::new().delays(Delays { attach: Duration::from_secs(99), ..Delays::NONE }));
    assert_eq!(bed.world().consistency(), lag);
    bed.ok("DescribeTags", "").await;
    bed.refused("DescribeTags", "", 503, "RequestLimitExceeded").await;
    bed.emulator.clear_faults();
    assert_eq!(bed.world().delays(), before);
    assert_eq!(bed.world().consistency(), Consistency::STRONG);
    bed.ok("DescribeTags", "").await;
}
