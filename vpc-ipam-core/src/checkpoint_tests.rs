#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

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
fn unknown_keys_and_missing_metadata_are_tolerated() {
    let text = r#"{"version":"vpc-cni-ipam/1","future":{"a":[1]},"allocations":[
        {"networkName":"n","containerID":"c","ifName":"i","ipv4":"10.0.0.1","ipv6":"","colour":1}]}"#;
    let lease = decode(text.as_bytes()).unwrap().leases.remove(0);
    assert_eq!((lease.ip.to_string().as_str(), lease.allocated_ns), ("10.0.0.1", 0));
    assert_eq!(lease.pod, PodRef::default());
}

fn file(entries: &str) -> Result<Checkpoint, CheckpointError> {
    decode(format!(r#"{{"version":"vpc-cni-ipam/1","allocations":[{entries}]}}"#).as_bytes())
}

#[test]
fn contradictions_are_refused() {
    let entry = |c: &str, ip: &str| {
        format!(r#"{{"networkName":"n","containerID":"{c}","ifName":"i","ipv4":"{ip}"}}"#)
    };
    let twice = file(&format!("{},{}", entry("a", "10.0.0.1"), entry("b", "10.0.0.1")));
    assert_eq!(twice, Err(CheckpointError::Duplicate("10.0.0.1".parse().unwrap())));
    let owner = file(&format!("{},{}", entry("a", "10.0.0.1"), entry("a", "10.0.0.2")));
    assert_eq!(owner, Err(CheckpointError::DuplicateKey("n/a/i".to_owned())));
    for bad in [entry("", "10.0.0.1"), entry("a", "10.0.0.256"), entry("a", "")] {
        assert!(matches!(file(&bad), Err(CheckpointError::Malformed(_))), "{bad}");
    }
    let both =
        r#"{"networkName":"n","containerID":"c","ifName":"i","ipv4":"10.0.0.1","ipv6":"::1"}"#;
    assert!(matches!(file(both), Err(CheckpointError::Malformed(_))));
    assert_eq!(
        decode(br#"{"version":"vpc-cni-ipam/2"}"#),
        Err(CheckpointError::Version("vpc-cni-ipam/2".to_owned()))
    );
    assert!(matches!(decode(b"{}"), Err(CheckpointError::Version(_))));
    assert!(matches!(decode(&vec![b' '; SIZE_MAX + 1]), Err(CheckpointError::Malformed(_))));
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
        let checkpoint = Checkpoint { leases };
        let content = encode(&checkpoint);
        prop_assert_eq!(content.iter().filter(|b| **b == b'\n').count(), 1);
        prop_assert_eq!(decode(&content).unwrap(), checkpoint);
    }

    #[test]
    fn a_torn_file_is_an_error_and_never_a_shorter_checkpoint(leases in leases(), cut in 0.0..1.0f64) {
        let content = encode(&Checkpoint { leases });
        // The final newline may be missing, the closing brace may not.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let len = ((content.len() - 1) as f64 * cut) as usize;
        prop_assert!(decode(&content[..len]).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(content in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&content);
    }
}
