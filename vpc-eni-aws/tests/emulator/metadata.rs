//! IMDSv2: tokens, paths, staleness.

use std::time::Duration;

use super::*;

const TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "X-aws-ec2-metadata-token";

#[tokio::test]
async fn a_token_needs_a_life_within_bounds() {
    let bed = Bed::plain();
    for ttl in ["0", "21601", "-1", "ten", ""] {
        let reply = bed.imds("PUT", "/latest/api/token", &[(TTL, ttl)]).await;
        assert_eq!(reply.status, 400, "{ttl}");
    }
    assert_eq!(bed.imds("PUT", "/latest/api/token", &[]).await.status, 400);
    assert_eq!(bed.imds("GET", "/latest/api/token", &[(TTL, "60")]).await.status, 405);
    assert_eq!(bed.imds("POST", "/latest/meta-data/mac", &[]).await.status, 405);
    for ttl in ["1", "300", "21600"] {
        let reply = bed.imds("PUT", "/latest/api/token", &[(TTL, ttl)]).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header(TTL), Some(ttl));
        assert!(reply.body.len() > 20 && !reply.body.contains('\n'));
    }
}

#[tokio::test]
async fn nothing_is_told_without_a_living_token() {
    let bed = Bed::plain();
    let path = "/latest/meta-data/mac";
    assert_eq!(bed.imds("GET", path, &[]).await.status, 401);
    assert_eq!(bed.imds("GET", path, &[(TOKEN, "forged")]).await.status, 401);
    assert_eq!(bed.imds("GET", "/latest/meta-data/none", &[]).await.status, 401);
    let token = bed.token(10).await;
    assert_eq!(bed.imds("GET", path, &[(TOKEN, &token)]).await.status, 200);
    bed.wind(9_999);
    assert_eq!(bed.imds("GET", path, &[(TOKEN, &token)]).await.status, 200);
    bed.wind(1);
    assert_eq!(bed.imds("GET", path, &[(TOKEN, &token)]).await.status, 401);
}

