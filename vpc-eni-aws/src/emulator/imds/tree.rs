//! The tree of metadata: values by path; a directory is whatever has something below it.

use std::{collections::BTreeMap, fmt::Display};

use serde_json::json;
use vpc_ipam_core::{
    testkit::ec2::{ImdsEni, ImdsView},
    time::Time,
};

use super::credentials;
use crate::emulator::rfc3339;

/// An AMI, which the model does not have.
const IMAGE: &str = "ami-00000000000000000";

/// The value at `path`, or the listing of the directory there; `None` if there is neither. `gone` are
/// paths below `latest/meta-data/` that are left out.
pub(super) fn read(view: &ImdsView, gone: &[String], path: &str, now: Time) -> Option<String> {
    let mut tree = tree(view, now);
    for key in gone {
        tree.remove(&format!("latest/meta-data/{key}"));
    }
    let path = path.trim_start_matches('/');
    let path = path.strip_suffix('/').unwrap_or(path);
    if let Some(value) = tree.get(path) {
        return Some(value.clone());
    }
    let directory = if path.is_empty() { String::new() } else { format!("{path}/") };
    let mut entries: Vec<String> = Vec::new();
    for below in tree.range(directory.clone()..).map_while(|(key, _)| key.strip_prefix(&directory))
    {
        let entry = match below.split_once('/') {
            Some((name, _)) => format!("{name}/"),
            None => below.to_owned(),
        };
        if entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    (!entries.is_empty()).then(|| entries.join("\n"))
}

fn tree(view: &ImdsView, now: Time) -> BTreeMap<String, String> {
    let mut tree = BTreeMap::new();
    let name = hostname(view, view.primary_ip);
    let mut put = |key: &str, value: String| {
        // What has no value does not exist: metadata answers 404, never an empty body.
        if !value.is_empty() {
            tree.insert(format!("latest/meta-data/{key}"), value);
        }
    };
    put("ami-id", IMAGE.to_owned());
    put("hostname", name.clone());
    put(&format!("iam/security-credentials/{}", credentials::ROLE), credentials::document(now));
    put("instance-id", view.instance.to_string());
    put("instance-type", view.instance_type.clone());
    put("local-hostname", name);
    put("local-ipv4", view.primary_ip.to_string());
    put("mac", view.primary_mac.to_string());
    put("placement/availability-zone", view.availability_zone.clone());
    put("placement/region", view.region.clone());
    put("services/domain", "amazonaws.com".to_owned());
    put("services/partition", "aws".to_owned());
    let primary = view.enis.iter().find(|e| e.mac == view.primary_mac);
    if let Some(eni) = primary {
        put("security-groups", lines(&eni.group_names));
        if let Some(ip) = eni.ipv6s.first() {
            put("ipv6", ip.to_string());
        }
    }
    for eni in &view.enis {
        for (key, value) in interface(view, eni) {
            put(&format!("network/interfaces/macs/{}/{key}", eni.mac), value);
        }
    }
    tree.insert("latest/dynamic/instance-identity/document".to_owned(), identity(view));
    tree
}

/// The attributes of one ENI; empty where it has none.
fn interface(view: &ImdsView, eni: &ImdsEni) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("device-number", eni.device.to_string()),
        ("interface-id", eni.id.to_string()),
        ("ipv4-prefix", lines(&eni.ipv4_prefixes)),
        ("ipv6-prefix", lines(&eni.ipv6_prefixes)),
        ("ipv6s", lines(&eni.ipv6s)),
        ("local-ipv4s", lines(&eni.local_ipv4s)),
        ("mac", eni.mac.to_string()),
        ("network-card", eni.card.map(|c| c.to_string()).unwrap_or_default()),
        ("owner-id", view.account.clone()),
        ("security-group-ids", lines(&eni.groups)),
        ("security-groups", lines(&eni.group_names)),
        ("subnet-id", eni.subnet.to_string()),
        ("subnet-ipv6-cidr-blocks", lines(eni.subnet_ipv6_cidr.as_slice())),
        ("vpc-id", eni.vpc.to_string()),
        ("vpc-ipv4-cidr-block", lines(view.vpc_cidrs.get(..1).unwrap_or_default())),
        ("vpc-ipv4-cidr-blocks", lines(&view.vpc_cidrs)),
        ("vpc-ipv6-cidr-blocks", lines(&view.vpc_ipv6_cidrs)),
    ];
    if let Some(ip) = eni.local_ipv4s.first() {
        all.push(("local-hostname", hostname(view, *ip)));
        all.push(("subnet-ipv4-cidr-block", eni.subnet_cidr.to_string()));
    }
    all
}

fn identity(view: &ImdsView) -> String {
    let document = json!({
        "accountId": view.account,
        "architecture": "x86_64",
        "availabilityZone": view.availability_zone,
        "imageId": IMAGE,
        "instanceId": view.instance.as_str(),
        "instanceType": view.instance_type,
        "pendingTime": rfc3339::format(view.launched),
        "privateIp": view.primary_ip.to_string(),
        "region": view.region,
        "version": "2017-09-30",
    });
    format!("{document:#}")
}

fn hostname(view: &ImdsView, ip: std::net::Ipv4Addr) -> String {
    format!("ip-{}.{}.compute.internal", ip.to_string().replace('.', "-"), view.region)
}

fn lines<T: Display>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
