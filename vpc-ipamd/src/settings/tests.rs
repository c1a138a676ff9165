use std::collections::BTreeMap;

use vpc_ipam_core::{
    cloud::{InstanceFacts, InstanceLimits},
    config::AllocationMode,
    datapath::Snat,
    id::{EniId, InstanceId, SubnetId, VpcId},
    policy::PolicyConfig,
};

use super::{
    table::{Invalid, VARIABLES, Variable},
    *,
};

fn parse(vars: &[(&str, &str)]) -> Result<(Settings, Vec<Warning>), SettingsError> {
    let map: BTreeMap<&str, &str> = vars.iter().copied().collect();
    Settings::parse(&map)
}

fn good(vars: &[(&str, &str)]) -> Settings {
    let (settings, warnings) = parse(vars).unwrap();
    assert_eq!(warnings, [], "{vars:?}");
    settings
}

/// One valid value that differs from the default, and one that is not valid.
const SAMPLES: &[(&Variable, &str, &str)] = &[
    (&t::ADDITIONAL_ENI_TAGS, r#"{"team":"net"}"#, r#"["team"]"#),
    (&t::AWS_EC2_ENDPOINT, "http://127.0.0.1:4566", "127.0.0.1:4566"),
    (&t::AWS_EC2_METADATA_DISABLED, "true", "on"),
    (&t::AWS_EC2_METADATA_V1_DISABLED, "1", "v1"),
    (&t::AWS_EXTERNAL_SERVICE_CIDRS, "192.0.2.0/24", "192.0.2.0"),
    (&t::AWS_VPC_CNI_NODE_PORT_SUPPORT, "false", "no"),
    (&t::AWS_VPC_ENI_MTU, "1500", "9002"),
    (&t::AWS_VPC_K8S_CNI_BACKING_STORE, "/tmp/x.json", ""),
    (&t::AWS_VPC_K8S_CNI_CONNMARK, "0x100", "0x81"),
    (&t::AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS, "198.51.100.0/24", "2001:db8::/32"),
    (&t::AWS_VPC_K8S_CNI_EXTERNALSNAT, "T", "TrUe"),
    (&t::AWS_VPC_K8S_CNI_LOGLEVEL, "warn", "verbose"),
    (&t::AWS_VPC_K8S_CNI_RANDOMIZESNAT, "hashrandom", "random"),
    (&t::AWS_VPC_K8S_CNI_VETHPREFIX, "pod", "vlan"),
    (&t::DISABLE_INTROSPECTION, "true", "yes"),
    (&t::DISABLE_LEAKED_ENI_CLEANUP, "true", "never"),
    (&t::DISABLE_METRICS, "1", "on"),
    (&t::DISABLE_NETWORK_RESOURCE_PROVISIONING, "t", ""),
    (&t::ENABLE_IMDS_ONLY_MODE, "true", "only"),
    (&t::ENABLE_SUBNET_DISCOVERY, "false", "off"),
    (&t::HTTP_TIMEOUT, "20", "9"),
    (&t::INTROSPECTION_BIND_ADDRESS, "unix:/run/x.sock", "localhost"),
    (&t::IP_COOLDOWN_PERIOD, "0", "-1"),
    (&t::MANAGE_UNTAGGED_ENI, "false", "no"),
    (&t::MAX_ENI, "2", "0"),
    (&t::MAX_PODS, "17", "many"),
    (&t::MINIMUM_IP_TARGET, "3", "-3"),
    (&t::VPC_CNI_STATE_JOURNAL, "true", "yes"),
    (&t::VPC_CNI_VERSION, "v1.2.3", "v1 (beta)"),
    (&t::VPC_CNI_WARM_MAX, "8", "-1"),
    (&t::VPC_CNI_WARM_MIN, "0", "few"),
    (&t::VPC_CNI_WARM_POLICY, "adaptive", "clever"),
    (&t::WARM_ENI_TARGET, "0", "-1"),
    (&t::WARM_IP_TARGET, "5", "1.5"),
    (&t::WARM_PREFIX_TARGET, "2", "99999999999999999999"),
];

#[test]
fn a_valid_value_changes_the_settings_and_an_invalid_one_is_treated_as_the_table_says() {
    let default = good(&[]);
    for (var, valid, invalid) in SAMPLES {
        assert_ne!(good(&[(var.name, valid)]), default, "{} has no effect", var.name);
        match (var.invalid, parse(&[(var.name, invalid)])) {
            (Invalid::Fatal, Err(e)) => {
                let text = e.to_string();
                assert!(text.contains(var.name) && text.contains(invalid), "{text}");
                assert!(text.contains(var.values), "no remedy: {text}");
            }
            (Invalid::Default | Invalid::Skip, Ok((settings, warnings))) => {
                assert_eq!(settings, default, "{}", var.name);
                assert_eq!(warnings.len(), 1, "{}: {warnings:?}", var.name);
                assert_eq!(warnings[0].name, var.name);
            }
            (_, other) => panic!("{}: {other:?}", var.name),
        }
    }
}

#[test]
fn every_variable_of_the_table_is_tested() {
    // Free texts have no invalid value, others cannot be told by one value alone.
    let elsewhere = [
        "AWS_CA_BUNDLE",
        "AWS_VPC_K8S_CNI_LOG_FILE",
        "CLUSTER_NAME",
        "ENABLE_IPv4",
        "ENABLE_IPv6",
        "ENABLE_POD_ENI",
        "ENABLE_PREFIX_DELEGATION",
        "MY_NODE_NAME",
    ];
    for var in VARIABLES {
        let sampled = SAMPLES.iter().any(|(v, ..)| v.name == var.name);
        assert!(sampled != elsewhere.contains(&var.name), "{}", var.name);
    }
    assert!(VARIABLES.is_sorted_by_key(|v| v.name.to_ascii_uppercase()));
}

#[test]
fn defaults_are_the_reference_s() {
    let s = good(&[]);
    assert_eq!(s.targets, WarmTargets { enis: 1, ips: 0, minimum_ips: 0, prefixes: 0 });
    assert_eq!(s.mtu, 9001);
    assert_eq!(s.connmark, 0x80);
    assert_eq!(s.veth_prefix, "eni");
    assert_eq!(s.cooldown, Duration::from_secs(30));
    assert_eq!(s.backing_store, PathBuf::from("/var/run/aws-node/ipam.json"));
    assert_eq!(s.introspection, Some(BindAddress::Tcp("127.0.0.1:61679".to_owned())));
    assert_eq!(s.log_sink, LogSink::File("/host/var/log/aws-routed-eni/ipamd.log".into()));
    assert_eq!(s.log_level, LogLevel::Debug);
    assert_eq!(s.snat_ports, SnatPorts::Prng);
    assert!(s.node_port && s.metrics && s.provisioning && !s.external_snat);
    assert_eq!(s.version, crate::VERSION);
}

#[test]
fn texts() {
    let s = good(&[
        ("CLUSTER_NAME", "prod"),
        ("MY_NODE_NAME", "ip-10-0-0-1"),
        ("VPC_CNI_VERSION", "v1"),
        ("AWS_VPC_K8S_CNI_LOG_FILE", "StdErr"),
    ]);
    assert_eq!(s.cluster_name.as_deref(), Some("prod"));
    assert_eq!(s.node_name.as_deref(), Some("ip-10-0-0-1"));
    assert_eq!(s.version, "v1");
    assert_eq!(s.log_sink, LogSink::Stderr);
    let s = good(&[("CLUSTER_NAME", ""), ("AWS_VPC_K8S_CNI_LOG_FILE", "/Log/X")]);
    assert_eq!(s.cluster_name, None);
    assert_eq!(s.log_sink, LogSink::File("/Log/X".into()));
}

#[test]
fn only_integers_from_ten_on_are_a_timeout() {
    for (text, secs) in [("10", 10), ("45", 45), ("1000000", 1_000_000)] {
        assert_eq!(good(&[("HTTP_TIMEOUT", text)]).http_timeout.as_secs(), secs);
    }
    for text in ["9", "2", "0", "-10", "10.5", "10s", " 10", "", "ten"] {
        let (settings, warnings) = parse(&[("HTTP_TIMEOUT", text)]).unwrap();
        assert_eq!((settings.http_timeout.as_secs(), warnings.len()), (10, 1), "{text:?}");
    }
}

#[test]
fn exactly_one_family_and_it_is_ipv4() {
    good(&[("ENABLE_IPv4", "true"), ("ENABLE_IPv6", "false")]);
    let err = |v4, v6| parse(&[("ENABLE_IPv4", v4), ("ENABLE_IPv6", v6)]).unwrap_err();
    assert_eq!(err("true", "true"), SettingsError::Families(true));
    assert_eq!(err("false", "false"), SettingsError::Families(false));
    assert_eq!(err("false", "true"), SettingsError::Ipv6);
    assert_eq!(parse(&[("ENABLE_IPv6", "true")]).unwrap_err(), SettingsError::Ipv6);
    let text = err("false", "true").to_string();
    assert!(text.contains("ENABLE_IPv6=true is not supported"), "{text}");
}

#[test]
fn prefix_mode_needs_something_to_keep() {
    let pd = ("ENABLE_PREFIX_DELEGATION", "true");
    for nothing in [&[pd][..], &[pd, ("WARM_PREFIX_TARGET", "-1")], &[pd, ("WARM_IP_TARGET", "x")]]
    {
        assert_eq!(parse(nothing).unwrap_err(), SettingsError::PrefixTargets);
    }
    for target in ["WARM_PREFIX_TARGET", "WARM_IP_TARGET", "MINIMUM_IP_TARGET"] {
        assert!(good(&[pd, (target, "1")]).prefix_delegation);
    }
    let (settings, warnings) = parse(&[("ENABLE_PREFIX_DELEGATION", "TrUe")]).unwrap();
    assert!(!settings.prefix_delegation);
    assert_eq!(warnings.len(), 1);
}

#[test]
fn lists_keep_their_good_entries() {
    let (s, warnings) = parse(&[
        (
            "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS",
            " 10.9.8.7/16 ,,banana, 2001:db8::/32 ,10.1.0.0/16,10.1.0.0/16",
        ),
        ("ADDITIONAL_ENI_TAGS", r#"{"a":"1","node.k8s.amazonaws.com/x":"2","":"3"}"#),
    ])
    .unwrap();
    let texts: Vec<_> = s.exclude_snat_cidrs.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["10.1.0.0/16", "10.9.0.0/16"]);
    assert_eq!(s.extra_tags, BTreeMap::from([("a".to_owned(), "1".to_owned())]));
    assert_eq!(warnings.len(), 4, "{warnings:?}");
}

#[test]
fn what_this_version_does_not_do_is_not_ignored_in_silence() {
    let (_, warnings) =
        parse(&[("ANNOTATE_POD_IP", "true"), ("ENABLE_MULTI_NIC", "false")]).unwrap();
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].name, "ANNOTATE_POD_IP");
    // A part of it is there.
    let (settings, warnings) = parse(&[("ENABLE_POD_ENI", "true")]).unwrap();
    assert!(settings.pod_eni);
    assert_eq!(warnings.iter().map(|w| w.name).collect::<Vec<_>>(), ["ENABLE_POD_ENI"]);
    assert!(warnings[0].message.contains("no branch ENIs"), "{}", warnings[0]);
}

