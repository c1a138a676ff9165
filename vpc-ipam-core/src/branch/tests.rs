use std::net::IpAddr;

use proptest::prelude::*;

use super::{error::Cause, *};
use crate::{config::Family, id::PodRef};

const ANNOTATION: &str = r#"[{"eniId":"eni-0ab","ifAddress":"0a:11:22:33:44:55","privateIp":"10.2.0.9",
  "ipv6Addr":"2001:db8::9","vlanID":7,"subnetCidr":"10.2.0.0/24","subnetV6Cidr":"2001:db8::/64",
  "associationID":"trunk-assoc-1"}]"#;

fn pod(annotation: Option<&str>) -> PodObject {
    let mut pod = PodObject {
        pod: PodRef { namespace: "shop".to_owned(), name: "cart".to_owned() },
        uid: "u-1".to_owned(),
        first_container_limits: vec!["cpu".to_owned(), POD_ENI.to_owned()],
        ..PodObject::default()
    };
    pod.annotations.extend(annotation.map(|text| (POD_ENI.to_owned(), text.to_owned())));
    pod
}

fn trunk() -> Trunk {
    Trunk { eni: "eni-0cd".parse().unwrap(), link: Some(4) }
}

/// The annotation with one member changed, or taken out if `value` is empty.
fn changed(member: &str, value: &str) -> String {
    let mut enis: Vec<serde_json::Value> = serde_json::from_str(ANNOTATION).unwrap();
    let eni = enis[0].as_object_mut().unwrap();
    assert!(eni.remove(member).is_some(), "no member {member}");
    if !value.is_empty() {
        eni.insert(member.to_owned(), serde_json::from_str(value).unwrap());
    }
    serde_json::to_string(&enis).unwrap()
}