#[tokio::test]
async fn a_token_is_good_for_one_instance() {
    let bed = Bed::new(&config("m5.large").instance(0, "m5.large"));
    let other = bed.world().instances()[1].id.clone();
    let other = start(bed.emulator.imds_router(&other));
    let token = bed.token(60).await;
    let path = "/latest/meta-data/instance-id";
    let reply = request(other, "GET", path, &[(TOKEN, &token)], "").await;
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn the_paths_that_the_daemon_reads() {
    let bed = Bed::plain();
    let mac = bed.mac();
    let eni = format!("network/interfaces/macs/{mac}");
    let (vpc, subnet, group) = {
        let world = bed.world();
        let vpc = &world.vpcs()[0];
        (vpc.id.to_string(), world.subnets()[0].id.to_string(), vpc.default_group.to_string())
    };
    for (path, want) in [
        ("placement/availability-zone", "us-west-2a"),
        ("placement/region", "us-west-2"),
        ("local-ipv4", "10.0.0.4"),
        ("instance-id", bed.instance.as_str()),
        ("instance-type", "m5.large"),
        ("mac", &mac),
        ("network/interfaces/macs", &format!("{mac}/")),
        ("network/interfaces/macs/", &format!("{mac}/")),
        (&format!("{eni}/interface-id"), &bed.primary()),
        (&format!("{eni}/device-number"), "0"),
        (&format!("{eni}/subnet-id"), &subnet),
        (&format!("{eni}/vpc-id"), &vpc),
        (&format!("{eni}/security-group-ids"), &group),
        (&format!("{eni}/security-groups"), "default"),
        (&format!("{eni}/local-ipv4s"), "10.0.0.4"),
        (&format!("{eni}/subnet-ipv4-cidr-block"), "10.0.0.0/24"),
        (&format!("{eni}/vpc-ipv4-cidr-block"), "10.0.0.0/16"),
        (&format!("{eni}/vpc-ipv4-cidr-blocks"), "10.0.0.0/16"),
        (&format!("{eni}/owner-id"), "123456789012"),
    ] {
        assert_eq!(bed.meta(path).await.as_deref(), Some(want), "{path}");
    }
    for absent in [
        "ipv6",
        "public-ipv4",
        "network/interfaces/macs/02:00:00:00:00:00",
        "network/interfaces/macs/02:00:00:00:00:00/interface-id",
        &format!("{eni}/ipv4-prefix"),
        &format!("{eni}/network-card"),
        &format!("{eni}/ipv6s"),
        &format!("{eni}/vpc-ipv6-cidr-blocks"),
        "networ",
    ] {
        assert_eq!(bed.meta(absent).await, None, "{absent}");
    }
}

#[tokio::test]
async fn a_listing_names_what_is_there_and_nothing_else() {
    let bed = Bed::plain();
    let path = format!("network/interfaces/macs/{}", bed.mac());
    let want = [
        "device-number",
        "interface-id",
        "local-hostname",
        "local-ipv4s",
        "mac",
        "owner-id",
        "security-group-ids",
        "security-groups",
        "subnet-id",
        "subnet-ipv4-cidr-block",
        "vpc-id",
        "vpc-ipv4-cidr-block",
        "vpc-ipv4-cidr-blocks",
    ];
    let keys = bed.meta(&path).await.unwrap();
    assert_eq!(keys.lines().collect::<Vec<_>>(), want);
    assert_eq!(bed.meta(&format!("{path}/")).await.unwrap(), keys);
    let rest = format!("NetworkInterfaceId={}&Ipv4PrefixCount=2", bed.primary());
    bed.ok("AssignPrivateIpAddresses", &rest).await;
    assert!(bed.meta(&path).await.unwrap().lines().any(|l| l == "ipv4-prefix"));
    let prefixes = bed.meta(&format!("{path}/ipv4-prefix")).await.unwrap();
    assert_eq!(prefixes, "10.0.0.16/28\n10.0.0.32/28");

    let many = Bed::new(&config("p4d.24xlarge"));
    let path = format!("network/interfaces/macs/{}/network-card", many.mac());
    assert_eq!(many.meta(&path).await.as_deref(), Some("0"));
    assert!(bed.meta("").await.unwrap().lines().any(|l| l == "network/"));
}

#[tokio::test]
async fn who_the_instance_is_and_what_it_may() {
    let bed = Bed::plain();
    let token = bed.token(60).await;
    let path = "/latest/dynamic/instance-identity/document";
    let reply = bed.imds("GET", path, &[(TOKEN, &token)]).await;
    let document: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    for (key, want) in [
        ("region", "us-west-2"),
        ("instanceId", bed.instance.as_str()),
        ("availabilityZone", "us-west-2a"),
        ("instanceType", "m5.large"),
        ("accountId", "123456789012"),
        ("privateIp", "10.0.0.4"),
        ("architecture", "x86_64"),
        ("pendingTime", "2023-11-14T22:13:20Z"),
    ] {
        assert_eq!(document[key], want, "{key}");
    }
    let role = bed.meta("iam/security-credentials/").await.unwrap();
    assert_eq!(bed.meta("iam/security-credentials").await.unwrap(), role);
    let keys = bed.meta(&format!("iam/security-credentials/{role}")).await.unwrap();
    let keys: serde_json::Value = serde_json::from_str(&keys).unwrap();
    assert_eq!(keys["Code"], "Success");
    assert_eq!(keys["Expiration"], "2023-11-15T04:13:20Z");
    for key in ["AccessKeyId", "SecretAccessKey", "Token"] {
        assert!(keys[key].as_str().is_some_and(|v| !v.is_empty()), "{key}");
    }
}

#[tokio::test]
async fn metadata_lags_behind_ec2_in_both_directions() {
    let bed = Bed::slow(Delays {
        address_to_imds: Duration::from_secs(4),
        attach_to_imds: Duration::from_secs(10),
        ..Delays::NONE
    });
    let eni = bed.primary();
    let path = format!("network/interfaces/macs/{}/local-ipv4s", bed.mac());
    let rest = format!("NetworkInterfaceId={eni}&SecondaryPrivateIpAddressCount=1");
    bed.ok("AssignPrivateIpAddresses", &rest).await;
    assert_eq!(bed.meta(&path).await.unwrap(), "10.0.0.4");
    bed.wind(4_000);
    assert_eq!(bed.meta(&path).await.unwrap(), "10.0.0.4\n10.0.0.5");
    let rest = format!("NetworkInterfaceId={eni}&PrivateIpAddress.1=10.0.0.5");
    bed.ok("UnassignPrivateIpAddresses", &rest).await;
    assert_eq!(bed.meta(&path).await.unwrap(), "10.0.0.4\n10.0.0.5");
    bed.wind(4_000);
    assert_eq!(bed.meta(&path).await.unwrap(), "10.0.0.4");

    let new = bed.spare().await;
    let rest = format!("NetworkInterfaceId={new}&InstanceId={}&DeviceIndex=1", bed.instance);
    let attachment = text(&bed.ok("AttachNetworkInterface", &rest).await, "attachmentId");
    let macs = "network/interfaces/macs";
    assert_eq!(bed.meta(macs).await.unwrap().lines().count(), 1);
    bed.wind(10_000);
    assert_eq!(bed.meta(macs).await.unwrap().lines().count(), 2);
    bed.ok("DetachNetworkInterface", &format!("AttachmentId={attachment}")).await;
    bed.ok("DeleteNetworkInterface", &format!("NetworkInterfaceId={new}")).await;
    assert_eq!(bed.meta(macs).await.unwrap().lines().count(), 2);
    bed.wind(10_000);
    assert_eq!(bed.meta(macs).await.unwrap().lines().count(), 1);
}

#[tokio::test]
async fn a_detachment_ends_in_metadata_though_nobody_asks_ec2() {
    let bed = Bed::slow(Delays { detach: Duration::from_secs(2), ..Delays::NONE });
    let new = bed.spare().await;
    let rest = format!("NetworkInterfaceId={new}&InstanceId={}&DeviceIndex=1", bed.instance);
    let attachment = text(&bed.ok("AttachNetworkInterface", &rest).await, "attachmentId");
    bed.ok("DetachNetworkInterface", &format!("AttachmentId={attachment}")).await;
    assert_eq!(bed.meta("network/interfaces/macs").await.unwrap().lines().count(), 2);
    bed.wind(2_000);
    assert_eq!(bed.meta("network/interfaces/macs").await.unwrap().lines().count(), 1);
}

#[tokio::test]
async fn scripted_failures_hit_the_paths_they_name() {
    let bed = Bed::plain();
    let token = bed.token(60).await;
    let headers = [(TOKEN, token.as_str())];
    bed.emulator.fail_imds("/latest/meta-data/mac", 503, 2);
    bed.emulator.fail_imds("/latest/api/token", 404, 1);
    for want in [503, 503, 200] {
        assert_eq!(bed.imds("GET", "/latest/meta-data/mac", &headers).await.status, want);
        assert_eq!(bed.imds("GET", "/latest/meta-data/local-ipv4", &headers).await.status, 200);
    }
    assert_eq!(bed.imds("PUT", "/latest/api/token", &[(TTL, "60")]).await.status, 404);
    bed.token(60).await;
}
