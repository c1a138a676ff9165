//! Texts in the forms that the CNI spec shows, and another implementation as reader of ours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::HashSet;

use cni_plugin::{
    config::NetworkConfig,
    reply::{ErrorReply, SuccessReply, VersionReply},
};
use serde_json::{Value, json};
use vpc_cni_plugin::protocol::{
    CniError, CniResult, Code, Interface, IpConfig, NetConf, SpecVersion, version_reply,
};

/// Versions that the other implementation reads too.
const SHARED: [SpecVersion; 2] = [SpecVersion::V0_4_0, SpecVersion::V1_0_0];

/// The entry of `aws-cni` as a runtime makes it from a configuration list: version and name are copied
/// in, capabilities turned into `runtimeConfig`, the previous result added.
fn config(version: SpecVersion) -> Value {
    json!({
        "cniVersion": version.as_str(),
        "name": "aws-cni",
        "type": "aws-cni",
        "vethPrefix": "eni",
        "mtu": "9001",
        "podSGEnforcingMode": "strict",
        "pluginLogFile": "/var/log/aws-routed-eni/plugin.log",
        "pluginLogLevel": "DEBUG",
        "capabilities": {"io.kubernetes.cri.pod-annotations": true},
        "runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"checksum/config": "0a"}},
        "prevResult": serde_json::from_str::<Value>(&pod().to_json(version)).unwrap(),
    })
}

/// What the plugin answers for a pod on the second ENI.
fn pod() -> CniResult {
    let mut pod = CniResult::default();
    pod.interfaces = vec![
        Interface::host("enicc21c2d7785"),
        Interface::new("eth0", "3", "/var/run/netns/cni-1"),
        Interface::new("dummycc21c2d7785", "0", "2"),
    ];
    pod.ips = vec![IpConfig {
        address: "10.0.50.5/32".parse().unwrap(),
        interface: Some(1),
        gateway: None,
    }];
    pod
}

#[test]
fn another_reader_takes_our_configurations() {
    for version in SHARED {
        let text = config(version).to_string();
        let theirs: NetworkConfig = serde_json::from_str(&text).unwrap();
        let ours = NetConf::parse(text.as_bytes()).unwrap();
        assert_eq!(theirs.cni_version.to_string(), ours.version.as_str());
        assert_eq!(theirs.name, ours.name);
        assert_eq!(theirs.specific["mtu"], ours.mtu.to_string());
        assert_eq!(theirs.specific["vethPrefix"], ours.veth_prefix.as_str());
        let annotations = &theirs.runtime.unwrap().specific["io.kubernetes.cri.pod-annotations"];
        assert_eq!(*annotations, json!(ours.pod_annotations));
        assert_eq!(ours.prev_result, Some(pod()));
    }
}

#[test]
fn another_reader_takes_results_of_our_encoder() {
    for version in SHARED {
        let mut result = pod();
        result.interfaces[0].sandbox = Some(String::new());
        result.interfaces[1].mac = Some("02:00:00:00:00:05".into());
        result.interfaces[2].mac = None;
        let theirs: SuccessReply = serde_json::from_str(&result.to_json(version)).unwrap();
        assert_eq!(theirs.cni_version.to_string(), version.as_str());
        assert_eq!(theirs.interfaces[1].name, "eth0");
        assert_eq!(theirs.interfaces[1].sandbox.to_str(), Some("/var/run/netns/cni-1"));
        assert_eq!(theirs.ips[0].address.to_string(), "10.0.50.5/32");
        assert_eq!(theirs.ips[0].interface, Some(1));
        assert!(theirs.specific.is_empty(), "keys of no spec: {:?}", theirs.specific);
    }
}

