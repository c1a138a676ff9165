//! What can be said in a fault file, and what is said about mistakes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use vpc_ipam_core::testkit::ec2::{Ec2Action, Ec2Error, Fault};

use super::*;

fn parse(text: &str) -> Faults {
    Faults::parse("f.toml", text).unwrap()
}

#[test]
fn every_kind_of_fault_has_keys() {
    let seconds = Duration::from_secs;
    let eni: vpc_ipam_core::id::EniId = "eni-1".parse().unwrap();
    let i: vpc_ipam_core::id::InstanceId = "i-1".parse().unwrap();
    for (text, want) in [
        ("error = \"UnauthorizedOperation\"", Ec2Fault::unauthorized()),
        ("error = \"RequestLimitExceeded\"\ntimes = \"always\"", Ec2Fault::throttled().always()),
        ("answer_lost = true", Ec2Fault::answer_lost()),
        (
            "fewer = 2\naction = \"AssignPrivateIpAddresses\"",
            Ec2Fault::fewer(2).on(Ec2Action::AssignPrivateIpAddresses),
        ),
        ("late = \"2s\"", Ec2Fault::late(seconds(2))),
        (
            "partly = 1\nerror = \"X\"\nmessage = \"no\"",
            Ec2Fault::new(Fault::Partly(1, Ec2Error::new("X", "no"))),
        ),
        (
            "error = \"X\"\nmessage = \"no\"\naction = [\"CreateTags\", \"DescribeTags\"]\nresource = \"eni-1\"\n\
             from_call = 3\nafter = \"5s\"\nlasting = \"1m\"\nafter_calls = { action = \"CreateTags\", calls = 2 }",
            Ec2Fault::refused("X", "no")
                .on(Ec2Action::CreateTags)
                .on(Ec2Action::DescribeTags)
                .resource("eni-1")
                .from_call(3)
                .after(seconds(5))
                .lasting(seconds(60))
                .after_calls(Ec2Action::CreateTags, 2),
        ),
    ] {
        assert_eq!(parse(&format!("[[ec2]]\n{text}")), Faults::new().ec2(want), "{text}");
    }
    for (text, want) in [
        ("status = 401", MetadataFault::status(401, "/")),
        (
            "body = \"<html>\"\npath = \"/x\"\ninstance = \"i-1\"",
            MetadataFault::body("<html>", "/x").instance(i),
        ),
        ("late = \"2s\"\ntimes = 4", MetadataFault::late(seconds(2), "/").times(4)),
        ("omit_all = true\nlasting = \"2s\"", MetadataFault::omit_all().lasting(seconds(2))),
        ("omit_eni = true\neni = \"eni-1\"", MetadataFault::omit_eni(eni.clone())),
        ("omit_keys = [\"ipv6s\"]", MetadataFault::omit_keys(None, &["ipv6s"])),
        (
            "omit_keys = [\"ipv6s\"]\neni = \"eni-1\"",
            MetadataFault::omit_keys(Some(eni), &["ipv6s"]),
        ),
        ("frozen = \"1m\"\nafter = \"1s\"", MetadataFault::frozen(seconds(60)).after(seconds(1))),
    ] {
        assert_eq!(parse(&format!("[[imds]]\n{text}")), Faults::new().metadata(want), "{text}");
    }
    let text = r#"{"ec2": [{"action": "CreateTags", "fewer": 1}], "delays": {"detach": "3s"}}"#;
    let json = Faults::parse_json("f.json", text).unwrap();
    let toml = "[[ec2]]\naction = \"CreateTags\"\nfewer = 1\n[delays]\ndetach = \"3s\"";
    assert_eq!(json, parse(toml));
}

#[test]
fn mistakes_say_where_and_what() {
    for (text, want) in [
        ("[[ec2]]\nerorr = \"X\"", "f.toml:2:1: unknown field `erorr`, expected one of `action`"),
        ("[[ec2]]\n", "f.toml:1:1: a fault of EC2 has one of error, answer_lost, fewer and late"),
        ("[[ec2]]\nerror = \"X\"\nfewer = 1", "f.toml:1:1: a fault of EC2 has one of"),
        ("[[ec2]]\nmessage = \"x\"\nfewer = 1", "f.toml:1:1: message goes with error"),
        ("[[ec2]]\npartly = 1", "f.toml:1:1: partly needs the error"),
        (
            "[[ec2]]\nfewer = 1\naction = \"RunInstances\"",
            "f.toml:3:10: \"RunInstances\" is no action",
        ),
        ("[[ec2]]\nfewer = 1\ntimes = 0", "f.toml:3:9: times is a number from 1 on, or \"always\""),
        ("[[ec2]]\nfewer = 1\nfrom_call = 0", "f.toml:3:13: "),
        ("[[ec2]]\nfewer = 1\nafter = 5", "f.toml:3:9: "),
        ("[[imds]]\n", "f.toml:1:1: a fault of imds has one of status, body"),
        ("[[imds]]\nstatus = 200", "f.toml:1:1: status must be one of HTTP's errors"),
        ("[[imds]]\nomit_eni = true", "f.toml:1:1: omit_eni needs eni"),
        ("[[imds]]\nomit_all = true\ntimes = 3", "f.toml:1:1: times and from_call go with status"),
        ("[[imds]]\nfrozen = \"1s\"\nlasting = \"1s\"", "f.toml:1:1: frozen has its own length"),
        ("[[imds]]\nstatus = 500\neni = \"eni-1\"", "f.toml:1:1: eni goes with omit_eni"),
        ("[[imds]]\nfrozen = \"1s\"\npath = \"/\"", "f.toml:1:1: path goes with status"),
    ] {
        let error = Faults::parse("f.toml", text).unwrap_err().to_string();
        assert!(error.starts_with(want), "{text}\ngives: {error}\nwant:  {want}");
    }
    let error = Faults::parse_json("f.json", "{\n \"ec3\": 1}").unwrap_err().to_string();
    assert!(error.starts_with("f.json:2:6: unknown field `ec3`, expected one of `ec2`"), "{error}");
}

#[test]
fn paths_are_matched_part_by_part() {
    use super::metadata::is_below;
    let macs = "/latest/meta-data/network/interfaces/macs";
    for (pattern, path) in [
        ("/", "/latest/api/token"),
        ("/latest/meta-data/mac", "/latest/meta-data/mac/"),
        (macs, &format!("{macs}/02:00/ipv6s")),
        (&format!("{macs}/*/ipv6s"), &format!("{macs}/02:00/ipv6s")),
    ] {
        assert!(is_below(pattern, path), "{pattern} {path}");
    }
    for (pattern, path) in [
        ("/latest/meta-data/mac", "/latest/meta-data/macs"),
        (&format!("{macs}/*/ipv6s")[..], &format!("{macs}/02:00")[..]),
    ] {
        assert!(!is_below(pattern, path), "{pattern} {path}");
    }
}