#[test]
fn the_pool_is_told_whose_an_eni_is() {
    let config = |vars| good(vars).pool_config(&facts(true)).unwrap();
    let usual = config(&[]);
    assert_eq!(usual.instance, Some(InstanceId::new("i-1").unwrap()));
    assert!(usual.manage_untagged && !usual.expects_trunk());
    assert!(!config(&[("MANAGE_UNTAGGED_ENI", "false")]).manage_untagged);
    let (settings, _) = parse(&[("ENABLE_POD_ENI", "true")]).unwrap();
    assert!(settings.pool_config(&facts(true)).unwrap().expects_trunk());
}

#[test]
fn on_metadata_alone_the_pool_changes_nothing() {
    let config = |vars| good(vars).pool_config(&facts(true)).unwrap();
    let alone = config(&[("ENABLE_IMDS_ONLY_MODE", "true")]);
    assert!(alone.metadata_only && !alone.provisions());
    assert!(!config(&[]).metadata_only && config(&[]).provisions());
}

#[test]
fn the_documentation_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    if written != markdown() {
        std::fs::write(path, markdown()).unwrap();
        panic!("docs/settings.md differed from the table; it has been written anew, commit it");
    }
}

fn facts(prefixes: bool) -> InstanceFacts {
    InstanceFacts {
        instance: InstanceId::new("i-1").unwrap(),
        instance_type: "m5.large".to_owned(),
        region: "us-west-2".to_owned(),
        availability_zone: "us-west-2a".to_owned(),
        vpc: VpcId::new("vpc-1").unwrap(),
        primary_eni: EniId::new("eni-1").unwrap(),
        primary_mac: "02:00:00:00:00:01".parse().unwrap(),
        primary_ip: [10, 0, 0, 10].into(),
        subnet: SubnetId::new("subnet-1").unwrap(),
        vpc_cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        limits: InstanceLimits { enis: 3, ipv4_per_eni: 10, card_enis: vec![3], prefixes },
    }
}

