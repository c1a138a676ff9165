//! What a refresh reads from metadata: how much, and what it makes of what is missing.

use std::collections::BTreeMap;

use vpc_eni_aws::CallCounts;
use vpc_ipam_core::cloud::{AddressCount, Authority, CloudBackend, CloudErrorKind as Kind};

use crate::support::{Cloud, ids, m5_large, one, prefixes, secondary};

const MACS: &str = "/latest/meta-data/network/interfaces/macs";

/// Requests since `before`, by accessor.
fn since(before: &CallCounts, now: &CallCounts) -> BTreeMap<String, u64> {
    let requests =
        |counts: &CallCounts, name: &String| counts.imds.get(name).map_or(0, |c| c.requests);
    let counts =
        now.imds.keys().map(|name| (name.clone(), requests(now, name) - requests(before, name)));
    counts.filter(|(_, n)| *n > 0).collect()
}

fn expect(wanted: &[(&str, u64)]) -> BTreeMap<String, u64> {
    wanted.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

/// A node with this many ENIs.
async fn node(enis: u32) -> Cloud {
    let cloud = Cloud::in_process(&one("m5.24xlarge", "10.0.0.0/20"), |config| config);
    cloud.backend.instance().await.unwrap();
    for n in 1..enis {
        let request = if n % 2 == 0 { prefixes(1) } else { secondary(2) };
        cloud.backend.create_eni(&request).await.unwrap();
    }
    cloud
}

#[tokio::test(start_paused = true)]
async fn a_refresh_reads_only_what_can_change() {
    for enis in [3, 15] {
        let cloud = node(enis).await;
        let view = cloud.backend.describe().await.unwrap();
        assert_eq!(view.enis.len(), enis as usize);
        // EC2 tells all; metadata is asked for new MACs.
        let before = cloud.backend.call_counts();
        cloud.backend.describe().await.unwrap();
        let counts = cloud.backend.call_counts();
        assert_eq!(since(&before, &counts), expect(&[("GetMACs", 1)]), "{enis} ENIs");

        // Metadata tells all: once everything there is, ...
        cloud.deny_ec2();
        let before = cloud.backend.call_counts();
        cloud.backend.describe().await.unwrap();
        let first = since(&before, &cloud.backend.call_counts());
        assert!(first.values().sum::<u64>() <= 2 + 6 * u64::from(enis), "{first:?}");
        // ... then what may have changed: 8 requests for 3 ENIs and 32 for 15, where all of it would be 26 and 122.
        let before = cloud.backend.call_counts();
        let view = cloud.backend.describe().await.unwrap();
        assert_eq!((view.authority, view.enis.len()), (Authority::Imds, enis as usize));
        let n = u64::from(enis);
        let wanted = [("GetIPv4Prefixes", n), ("GetLocalIPv4s", n), ("GetMACs", 2)];
        assert_eq!(since(&before, &cloud.backend.call_counts()), expect(&wanted));
    }
}

#[tokio::test(start_paused = true)]
async fn an_eni_in_the_place_of_another_is_read_anew() {
    let cloud = node(2).await;
    let gone = cloud.backend.describe().await.unwrap();
    let gone = gone.enis.iter().find(|eni| !eni.primary).unwrap().clone();
    cloud.backend.delete_eni(&gone.id).await.unwrap();
    let new = cloud.backend.create_eni(&secondary(1)).await.unwrap();
    cloud.deny_ec2();
    let view = cloud.backend.describe().await.unwrap();
    assert_eq!(ids(&view), {
        let mut wanted = vec![cloud.primary(), new.id.clone()];
        wanted.sort();
        wanted
    });
    let seen = view.enis.iter().find(|eni| eni.id == new.id).unwrap();
    assert_eq!((seen.device, seen.mac), (new.device, new.mac));
}

#[tokio::test(start_paused = true)]
async fn a_mac_without_attributes_yet_is_neither_an_error_nor_an_eni_without_addresses() {
    let mut cloud = Cloud::in_process(&m5_large(), |config| config);
    let eni = cloud.backend.create_eni(&secondary(1)).await.unwrap();
    cloud.deny_ec2();
    let below = format!("{MACS}/{}/", eni.mac);
    // The attributes come one after the other, in any order.
    for key in
        ["", "interface-id", "device-number", "subnet-id", "subnet-ipv4-cidr-block", "local-ipv4s"]
    {
        cloud.emulator.fail_imds(&format!("{below}{key}"), 404, 1000);
        let view = cloud.backend.describe().await.unwrap();
        assert_eq!(ids(&view), [cloud.primary()], "{key}");
        cloud.emulator.heal_imds();
        assert_eq!(cloud.backend.describe().await.unwrap().enis.len(), 2, "{key}");
        // Seen whole once, it is remembered; begin anew.
        cloud.restart_backend();
    }
    // Nothing of this is a failure.
    let counts = cloud.backend.call_counts();
    assert!(counts.imds.values().all(|count| count.errors == 0), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_listing_or_value_that_fails_is_never_taken_for_nothing_there() {
    let mut cloud = Cloud::in_process(&m5_large(), |config| config);
    let eni = cloud.backend.create_eni(&secondary(1)).await.unwrap();
    cloud.backend.assign_addresses(&eni.id, AddressCount::Prefixes(1)).await.unwrap();
    cloud.deny_ec2();
    let below = format!("{MACS}/{}", eni.mac);
    let keys = ["interface-id", "device-number", "subnet-id", "local-ipv4s", "ipv4-prefix"];
    let mut paths = vec![MACS.to_owned()];
    paths.extend(keys.map(|key| format!("{below}/{key}")));
    for path in paths {
        for status in [400, 401, 403, 429, 500] {
            // What was read once is not asked again.
            cloud.restart_backend();
            cloud.backend.instance().await.unwrap();
            cloud.emulator.fail_imds(&path, status, 50);
            let error = cloud.backend.describe().await.expect_err(&path);
            assert_eq!(error.kind, Kind::PermissionDenied, "EC2 rules: {error}");
            assert!(error.message.contains(&format!("HTTP {status}")), "{path}: {error}");
            assert!(error.message.contains(&path), "{path}: {error}");
            cloud.emulator.heal_imds();
        }
    }
    // The listing of MACs is there on every instance.
    cloud.emulator.fail_imds(MACS, 404, 50);
    assert!(cloud.backend.describe().await.is_err());
    let counts = cloud.backend.call_counts();
    let failed = counts.imds.get("GetMACs").unwrap();
    // Of the hints, and of the view.
    assert_eq!(failed.errors, 2, "{failed:?}");
    assert_eq!(failed.errors_by_code.keys().collect::<Vec<_>>(), ["IMDSRequestError"]);
}

#[tokio::test(start_paused = true)]
async fn where_ec2_answers_a_failed_listing_loses_no_eni() {
    let cloud = node(3).await;
    cloud.emulator.fail_imds(MACS, 500, 50);
    let view = cloud.backend.describe().await.unwrap();
    assert_eq!((view.authority, view.enis.len()), (Authority::Ec2, 3));
}

#[tokio::test(start_paused = true)]
async fn metadata_without_tokens_is_read_without_them() {
    for status in [403, 404, 405] {
        let cloud = Cloud::in_process(&m5_large(), |config| config);
        cloud.emulator.allow_imds_v1(true);
        cloud.emulator.fail_imds("/latest/api/token", status, 1000);
        assert_eq!(cloud.backend.instance().await.unwrap().instance, cloud.instance);
        assert_eq!(cloud.backend.describe().await.unwrap().authority, Authority::Ec2);
        // Then somebody requires them, and they work.
        cloud.emulator.allow_imds_v1(false);
        cloud.emulator.heal_imds();
        cloud.backend.instance().await.unwrap();
        let counts = cloud.backend.call_counts();
        assert!(counts.imds.values().all(|count| count.errors == 0), "{counts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_wanted_but_not_given_are_named() {
    let cloud = Cloud::in_process(&m5_large(), |config| config);
    cloud.emulator.fail_imds("/latest/api/token", 403, 1000);
    let error = cloud.backend.instance().await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
    for part in ["wants a token", "HTTP 403", "hop limit", "ModifyInstanceMetadataOptions"] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    // Where reading without is forbidden, the refusal itself is the error.
    let strict = Cloud::in_process(&m5_large(), |config| config.imds_v1(false));
    strict.emulator.allow_imds_v1(true);
    strict.emulator.fail_imds("/latest/api/token", 405, 1000);
    let error = strict.backend.instance().await.unwrap_err();
    assert!(error.message.contains("answered /latest/api/token with HTTP 405"), "{error}");
}

#[tokio::test]
async fn metadata_that_is_disabled_is_not_asked() {
    let mut cloud = Cloud::with(&m5_large(), |config| config.imds_disabled(true));
    let error = cloud.backend.instance().await.unwrap_err();
    assert_eq!(error.kind, Kind::PermissionDenied, "{error}");
    assert!(error.message.contains("AWS_EC2_METADATA_DISABLED"), "{error}");
    cloud.stop_imds().await;
    let again = cloud.backend.instance().await.unwrap_err();
    assert_eq!(again.message, error.message);
}
