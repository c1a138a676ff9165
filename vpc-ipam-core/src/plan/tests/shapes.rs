//! Pools of any shape, for the tests of the planner in this crate and for those of its invariants.

// Whoever includes this file brings the names.
use super::*;

pub(super) fn config(mode: AllocationMode, targets: WarmTargets) -> PoolConfig {
    PoolConfig::new(mode, targets, 3, 9).unwrap()
}

/// An ENI whose `pods` are packed into the first of its `entries` CIDRs.
pub(super) fn eni(device: u32, entries: u64, pods: u64, mode: AllocationMode) -> EniView {
    let per_entry = if mode == Secondary { 1 } else { 16 };
    let used = pods.div_ceil(per_entry);
    let mut eni = EniView::new(format!("eni-{device}").parse().unwrap(), device);
    eni.taken = u32::try_from(entries).unwrap();
    eni.entries = entries;
    eni.unleased = entries - used;
    eni.total = entries * per_entry;
    eni.assigned = pods;
    eni.occupied = pods;
    eni.idle = (used..entries)
        .map(|n| {
            let base = format!("10.{device}.{n}.0");
            Prefix::new(base.parse().unwrap(), if mode == Secondary { 32 } else { 28 }).unwrap()
        })
        .collect();
    eni
}

fn targets() -> impl Strategy<Value = WarmTargets> {
    (0..4u32, 0..20u32, 0..40u32, 1..4u32).prop_flat_map(|(enis, ips, minimum_ips, prefixes)| {
        prop_oneof![
            Just(WarmTargets { enis, ips: 0, minimum_ips: 0, prefixes }),
            Just(WarmTargets { enis, ips, minimum_ips, prefixes }),
        ]
    })
}

fn mode() -> impl Strategy<Value = AllocationMode> {
    prop_oneof![Just(Prefixes), Just(Secondary)]
}

fn bands() -> impl Strategy<Value = Option<Band>> {
    let band = (0..20u32, 0..20u32, 0..20u32).prop_map(|(low, fill, high)| Band {
        low,
        fill,
        high,
        basis: Basis::Other("of the test"),
    });
    prop::option::of(band)
}

/// Pods and CIDRs of three ENIs.
pub(super) fn pools() -> impl Strategy<Value = (View, PoolConfig)> {
    let shape = prop::collection::vec((0..10u64, 0..200u64), 1..4);
    (mode(), targets(), bands(), shape, 0..30u64, 1..250u32).prop_map(
        |(mode, targets, band, shape, waiting, max_pods)| {
            let enis = shape.iter().enumerate().map(|(device, (entries, pods))| {
                let capacity = entries * if mode == Secondary { 1 } else { 16 };
                eni(u32::try_from(device).unwrap(), *entries, *pods.min(&capacity), mode)
            });
            let mut view = View::default();
            (view.enis, view.confirmed) = (enis.collect(), true);
            view.waiting = waiting;
            view.band = band;
            let mut config = config(mode, targets);
            config.max_pods = max_pods;
            (view, config)
        },
    )
}