#[test]
fn the_pool_is_sized_by_instance_and_settings() {
    let facts = facts(true);
    let config = good(&[]).pool_config(&facts).unwrap();
    assert_eq!((config.mode, config.max_enis, config.slots), (AllocationMode::Secondary, 3, 9));
    assert_eq!(config.max_pods, 29, "the row of m5.large in EKS's table");
    let config = good(&[("MAX_ENI", "2"), ("MAX_PODS", "5")]).pool_config(&facts).unwrap();
    assert_eq!((config.max_enis, config.max_pods), (2, 5));
    assert_eq!(good(&[("MAX_ENI", "9")]).pool_config(&facts).unwrap().max_enis, 3);
}

#[test]
fn the_pool_rests_addresses_and_leaves_the_cloud_alone_as_the_settings_say() {
    let facts = facts(true);
    let config = good(&[]).pool_config(&facts).unwrap();
    assert_eq!((config.cooldown, config.provisioning), (Duration::from_secs(30), true));
    let s = good(&[("IP_COOLDOWN_PERIOD", "7"), ("DISABLE_NETWORK_RESOURCE_PROVISIONING", "true")]);
    let config = s.pool_config(&facts).unwrap();
    assert_eq!((config.cooldown, config.provisioning), (Duration::from_secs(7), false));
    // Nothing is known of the instance yet, so nothing may be changed.
    assert!(!good(&[]).provisional_config().unwrap().provisioning);
}

