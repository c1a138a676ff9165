#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const REFERENCE: &str = r#"{"version":"vpc-cni-ipam/1","allocations":[{"networkName":"aws-cni","containerID":"9f1c0d7e","ifName":"eth0","ipv4":"10.1.4.23","allocationTimestamp":1735689600123456789,"metadata":{"k8sPodNamespace":"shop","k8sPodName":"cart-7d9f-abcde","interfacesCount":1}},{"networkName":"aws-cni","containerID":"77ab3e10","ifName":"eth0","ipv6":"2001:db8:0:1::4","allocationTimestamp":1735689700000000000,"metadata":{}}]}
"#;

#[test]
fn the_reference_file_is_read_and_written_byte_for_byte() {
    let checkpoint = decode(REFERENCE.as_bytes()).unwrap();
    assert_eq!(checkpoint.leases.len(), 2);
    assert_eq!(checkpoint.leases[0].pod.name, "cart-7d9f-abcde");
    assert_eq!(checkpoint.leases[0].allocated_ns, 1_735_689_600_123_456_789);
    assert_eq!(checkpoint.leases[1].interfaces, 1, "absent count is one");
    let written = String::from_utf8(encode(&checkpoint)).unwrap();
    let with_count = REFERENCE.replace("\"metadata\":{}}", "\"metadata\":{\"interfacesCount\":1}}");
    assert_eq!(written, with_count);
}

#[test]
fn an_empty_checkpoint_has_an_empty_list() {
    let line = b"{\"version\":\"vpc-cni-ipam/1\",\"allocations\":[]}\n";
    assert_eq!(encode(&Checkpoint::default()), line);
    assert_eq!(decode(line).unwrap(), Checkpoint::default());
    let null = br#"{"version":"vpc-cni-ipam/1","allocations":null}"#;
    assert_eq!(decode(null).unwrap(), Checkpoint::default());
}

#[test]
fn missing_metadata_and_empty_addresses_are_tolerated() {
    let text = r#"{"version":"vpc-cni-ipam/1","allocations":[
        {"networkName":"n","containerID":"c","ifName":"i","ipv4":"10.0.0.1","ipv6":""}]}"#;
    let lease = decode(text.as_bytes()).unwrap().leases.remove(0);
    assert_eq!((lease.ip.to_string().as_str(), lease.allocated_ns), ("10.0.0.1", 0));
    assert_eq!(lease.pod, PodRef::default());
}

#[test]
fn unknown_members_go_back_as_they_came() {
    // Numbers that no parser keeps, a repeated name, a name with an escape, text that looks like JSON.
    let text = r#"{"version":"vpc-cni-ipam/1","allocations":[{"networkName":"n","containerID":"c","ifName":"i","ipv4":"10.0.0.1","allocationTimestamp":7,"metadata":{"interfacesCount":2,"uid":"é \" , }"},"colour":1e999,"colour":12345678901234567890123,"\ud800":[ ]}],"future":{"a":[1, {"b":null}]},"x":0.10}
"#;
    let checkpoint = decode(text.as_bytes()).unwrap();
    assert_eq!(checkpoint.kept, []);
    assert_eq!(checkpoint.leases[0].interfaces, 2);
    let compact = text.replace("[ ]", "[]").replace("[1, {", "[1,{");
    assert_eq!(String::from_utf8(encode(&checkpoint)).unwrap(), compact);
}