fn cause(annotation: &str, family: Family) -> Cause {
    match add(&pod(Some(annotation)), Some(&trunk()), family) {
        Err(BranchError::Malformed { cause, .. }) => cause,
        other => panic!("{annotation}: {other:?}"),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_branch_pod_gets_what_the_controller_made() {
    let mac = "0a:11:22:33:44:55".parse().unwrap();
    for (family, address, gateway) in
        [(Family::V4, "10.2.0.9", "10.2.0.1"), (Family::V6, "2001:db8::9", "fe80:ec2::1")]
    {
        let answer = add(&pod(Some(ANNOTATION)), Some(&trunk()), family).unwrap();
        let (ip, gateway) = (ip(address), ip(gateway));
        assert_eq!(answer, Add::Branch(BranchEni { ip, vlan: 7, mac, gateway, parent_link: 4 }));
    }
}

#[test]
fn only_a_resource_of_that_name_makes_a_branch_pod() {
    let mut ordinary = pod(Some("not even JSON"));
    ordinary.first_container_limits = vec!["cpu".to_owned(), "x/vpc.amazonaws.com/pod-eni".into()];
    assert_eq!(add(&ordinary, None, Family::V4), Ok(Add::Ordinary));
    ordinary.first_container_limits = vec!["vpc.amazonaws.com/pod-eni-large".to_owned()];
    assert!(wants_branch(&ordinary));
}

#[test]
fn without_trunk_link_or_annotation_the_pod_is_told_which() {
    let name = || pod(None).pod;
    let missing = add(&pod(Some(ANNOTATION)), None, Family::V4).unwrap_err();
    assert_eq!(missing, BranchError::TrunkMissing { pod: name() });
    let dark = Trunk { link: None, ..trunk() };
    let dark = add(&pod(Some(ANNOTATION)), Some(&dark), Family::V4).unwrap_err();
    assert_eq!(dark, BranchError::TrunkLinkMissing { pod: name(), trunk: trunk().eni });
    let bare = add(&pod(None), Some(&trunk()), Family::V4).unwrap_err();
    assert_eq!(bare, BranchError::AnnotationMissing { pod: name() });
    for (error, words) in [(missing, "CNINode"), (dark, "eni-0cd"), (bare, POD_ENI)] {
        let text = error.to_string();
        assert!(text.contains("shop/cart") && text.contains(words), "{text}");
    }
}

#[test]
fn a_malformed_annotation_names_pod_annotation_and_member() {
    let error = add(&pod(Some(&changed("vlanID", "0"))), Some(&trunk()), Family::V4).unwrap_err();
    let text = error.to_string();
    for words in ["shop/cart", POD_ENI, "vlanID is missing", "delete the pod"] {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn every_malformed_annotation_is_refused_for_what_is_wrong() {
    for text in ["", "{}", "7", "[7]", "[null]", "[[]]", "[{", &"[".repeat(100_000)] {
        assert!(matches!(cause(text, Family::V4), Cause::NotJson(_)), "{text:.20}");
    }
    assert_eq!(cause("[]", Family::V4), Cause::Empty);
    assert_eq!(cause("[{}]", Family::V4), Cause::Missing("subnetCidr"));
    for (family, members) in [
        (Family::V4, ["privateIp", "ifAddress", "vlanID", "subnetCidr"]),
        (Family::V6, ["ipv6Addr", "ifAddress", "vlanID", "subnetV6Cidr"]),
    ] {
        for member in members {
            let empty = if member == "vlanID" { "0" } else { "\"\"" };
            for value in ["", "null", empty] {
                assert_eq!(cause(&changed(member, value), family), Cause::Missing(member));
            }
            let foreign = if member == "vlanID" { "\"7\"" } else { "7" };
            let found = cause(&changed(member, foreign), family);
            assert!(matches!(found, Cause::NotJson(_)), "{member}: {found:?}");
        }
    }
}

#[test]
fn values_that_cannot_be_are_refused() {
    for (family, member, values) in [
        (Family::V4, "privateIp", &["\"10.2.0\"", "\"2001:db8::1\"", "\"10.2.0.9/24\""][..]),
        (Family::V6, "ipv6Addr", &["\"10.2.0.9\"", "\"2001:db8::zz\""]),
        (Family::V4, "ifAddress", &["\"0a:11:22:33:44\"", "\"eni-1\""]),
        (Family::V4, "vlanID", &["-1", "4095", "65543", "9223372036854775807"]),
        (Family::V4, "subnetCidr", &["\"10.2.0.0\"", "\"10.2.0.0/33\"", "\"2001:db8::/64\""]),
        // A block without a second address.
        (Family::V4, "subnetCidr", &["\"10.2.0.9/32\"", "\"255.255.255.255/32\""]),
        (Family::V6, "subnetV6Cidr", &["\"10.2.0.0/24\"", "\"2001:db8::\""]),
    ] {
        for value in values {
            let found = cause(&changed(member, value), family);
            assert!(
                matches!(found, Cause::Value { member: m, .. } if m == member),
                "{value}: {found:?}"
            );
        }
    }
}

#[test]
fn what_the_family_does_not_need_may_be_missing_and_other_enis_are_not_read() {
    let pods = [
        (changed("ipv6Addr", ""), Family::V4),
        (changed("subnetV6Cidr", "\"nonsense\""), Family::V4),
        (changed("privateIp", "null"), Family::V6),
        (changed("eniId", ""), Family::V4),
        (ANNOTATION.replace("}]", "},7]"), Family::V4),
        // Host bits are the controller's way to name a block.
        (changed("subnetCidr", "\"10.2.0.77/24\""), Family::V4),
    ];
    for (annotation, family) in pods {
        let answer = add(&pod(Some(&annotation)), Some(&trunk()), family);
        let Ok(Add::Branch(eni)) = answer else { panic!("{annotation}: {answer:?}") };
        assert!(family == Family::V6 || eni.gateway == ip("10.2.0.1"), "{eni:?}");
    }
}

#[test]
fn a_del_tells_gone_pods_branch_pods_and_others_apart() {
    assert_eq!(del(None, "u-1", Family::V4), Ok(Del::Gone));
    assert_eq!(del(Some(&pod(None)), "u-1", Family::V4), Ok(Del::Unknown));
    let branch = pod(Some(ANNOTATION));
    for (family, address) in [(Family::V4, "10.2.0.9"), (Family::V6, "2001:db8::9")] {
        let expected = Del::Branch { vlan: 7, ip: ip(address) };
        assert_eq!(del(Some(&branch), "u-1", family), Ok(expected));
    }
    // The subnet has been needed for the ADD only.
    let bare = pod(Some(&changed("subnetCidr", "")));
    assert!(matches!(del(Some(&bare), "u-1", Family::V4), Ok(Del::Branch { .. })));
}

#[test]
fn a_del_leaves_a_living_namesake_alone_and_fails_on_nonsense() {
    for uid in ["u-2", ""] {
        let error = del(Some(&pod(Some(ANNOTATION))), uid, Family::V4).unwrap_err();
        let BranchError::UidMismatch { asked, found, .. } = &error else { panic!("{error}") };
        assert_eq!((asked.as_str(), found.as_str()), (uid, "u-1"));
        assert!(error.to_string().contains("shop/cart"));
    }
    for text in ["", "[]", "[{}]", "[{\"vlanID\":7}]"] {
        let error = del(Some(&pod(Some(text))), "u-1", Family::V4).unwrap_err();
        assert!(matches!(error, BranchError::Malformed { .. }), "{text}: {error}");
    }
}

/// JSON of any shape, with the annotation's own members more often than chance has it.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
        prop::sample::select(vec!["10.2.0.9", "10.2.0.0/32", "::/0", "0a:11:22:33:44:55"])
            .prop_map(Into::into),
    ];
    let member = prop::sample::select(vec![
        "ifAddress",
        "privateIp",
        "ipv6Addr",
        "vlanID",
        "subnetCidr",
        "subnetV6Cidr",
        "eniId",
        "other",
    ]);
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(serde_json::Value::from),
            prop::collection::btree_map(member.clone(), inner, 0..8).prop_map(|members| {
                members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_annotation_makes_it_panic(json in json(), text in ".*", wrap: bool) {
        let json = if wrap { serde_json::json!([json]) } else { json };
        for text in [json.to_string(), text] {
            let pod = pod(Some(&text));
            for family in [Family::V4, Family::V6] {
                if let Ok(Add::Branch(eni)) = add(&pod, Some(&trunk()), family) {
                    prop_assert!((1..=4094).contains(&eni.vlan));
                    prop_assert_eq!(eni.ip.is_ipv4(), family == Family::V4);
                    prop_assert_eq!(eni.gateway.is_ipv4(), family == Family::V4);
                    let back = Del::Branch { vlan: eni.vlan, ip: eni.ip };
                    prop_assert_eq!(del(Some(&pod), "u-1", family), Ok(back));
                }
                let _ = del(Some(&pod), "u-1", family);
            }
        }
    }
}