#[test]
fn the_targets_decide_unless_the_policy_is_adaptive() {
    let policy = |vars| good(vars).pool_config(&facts(true)).unwrap().policy;
    assert_eq!(policy(&[("VPC_CNI_WARM_MAX", "8")]), PolicyConfig::Static);
    let adaptive = [("VPC_CNI_WARM_POLICY", "adaptive"), ("VPC_CNI_WARM_MAX", "8")];
    assert_eq!(policy(&adaptive), PolicyConfig::Adaptive(Bounds { min: 1, max: Some(8) }));
}

#[test]
fn prefixes_are_used_where_the_instance_has_them() {
    let s = good(&[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")]);
    let config = s.pool_config(&facts(true)).unwrap();
    assert_eq!((config.mode, config.max_pods), (AllocationMode::Prefix, 110));
    assert_eq!(s.pool_config(&facts(false)).unwrap().mode, AllocationMode::Secondary);
}

#[test]
fn the_kernel_is_told_what_the_settings_say() {
    let spec = good(&[
        ("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", "10.9.0.0/16"),
        ("AWS_VPC_K8S_CNI_RANDOMIZESNAT", "none"),
    ])
    .node_spec(&facts(true));
    assert_eq!(
        spec.snat,
        Snat::Node { ports: SnatPorts::Keep, exclude: vec!["10.9.0.0/16".parse().unwrap()] }
    );
    assert_eq!((spec.mtu, spec.connmark, spec.node_port), (9001, 0x80, true));
    let external = good(&[("AWS_VPC_K8S_CNI_EXTERNALSNAT", "true")]).node_spec(&facts(true));
    assert_eq!(external.snat, Snat::External);
}
