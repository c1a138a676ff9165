//! No input makes a parser or a command panic, and what the parsers accept is what they promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{ffi::OsString, os::unix::ffi::OsStringExt};

use proptest::prelude::*;
use serde_json::{Value, json};
use vpc_cni_plugin::protocol::{
    CniResult, Env, MTU_BYTES_MAX, MTU_BYTES_MIN, NetConf, PodArgs, SpecVersion, version_reply,
};

/// Any JSON, with the protocol's own keys and values more often than chance would have it.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        "(cniVersion|name|type|mtu|vethPrefix|prevResult|runtimeConfig|ips|interfaces|interface)",
        "(address|sandbox|mac|dns|routes|dst|gateway|io.kubernetes.cri.pod-annotations)",
        "(0\\.3\\.1|0\\.4\\.0|1\\.0\\.0|1\\.1\\.0|10\\.0\\.0\\.5/32|::1/128|dummycc21c2d7785|0|3)",
        any::<String>(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// A valid configuration, some of whose keys have been replaced.
fn damaged_config() -> impl Strategy<Value = Vec<u8>> {
    let keys = [
        "cniVersion",
        "name",
        "mtu",
        "vethPrefix",
        "prevResult",
        "runtimeConfig",
        "pluginLogFile",
        "pluginLogLevel",
        "ipamdSocket",
        "podSGEnforcingMode",
    ];
    prop::collection::vec((prop::sample::select(keys.to_vec()), any_json()), 0..3).prop_map(
        |damage| {
            let mut config = json!({"cniVersion": "0.4.0", "name": "aws-cni", "mtu": "1500"});
            for (key, value) in damage {
                config[key] = value;
            }
            config.to_string().into_bytes()
        },
    )
}

fn check_config(bytes: &[u8]) {
    let version = NetConf::version_for_errors(bytes);
    assert!(!version.is_empty());
    if let Ok(conf) = NetConf::parse(bytes) {
        assert_eq!(version, conf.version.as_str());
        assert!((MTU_BYTES_MIN..=MTU_BYTES_MAX).contains(&conf.mtu));
        assert!((1..=4).contains(&conf.veth_prefix.len()));
    }
}

proptest! {
    #[test]
    fn any_bytes_as_configuration(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        check_config(&bytes);
    }

    #[test]
    fn any_json_as_configuration(json in any_json()) {
        check_config(json.to_string().as_bytes());
    }

    #[test]
    fn damaged_configurations(bytes in damaged_config(), cut in any::<prop::sample::Index>()) {
        check_config(&bytes);
        check_config(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn any_json_as_result(json in any_json()) {
        for version in SpecVersion::ALL {
            if let Ok(result) = CniResult::from_json(version, json.clone()) {
                let text = result.to_json(version);
                let again = serde_json::from_str(&text).expect("our own result is JSON");
                let again = CniResult::from_json(version, again).expect("and a result");
                prop_assert_eq!(again.to_json(version), text);
            }
        }
    }

    #[test]
    fn any_bytes_as_version_request(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
        let reply: Value = serde_json::from_str(&version_reply(&bytes)).expect("JSON");
        prop_assert_eq!(reply["supportedVersions"].as_array().map(Vec::len), Some(5));
    }

    #[test]
    fn any_text_as_arguments(text in "(?s).{0,64}") {
        let _ = PodArgs::parse(&text);
    }

    #[test]
    fn arguments_are_found_wherever_they_stand(
        name in "[a-z0-9.-]{1,20}", before in "[A-Z]{1,8}", after in "[A-Z]{1,8}",
    ) {
        let text = format!("{before}=x;K8S_POD_NAME={name};{after}=;IgnoreUnknown=1");
        prop_assume!(!["K", "IgnoreUnknown"].contains(&before.as_str()));
        prop_assert_eq!(PodArgs::parse(&text).unwrap().pod_name, name);
    }

    #[test]
    fn any_bytes_as_environment(
        command in prop_oneof!["(ADD|DEL|CHECK|GC|STATUS|VERSION)", "[^\0]{0,8}"],
        values in prop::collection::vec(prop::collection::vec(1u8.., 0..20), 6),
    ) {
        let names = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH",
                     "CNI_NETNS_OVERRIDE"];
        let env = Env::from_lookup(|name| match names.iter().position(|n| *n == name) {
            Some(at) => Some(OsString::from_vec(values[at].clone())),
            None => Some(OsString::from(&command)),
        });
        if let Ok(Some(invocation)) = env.parse() {
            prop_assert!(invocation.if_name.len() <= 15);
            prop_assert!(!invocation.if_name.contains('/'));
        }
    }
}

#[test]
fn deeply_nested_input_does_not_exhaust_the_stack() {
    let deep = "[".repeat(1 << 20);
    check_config(deep.as_bytes());
    check_config(format!(r#"{{"cniVersion":"0.4.0","name":"n","prevResult":{deep}"#).as_bytes());
}
