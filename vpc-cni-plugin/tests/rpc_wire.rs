//! The wire form of the messages, byte for byte: other implementations depend on it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use prost::Message;
use vpc_cni_plugin::rpc::{
    AddNetworkReply, AddNetworkRequest, DelNetworkReply, DelNetworkRequest, IpAllocationMetadata,
    NetworkPolicyAgentConfigReply,
};

/// Field numbers and wire types of an encoded message, in order of appearance.
fn shape(bytes: &[u8]) -> Vec<(u8, u8)> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let (number, kind) = (bytes[at] >> 3, bytes[at] & 7);
        out.push((number, kind));
        at += 1;
        match kind {
            0 => {
                while bytes[at] & 0x80 != 0 {
                    at += 1;
                }
                at += 1;
            }
            2 => at += 1 + usize::from(bytes[at]),
            other => panic!("wire type {other}"),
        }
    }
    out
}

#[test]
fn requests_have_the_numbers_of_the_contract() {
    let add = AddNetworkRequest {
        k8s_pod_name: "p".into(),
        k8s_pod_namespace: "n".into(),
        k8s_pod_infra_container_id: "i".into(),
        netns: "/n".into(),
        if_name: "eth0".into(),
        network_name: "aws-cni".into(),
        container_id: "c".into(),
        client_version: "1".into(),
        requires_multi_nic_attachment: true,
    };
    let want: Vec<_> = (1..=8).map(|n| (n, 2)).chain([(9, 0)]).collect();
    assert_eq!(shape(&add.encode_to_vec()), want);
    assert!(add.encode_to_vec().starts_with(b"\x0a\x01p\x12\x01n\x1a\x01i\x22\x02/n\x2a\x04eth0"));

    let del = DelNetworkRequest {
        k8s_pod_name: "p".into(),
        k8s_pod_namespace: "n".into(),
        k8s_pod_infra_container_id: "i".into(),
        reason: "PodDeleted".into(),
        if_name: "eth0".into(),
        network_name: "aws-cni".into(),
        container_id: "c".into(),
        client_version: "1".into(),
        k8s_pod_uid: "u".into(),
    };
    let want: Vec<_> = [1, 2, 3, 5, 6, 7, 8, 9, 10].map(|n| (n, 2)).to_vec();
    assert_eq!(shape(&del.encode_to_vec()), want);
    assert!(del.encode_to_vec().ends_with(b"\x42\x01c\x4a\x011\x52\x01u"));
}

#[test]
fn replies_have_the_numbers_of_the_contract() {
    let address = IpAllocationMetadata {
        ipv4_addr: "10.0.0.5".into(),
        ipv6_addr: "::1".into(),
        device_number: 1,
        route_table_id: 2,
    };
    assert_eq!(address.encode_to_vec(), b"\x0a\x0810.0.0.5\x12\x03::1\x18\x01\x20\x02");
    let add = AddNetworkReply {
        success: true,
        ip_allocation_metadata: vec![address.clone()],
        use_external_snat: true,
        vpc_v4_cidrs: vec!["10.0.0.0/16".into()],
        pod_vlan_id: 7,
        pod_eni_mac: "m".into(),
        pod_eni_subnet_gw: "g".into(),
        parent_if_index: 3,
        vpc_v6_cidrs: vec!["::/0".into()],
        network_policy_mode: "strict".into(),
    };
    let want = [(1, 0), (2, 2), (5, 0), (6, 2), (7, 0), (8, 2), (9, 2), (10, 0), (12, 2), (13, 2)];
    assert_eq!(shape(&add.encode_to_vec()), want);
    let del = DelNetworkReply {
        success: true,
        ip_allocation_metadata: vec![address],
        pod_vlan_id: 7,
        network_policy_mode: "strict".into(),
    };
    assert_eq!(shape(&del.encode_to_vec()), [(1, 0), (2, 2), (4, 0), (6, 2)]);
    let config = NetworkPolicyAgentConfigReply {
        network_policy_mode: "strict".into(),
        multi_nic_enabled: true,
        node_ipv4: "10.0.0.1".into(),
        node_ipv6: "::1".into(),
        instance_id: "i-1".into(),
        region: "r".into(),
    };
    assert_eq!(shape(&config.encode_to_vec()), [(1, 2), (2, 0), (3, 2), (4, 2), (5, 2), (6, 2)]);
}