fn file(entries: &str) -> Result<Checkpoint, CheckpointError> {
    decode(format!(r#"{{"version":"vpc-cni-ipam/1","allocations":[{entries}]}}"#).as_bytes())
}

fn entry(owner: &str, ip: &str, at: i64) -> String {
    format!(
        r#"{{"networkName":"n","containerID":"{owner}","ifName":"i","ipv4":"{ip}","allocationTimestamp":{at}}}"#
    )
}

/// Leases as `owner ip`, and what is kept as `addresses: why`.
fn shape(checkpoint: &Checkpoint) -> (Vec<String>, Vec<String>) {
    let leases = checkpoint.leases.iter().map(|l| format!("{} {}", l.key.container_id(), l.ip));
    (leases.collect(), checkpoint.kept.iter().map(ToString::to_string).collect())
}

#[test]
fn an_entry_that_is_no_lease_is_kept_as_it_came_with_its_addresses() {
    let long = "x".repeat(300);
    for (bad, kept) in [
        (r#"7"#, "an unknown sandbox (it is not understood: it is no object)"),
        (
            &*entry("", "10.0.0.1", 1),
            "an unknown sandbox with 10.0.0.1 (it is not understood: container id is empty)",
        ),
        (
            &entry("a", "10.0.0.256", 1),
            r#"n/a/i (it is not understood: its address is "10.0.0.256")"#,
        ),
        (&entry("a", "", 1), "n/a/i (it is not understood: it has no address)"),
        (
            r#"{"networkName":"n","containerID":"c","ifName":"i","ipv4":"10.0.0.1","ipv6":"::1"}"#,
            r#"n/c/i with 10.0.0.1 and ::1 (it is not understood: its address is "10.0.0.1 and ::1")"#,
        ),
        (
            r#"{"networkName":"n","containerID":"c","ifName":"i","ipv6":"::ffff:10.0.0.1"}"#,
            r#"n/c/i with 10.0.0.1 (it is not understood: its address is "::ffff:10.0.0.1")"#,
        ),
        (
            r#"{"networkName":"n","containerID":"c","ifName":"i","ipv6":"10.0.0.1"}"#,
            r#"n/c/i with 10.0.0.1 (it is not understood: its address is "10.0.0.1")"#,
        ),
        (
            r#"{"networkName":"n","containerID":"c","ifName":"i","ipv4":"10.0.0.1","ipv4":"10.0.0.2"}"#,
            "an unknown sandbox with 10.0.0.1 and 10.0.0.2 (it is not understood: it says something twice)",
        ),
        (
            r#"{"networkName":"n","containerID":"c","ifName":"i","ipv4":"10.0.0.1","metadata":[]}"#,
            "n/c/i with 10.0.0.1 (it is not understood: it is no object)",
        ),
        (
            r#"{"networkName":"n","containerID":"c","ifName":"i","ipv4":"10.0.0.1","allocationTimestamp":1.5}"#,
            "n/c/i with 10.0.0.1 (it is not understood: its allocationTimestamp is 1.5)",
        ),
        (
            &entry(&long, "10.0.0.1", 1),
            &format!(
                "an unknown sandbox with 10.0.0.1 (it is not understood: container id {:?} is malformed, expected at most 256 bytes)",
                &long[..64]
            ),
        ),
    ] {
        let good = entry("good", "10.0.0.9", 1);
        let checkpoint = file(&format!("{bad},{good}")).unwrap();
        assert_eq!(shape(&checkpoint), (vec!["good 10.0.0.9".to_owned()], vec![kept.to_owned()]));
        let written = String::from_utf8(encode(&checkpoint)).unwrap();
        assert!(written.contains(&format!(",{bad}]")), "{written}");
    }
}

#[test]
fn two_sandboxes_with_one_address_are_both_kept() {
    let [a, b, c] =
        [entry("a", "10.0.0.1", 1), entry("b", "10.0.0.1", 2), entry("c", "10.0.0.2", 3)];
    let (leases, kept) = shape(&file(&format!("{a},{c},{b}")).unwrap());
    assert_eq!(leases, ["c 10.0.0.2"]);
    assert_eq!(
        kept,
        [
            "n/a/i with 10.0.0.1 (another entry has the same address)",
            "n/b/i with 10.0.0.1 (another entry has the same address)",
        ]
    );
    // The same if the other one is not understood.
    let (leases, kept) = shape(&file(&format!(r#"{{"ipv4":"10.0.0.1"}},{a}"#)).unwrap());
    assert_eq!((leases.len(), kept.len()), (0, 2));
}

#[test]
fn of_two_addresses_of_a_sandbox_the_later_counts_and_the_other_is_kept() {
    let [new, old] = [entry("a", "10.0.0.1", 2), entry("a", "10.0.0.2", 1)];
    for text in [format!("{new},{old}"), format!("{old},{new}")] {
        let (leases, kept) = shape(&file(&text).unwrap());
        assert_eq!(leases, ["a 10.0.0.1"]);
        assert_eq!(
            kept,
            ["n/a/i with 10.0.0.2 (its sandbox has a later lease of another address)"]
        );
    }
    let again = entry("a", "10.0.0.1", 3);
    let checkpoint = file(&format!("{again},{new}")).unwrap();
    assert_eq!((checkpoint.leases.len(), checkpoint.kept.len()), (1, 0), "the same lease twice");
    assert_eq!(checkpoint.leases[0].allocated_ns, 3);
}

#[test]
fn what_is_no_state_file_is_refused() {
    assert_eq!(
        decode(br#"{"version":"vpc-cni-ipam/2"}"#),
        Err(CheckpointError::Version("vpc-cni-ipam/2".to_owned()))
    );
    assert!(matches!(decode(b"{}"), Err(CheckpointError::Version(_))));
    for text in [
        r#"{"version":"vpc-cni-ipam/1","allocations":{}}"#,
        r#"{"version":"vpc-cni-ipam/1","allocations":[],"allocations":[]}"#,
        r#"{"version":1}"#,
        "[]",
        "",
        "\u{feff}{}",
    ] {
        assert!(matches!(decode(text.as_bytes()), Err(CheckpointError::Malformed(_))), "{text}");
    }
    assert!(matches!(decode(b"\"\xff\""), Err(CheckpointError::Malformed(_))));
    assert!(matches!(decode(&vec![b' '; SIZE_MAX + 1]), Err(CheckpointError::Malformed(_))));
}

#[test]
fn each_card_has_a_file_of_its_own() {
    assert_eq!(path_of_card("/var/run/aws-node/ipam.json", 0), "/var/run/aws-node/ipam.json");
    assert_eq!(path_of_card("/var/run/aws-node/ipam.json", 1), "/var/run/aws-node/ipam-nic-1.json");
    assert_eq!(path_of_card("/state", 12), "/state-nic-12.json");
}

fn leases() -> impl Strategy<Value = Vec<Lease>> {
    let text = "[a-zA-Z0-9._\"\\\\é-]{1,20}";
    let ip = prop_oneof![
        any::<u32>().prop_map(|n| IpAddr::V4(n.into())),
        any::<u128>().prop_map(|n| IpAddr::V6(n.into())),
    ];
    let lease = (ip, any::<i64>(), text, text, 1..9u32);
    proptest::collection::vec(lease, 0..20).prop_map(|rows| {
        let mut leases: Vec<Lease> = rows
            .into_iter()
            .enumerate()
            .map(|(n, (ip, allocated_ns, namespace, name, interfaces))| Lease {
                key: SandboxKey::new("aws-cni", &format!("{n}"), "eth0").unwrap(),
                ip,
                allocated_ns,
                pod: PodRef { namespace, name },
                interfaces,
                unknown: Unknown::default(),
            })
            .collect();
        leases.sort_by_key(|l| l.ip);
        leases.dedup_by_key(|l| l.ip);
        leases
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn decode_is_the_inverse_of_encode(leases in leases()) {
        let checkpoint = Checkpoint::new(leases);
        let content = encode(&checkpoint);
        prop_assert_eq!(content.iter().filter(|b| **b == b'\n').count(), 1);
        prop_assert_eq!(decode(&content).unwrap(), checkpoint);
    }

    #[test]
    fn a_torn_file_is_an_error_and_never_a_shorter_checkpoint(leases in leases(), cut in 0.0..1.0f64) {
        let content = encode(&Checkpoint::new(leases));
        // The final newline may be missing, the closing brace may not.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let len = ((content.len() - 1) as f64 * cut) as usize;
        prop_assert!(decode(&content[..len]).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(content in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&content);
    }

    #[test]
    fn whatever_is_accepted_is_saved_and_no_address_is_forgotten(
        entries in proptest::collection::vec(any_entry(), 0..8),
        change in proptest::option::of((0..2000usize, any::<u8>())),
    ) {
        let text = format!(r#"{{"version":"{VERSION}","allocations":[{}],"z":{{}}}}"#, entries.join(","));
        let mut content = text.into_bytes();
        if let Some((at, byte)) = change {
            let at = at % content.len();
            content[at] = byte;
        }
        let Ok(checkpoint) = decode(&content) else {
            prop_assert!(change.is_some(), "refused: {}", String::from_utf8_lossy(&content));
            return Ok(());
        };
        prop_assert_eq!(&decode(&encode(&checkpoint)).unwrap(), &checkpoint);
        let mut held = BTreeSet::new();
        let mut owners = BTreeSet::new();
        for lease in &checkpoint.leases {
            prop_assert!(held.insert(lease.ip), "{} is leased twice", lease.ip);
            prop_assert!(owners.insert(&lease.key), "{} has two leases", lease.key);
        }
        for kept in &checkpoint.kept {
            // Shared with a lease only if both are of the same sandbox.
            for lease in checkpoint.leases.iter().filter(|l| kept.addresses.contains(&l.ip)) {
                prop_assert_eq!(kept.owner.as_ref(), Some(&lease.key));
            }
            held.extend(&kept.addresses);
        }
        if change.is_none() {
            for n in 0..4u8 {
                let ip = IpAddr::from([10, 0, 0, n]);
                let named = entries.iter().any(|entry| entry.contains(&format!("{ip}\"")));
                prop_assert_eq!(held.contains(&ip), named, "{}", ip);
            }
        }
    }
}

/// Entries from good to useless, of few sandboxes and addresses.
fn any_entry() -> impl Strategy<Value = String> {
    let text = |texts: &'static [&'static str]| proptest::sample::select(texts);
    let id = text(&[r#""a""#, r#""b""#, r#""c""#, r#""""#, "7", "null"]);
    let ip = (0..4u8).prop_map(|n| format!(r#""10.0.0.{n}""#));
    let ip = prop_oneof![8 => ip, 1 => Just("\"\"".to_owned()), 1 => Just("[]".to_owned())];
    let family = text(&["ipv4", "ipv4", "ipv4", "ipv6"]);
    let rest = text(&[
        "",
        r#","allocationTimestamp":5"#,
        r#","metadata":{"a":0}"#,
        r#","b":1E9"#,
        r#","metadata":3"#,
        r#","ifName":"j""#,
    ]);
    (id, ip, family, rest).prop_map(|(id, ip, family, rest)| {
        format!(r#"{{"networkName":"n","containerID":{id},"ifName":"i","{family}":{ip}{rest}}}"#)
    })
}
