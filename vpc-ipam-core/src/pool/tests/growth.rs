use super::bench::*;
use crate::{
    config::{
        AllocationMode::{Prefix, Secondary},
        WarmTargets,
    },
    pool::Action,
};

/// The published steady states: targets, pods, addresses per ENI, available addresses.
fn steady(
    mode: crate::config::AllocationMode,
    targets: WarmTargets,
    max_pods: u32,
    pods: u32,
) -> (Vec<u64>, u64) {
    let mut config = config(mode, targets);
    config.max_pods = max_pods;
    let mut bench = Bench::new(config);
    bench.pass_s(1);
    for n in 0..pods {
        bench.add(n);
    }
    bench.pass_s(600);
    bench.shape()
}

#[test]
fn secondary_mode_reaches_the_published_steady_states() {
    let eni = |enis| WarmTargets { enis, ..WarmTargets::default() };
    for (targets, pods, enis, available) in [
        (eni(1), 0, vec![9], 9),
        (eni(1), 1, vec![9, 9], 17),
        (eni(1), 10, vec![9, 9, 9], 17),
        (eni(1), 19, vec![9, 9, 9], 8),
        (eni(0), 1, vec![9], 8),
        (eni(2), 0, vec![9, 9], 18),
        (warm_ips(2, 6), 0, vec![6], 6),
        (warm_ips(2, 6), 3, vec![6], 3),
        (warm_ips(2, 6), 9, vec![9, 2], 2),
        (warm_ips(2, 6), 20, vec![9, 9, 4], 2),
    ] {
        assert_eq!(steady(Secondary, targets, 29, pods), (enis, available), "{targets:?} {pods}");
    }
}

#[test]
fn prefix_mode_reaches_the_published_steady_states() {
    let warm = |prefixes| WarmTargets { prefixes, ..WarmTargets::default() };
    for (targets, pods, prefixes, available) in [
        (warm(1), 0, 1, 16),
        (warm(1), 1, 2, 31),
        (warm(1), 16, 2, 16),
        (warm(1), 17, 3, 31),
        (warm(2), 1, 3, 47),
        (warm(2), 40, 5, 40),
        (warm_ips(16, 0), 0, 1, 16),
        (warm_ips(16, 0), 1, 2, 31),
        (warm_ips(7, 20), 0, 2, 32),
        (warm_ips(7, 20), 17, 2, 15),
    ] {
        let got = steady(Prefix, targets, 110, pods);
        assert_eq!(got, (vec![prefixes * 16], available), "{targets:?} {pods}");
    }
}

#[test]
fn adds_wait_for_the_eni_that_will_bring_the_node_to_its_pod_limit() {
    let mut config = config(Secondary, WarmTargets::default());
    config.max_pods = 27;
    let mut bench = Bench::new(config);
    bench.pass_s(1);
    for n in 0..9 {
        bench.add(n);
    }
    bench.pass_s(1);
    bench.hold = |action| matches!(action, Action::CreateEni { .. });
    for n in 9..20 {
        bench.ask(n);
    }
    bench.pass_s(1);
    let refused = |bench: &Bench| bench.replies.values().filter(|r| r.is_err()).count();
    assert_eq!((refused(&bench), bench.pool.stats().waiting), (0, 2));
    bench.answer_held();
    bench.pass_s(1);
    assert_eq!((refused(&bench), bench.pool.stats().waiting), (0, 0));
}
