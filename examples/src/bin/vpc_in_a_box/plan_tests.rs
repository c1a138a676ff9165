#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

/// Nodes given as the numbers of pods on each of their ENIs.
fn layout(nodes: &[&[usize]]) -> Layout {
    let mut out = Layout {
        nodes: Vec::new(),
        pods: Vec::new(),
        vpc_host: Ipv4Addr::new(10, 0, 0, 200),
        internet: Ipv4Addr::new(198, 51, 100, 7),
        eni_mtu: 9001,
    };
    for (n, enis) in nodes.iter().enumerate() {
        let node = u8::try_from(n).unwrap();
        out.nodes
            .push(NodeSite { name: format!("node-{}", n + 1), ip: Ipv4Addr::new(10, 0, node, 10) });
        for (e, &pods) in enis.iter().enumerate() {
            for _ in 0..pods {
                let i = out.pods.len();
                out.pods.push(PodSite {
                    name: format!("demo/web-{i:04}"),
                    node: n,
                    ip: Ipv4Addr::new(10, 0, 100, u8::try_from(i).unwrap()),
                    eni: format!("eni-{n}{e}"),
                    device: u32::try_from(e).unwrap(),
                });
            }
        }
    }
    out
}

fn kinds(layout: &Layout) -> BTreeSet<Kind> {
    layout.probes().iter().map(|p| p.kind).collect()
}

#[test]
fn the_plan_runs_every_kind_that_the_layout_should_have() {
    for nodes in [
        &[&[1][..]][..],
        &[&[2]],
        &[&[1, 1]],
        &[&[9, 9, 2], &[9, 9, 2]],
        &[&[1], &[1]],
        &[&[3], &[], &[1]],
        &[&[0]],
    ] {
        let layout = layout(nodes);
        assert_eq!(kinds(&layout), layout.expected_kinds(), "{nodes:?}");
    }
}

#[test]
fn kinds_follow_the_layout() {
    let one_eni = layout(&[&[5]]).expected_kinds();
    assert!(!one_eni.contains(&Kind::PodToPodAcrossEnis));
    assert!(!one_eni.contains(&Kind::PodToPodAcrossNodes));
    assert!(one_eni.contains(&Kind::PodToPodSameEni));
    let alone = layout(&[&[1]]).expected_kinds();
    assert!(alone.contains(&Kind::PodToVpc) && !alone.contains(&Kind::PodToPodSameEni));
}

#[test]
fn every_pod_asks_and_is_asked() {
    let layout = layout(&[&[9, 9, 2], &[9, 1], &[4]]);
    let probes = layout.probes();
    for i in 0..layout.pods.len() {
        let me = End::Pod(i);
        let pod = |end: &End| matches!(end, End::Pod(_));
        for proto in [Proto::Tcp, Proto::Udp] {
            let of = |p: &&Probe| p.proto == proto;
            let mine = || probes.iter().filter(of);
            for host in [End::Internet, End::VpcHost] {
                assert!(mine().any(|p| p.from == me && p.to == host), "{i}");
                assert!(mine().any(|p| p.from == host && p.to == me), "{i}");
            }
            assert!(mine().any(|p| p.from == me && pod(&p.to)), "{i}");
            assert!(mine().any(|p| p.to == me && pod(&p.from)), "{i}");
        }
    }
}

#[test]
fn the_internet_sees_the_node_and_pods_see_pods() {
    let layout = layout(&[&[2, 2], &[2]]);
    for probe in layout.probes() {
        match (probe.from, probe.to, probe.expect) {
            (End::Pod(i), End::Internet, Expect::Seen(ip)) => {
                assert_eq!(ip, layout.nodes[layout.pods[i].node].ip);
            }
            (End::Pod(i), _, Expect::Seen(ip)) => assert_eq!(ip, layout.pods[i].ip),
            (End::Node(n), _, Expect::Seen(ip)) => assert_eq!(ip, layout.nodes[n].ip),
            (End::VpcHost, _, Expect::Seen(ip)) => assert_eq!(ip, layout.vpc_host),
            (End::Internet, End::Pod(_), Expect::Refused) => {}
            other => panic!("unexpected probe {other:?}"),
        }
    }
}

#[test]
fn a_large_datagram_fills_the_mtu_exactly() {
    let probes = layout(&[&[2]]).probes();
    let large =
        probes.iter().find(|p| p.kind == Kind::LargePacket && p.proto == Proto::Udp).unwrap();
    assert_eq!(large.bytes + 28, 9001);
}

#[test]
fn a_failure_names_address_link_and_node() {
    let text = layout(&[&[1, 1]]).describe(End::Pod(1));
    assert_eq!(text, "demo/web-0001 (10.0.100.1 on eth1 of node-1)");
}