/// The reference keeps numbers where the spec has MACs, and so do we; a strict reader objects to
/// exactly that and to nothing else. Keep this test honest when the encoding changes.
#[test]
fn another_reader_objects_to_the_numbers_in_mac_alone() {
    for version in SHARED {
        let strict = |json: Value| serde_json::from_value::<SuccessReply>(json);
        let mut result: Value = serde_json::from_str(&pod().to_json(version)).unwrap();
        // It also wants an empty `sandbox` spelt out, which the spec lets us omit.
        result["interfaces"][0]["sandbox"] = json!("");
        assert!(strict(result.clone()).is_err());
        for interface in result["interfaces"].as_array_mut().unwrap() {
            interface.as_object_mut().unwrap().remove("mac");
        }
        let theirs = strict(result).unwrap();
        assert_eq!(theirs.interfaces.len(), 3);
        assert_eq!(theirs.interfaces[2].sandbox.to_str(), Some("2"));
    }
}

#[test]
fn another_reader_takes_our_errors() {
    let error = CniError::new(Code::TryAgainLater, "no address", "wait for EC2");
    for version in SHARED {
        let text = error.to_json(version.as_str());
        let theirs: ErrorReply<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!((theirs.code, theirs.msg), (11, "no address"));
        assert_eq!(theirs.details, "wait for EC2");
        assert_eq!(theirs.cni_version.to_string(), version.as_str());
    }
}

#[test]
fn another_reader_takes_our_versions() {
    for version in SHARED {
        let text = version_reply(json!({"cniVersion": version.as_str()}).to_string().as_bytes());
        let theirs: VersionReply = serde_json::from_str(&text).unwrap();
        assert_eq!(theirs.cni_version.to_string(), version.as_str());
        let got: HashSet<_> = theirs.supported_versions.iter().map(ToString::to_string).collect();
        assert_eq!(got, SpecVersion::ALL.map(|v| v.to_string()).into());
    }
}

/// Our answer of another implementation's making: what a bridge plugin and its chain return.
fn foreign_result() -> Value {
    json!({
        "interfaces": [
            {"name": "cni0", "mac": "02:00:00:00:00:01"},
            {"name": "veth1", "mac": "02:00:00:00:00:02"},
            {"name": "eth0", "mac": "02:00:00:00:00:03", "sandbox": "/var/run/netns/blue"}
        ],
        "ips": [{"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 2}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.2.0.0/16", "gw": "10.1.0.2"}],
        "dns": {"nameservers": ["10.1.0.1"], "search": ["a.example"]}
    })
}

#[test]
fn results_of_the_spec_s_form_are_read_and_written_back() {
    for version in [SpecVersion::V1_0_0, SpecVersion::V1_1_0] {
        let result = CniResult::from_json(version, foreign_result()).unwrap();
        assert_eq!(result.ips[0].address.to_string(), "10.1.0.5/16", "host bits are kept");
        assert_eq!(result.routes[0].gw, None);
        let mut want = foreign_result();
        want["cniVersion"] = json!(version.as_str());
        assert_eq!(serde_json::from_str::<Value>(&result.to_json(version)).unwrap(), want);
    }
}

#[test]
fn the_old_form_adds_the_family_and_nothing_else() {
    let result = CniResult::from_json(SpecVersion::V0_3_1, foreign_result()).unwrap();
    let mut want = foreign_result();
    want["cniVersion"] = json!("0.3.1");
    want["ips"][0]["version"] = json!("4");
    assert_eq!(serde_json::from_str::<Value>(&result.to_json(SpecVersion::V0_3_1)).unwrap(), want);
}

#[test]
fn fields_of_1_1_are_kept_for_1_1_alone() {
    let mut json = foreign_result();
    json["interfaces"][2]["mtu"] = json!(1500);
    json["interfaces"][2]["socketPath"] = json!("/run/s");
    json["interfaces"][2]["pciID"] = json!("0000:00:05.0");
    let result = CniResult::from_json(SpecVersion::V1_1_0, json.clone()).unwrap();
    let write = |v| serde_json::from_str::<Value>(&result.to_json(v)).unwrap();
    assert_eq!(write(SpecVersion::V1_1_0)["interfaces"], json["interfaces"]);
    assert_eq!(write(SpecVersion::V1_0_0)["interfaces"], foreign_result()["interfaces"]);
}
