//! What can be said in a file, and what is said about mistakes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use vpc_ipam_core::testkit::ec2::{AttachmentStatus, InterfaceType, WorldError};

use super::*;
use crate::emulator::FileProblem;

/// A VPC with a subnet, to be followed by more.
const START: &str = "[[vpcs]]
cidrs = [\"10.0.0.0/16\"]
[[vpcs.security_groups]]
name = \"web\"
[[vpcs.subnets]]
name = \"a\"
zone = \"a\"
cidr = \"10.0.0.0/24\"
";

fn build(text: &str) -> Result<World, FileError> {
    WorldFile::parse("w.toml", text)?.build(Time::from_millis(1_700_000_000_000))
}

fn mistake(text: &str) -> FileError {
    build(text).unwrap_err()
}

#[test]
fn the_standard_world_has_two_zones() {
    let world = WorldFile::standard().unwrap().build(Time::ZERO).unwrap();
    let zones: Vec<_> = world.instances().iter().map(|i| i.availability_zone.as_str()).collect();
    assert_eq!(zones, ["us-west-2a", "us-west-2b"]);
    assert!(world.instances().iter().all(|i| i.instance_type.name == "m5.large"));
}

#[test]
fn everything_that_a_file_can_say() {
    let world = build(include_str!("everything.toml")).unwrap();
    assert_eq!((world.region(), world.account()), ("eu-central-1", "000011112222"));
    let vpc = &world.vpcs()[0];
    assert_eq!(vpc.id.as_str(), "vpc-1");
    assert_eq!(vpc.cidrs.len(), 2);
    let subnet = &world.subnets()[0];
    assert_eq!(subnet.id.as_str(), "subnet-pods");
    assert_eq!(subnet.availability_zone, "eu-central-1a");
    assert_eq!(subnet.tags["kubernetes.io/role/cni"], "1");
    assert!(subnet.ipv6_cidr.is_some());
    // Less the 17 reserved, the 5 of EC2, and what the ENIs hold.
    assert!(subnet.available_ips() < 256 - 17 - 5);
    assert_eq!(world.subnets()[1].free_prefixes(), 0);
    assert_eq!(world.subnets()[1].availability_zone, "eu-central-1b");
    let instance = &world.instances()[0];
    assert_eq!(instance.id.as_str(), "i-1");
    assert_eq!(instance.tags["Name"], "node");
    let enis = world.enis_of(&instance.id);
    let at: Vec<_> =
        enis.iter().map(|e| e.attachment.as_ref().unwrap()).map(|a| (a.card, a.device)).collect();
    assert_eq!(at, [(0, 0), (0, 2), (1, 0), (1, 1)]);
    assert!(
        enis.iter().all(|e| e.attachment.as_ref().unwrap().status == AttachmentStatus::Attached)
    );
    let primary = enis[0];
    assert_eq!(
        (primary.id.as_str(), primary.mac.to_string().as_str()),
        ("eni-1", "02:00:00:00:00:01")
    );
    assert_eq!(primary.secondary_ips.len(), 3);
    assert_eq!(primary.groups[0].as_str(), "sg-web");
    assert_eq!(primary.connection_tracking.unwrap().udp_timeout, Some(31));
    assert_eq!(enis[1].kind, InterfaceType::Trunk);
    assert_eq!((enis[2].kind, enis[2].primary_ip), (InterfaceType::EfaOnly, None));
    assert_eq!(enis[3].prefixes.len(), 2);
    assert!(!enis[3].attachment.as_ref().unwrap().delete_on_termination);
    let free = world.enis().find(|e| e.attachment.is_none()).unwrap();
    assert_eq!(free.description, "aws-K8S-i-gone");
    assert_eq!(free.tags["node.k8s.amazonaws.com/createdAt"], "2023-11-14T22:03:20Z");
    assert!(world.delays().attach_to_imds.as_secs() == 9 && world.delays().detach.as_secs() == 2);
    assert!(world.consistency().monotonic);
    let view = world.imds_view(&instance.id, Time::from_millis(1_700_000_000_000)).unwrap();
    assert_eq!(view.enis.len(), 4, "what a world begins with is visible at once");
}

#[test]
fn mistakes_say_where_and_what() {
    let start = START;
    for (text, want) in [
        ("vpcs = 1".to_owned(), "w.toml:1:8: invalid type: integer `1`, expected a sequence"),
        ("vpcs = [".to_owned(), "w.toml:1:"),
        ("regin = \"x\"".to_owned(), "w.toml:1:1: unknown field `regin`, expected one of `region`"),
        (format!("account = \"12\"\n{start}"), "w.toml:1:11: \"12\" is no account number; write"),
        (format!("region = \"US\"\n{start}"), "w.toml:1:10: \"US\" is no region; write"),
        (format!("{start}cidr6 = 1"), "w.toml:9:1: unknown field `cidr6`"),
        (format!("{start}[delays]\nattach = 5"), "w.toml:10:10: invalid type: integer"),
        (
            format!("{start}[delays]\nattach = \"5\""),
            "w.toml:10:10: \"5\" is no span of time; write",
        ),
        (
            format!("{start}[throttling.actions]\nRunInstances = {{ size = 1, refill = 1 }}"),
            "w.toml:10:1: \"RunInstances\" is no action of this emulator; it has Assign",
        ),
        ("[[vpcs]]\ncidrs = []".to_owned(), "w.toml:2:9: vpcs.cidrs is empty; a VPC has"),
        (
            "[[vpcs]]\ncidrs = [\"10.0.0.0/8\"]".to_owned(),
            "w.toml:2:10: vpcs.cidrs: 10.0.0.0/8 is not an IPv4 block between /16 and /28",
        ),
        (
            "[[vpcs]]\ncidrs = [\"10.0/8\"]".to_owned(),
            "w.toml:2:9: \"10.0/8\" is not a CIDR prefix",
        ),
        (
            format!("{start}[[vpcs.subnets]]\nzone = \"b\"\ncidr = \"10.1.0.0/24\""),
            "w.toml:11:8: vpcs.subnets.cidr: 10.1.0.0/24 lies in no block of vpc-",
        ),
        (
            format!("{start}[[vpcs.subnets]]\nname = \"a\"\nzone = \"b\"\ncidr = \"10.0.1.0/24\""),
            "w.toml:10:8: vpcs.subnets.name: the name \"a\" is given twice",
        ),
        (format!("{start}reserved = [\"10.0.1.1/32\"]"), "w.toml:9:13: vpcs.subnets.reserved: "),
        (
            format!("{start}[[instances]]\ntype = \"m5.huge\"\nsubnet = \"a\""),
            "w.toml:10:8: instances.type: instance type \"m5.huge\" is unknown; known types: ",
        ),
        (
            format!("{start}[[instances]]\ntype = \"m5.large\"\nsubnet = \"b\""),
            "w.toml:11:10: instances.subnet: there is no subnet \"b\" here; there are a, subnet-",
        ),
        (
            format!("{start}[[instances]]\ntype = \"m5.large\"\nsubnet = \"a\"\ngroups = [\"db\"]"),
            "w.toml:12:11: instances.groups: there is no security group \"db\" here; there are ",
        ),
        (
            format!(
                "{start}[[instances]]\ntype = \"m5.large\"\nsubnet = \"a\"\nprimary = {{ card = 1 }}"
            ),
            "w.toml:12:11: card of a primary ENI follows from its instance; leave it out",
        ),
        (
            format!(
                "{start}[[instances]]\ntype = \"m5.large\"\nsubnet = \"a\"\n[[instances.enis]]\naddresses = 10"
            ),
            "w.toml:12:1: instances.enis: PrivateIpAddressLimitExceeded: ",
        ),
        (format!("{start}[[enis]]\nkind = \"modem\""), "w.toml:10:8: \"modem\" is no kind of ENI"),
        (
            format!("{start}[[enis]]\nprefixes = 1"),
            "w.toml:9:1: subnet is missing; name the subnet",
        ),
        (
            format!("{start}[[enis]]\nsubnet = \"a\"\ndevice = 1"),
            "w.toml:9:1: device is for attached ENIs; list the ENI under its instance",
        ),
        (
            format!("{start}[[enis]]\nsubnet = \"a\"\naddresses = 1\nprefixes = 1"),
            "w.toml:9:1: addresses cannot stand beside prefixes",
        ),
        (
            format!(
                "{start}[[enis]]\nsubnet = \"a\"\nid = \"eni-1\"\n[[enis]]\nsubnet = \"a\"\nid = \"eni-1\""
            ),
            "w.toml:12:1: enis: eni-1 is taken; choose another id",
        ),
    ] {
        let error = mistake(&text);
        assert!(error.to_string().starts_with(want), "{text}\ngives: {error}\nwant:  {want}");
    }
}

#[test]
fn callers_can_branch_on_the_problem() {
    let error = mistake("[[vpcs]]\ncidrs = [\"10.0.0.0/16\", \"10.0.0.0/20\"]");
    assert!(matches!(
        error.problem,
        FileProblem::World { key: "vpcs.cidrs", refusal: WorldError::Overlap { .. } }
    ));
    assert_eq!((error.file.as_str(), error.line, error.column), ("w.toml", 2, 25));
}
