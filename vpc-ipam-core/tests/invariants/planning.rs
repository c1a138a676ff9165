//! Invariants 17 to 19 and 23 of the planner alone: pools of any shape, and what the plan makes of them.

use proptest::prelude::*;
use vpc_ipam_core::{
    addr::Prefix,
    config::{
        AllocationMode::{self, Prefix as Prefixes, Secondary},
        PoolConfig, WarmTargets,
    },
    id::EniId,
    plan::{EniView, Growth, Need, Plan, Shrink, Totals, View, plan},
    policy::{Band, Basis},
    time::Time,
};

use crate::cases;

#[path = "../../src/plan/tests/shapes.rs"]
mod shapes;
use shapes::{eni, pools};

/// Old enough for every ENI to go.
const NOW: Time = Time::from_millis(10_000_000);

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn never_too_low_and_too_high_at_once((view, config) in pools()) {
        let plan = plan(&view, &config, NOW);
        prop_assert!(plan.grow.is_empty() || plan.shrink.is_empty(), "{plan:?}");
    }

    #[test]
    fn a_shortage_implies_no_surplus_by_the_formulas((view, config) in plain_pools()) {
        let sums = Formulas::of(&view, &config);
        prop_assert!(!sums.too_low() || sums.surplus() == 0, "{sums:?}");
        let (free, warm) = (sums.free, sums.warm_prefixes);
        if !sums.has_ip_targets() && config.mode == Prefixes && free > warm {
            prop_assert!(sums.available() > 16 * warm);
        }
    }

    #[test]
    fn the_pool_is_low_exactly_when_the_formulas_say_so((view, config) in plain_pools()) {
        let need = Need::of(&Totals::of(&view, &config), &config);
        let sums = Formulas::of(&view, &config);
        prop_assert_eq!(matches!(need, Need::Slots { .. }), sums.too_low(), "{:?}", sums);
    }

    #[test]
    fn what_one_eni_releases_is_exactly_the_surplus_of_the_formulas(
        (mut view, config) in plain_pools(),
    ) {
        view.enis.truncate(1);
        let sums = Formulas::of(&view, &config);
        let plan = plan(&view, &config, NOW);
        let released = plan.shrink.iter().map(|step| match step {
            Shrink::Release { cidrs, .. } => cidrs.len() as u64,
            other => panic!("{other:?}"),
        });
        prop_assert_eq!(released.sum::<u64>(), sums.surplus(), "{:?}: {:?}", sums, plan);
    }

    #[test]
    fn shrinking_never_makes_the_pool_low_and_keeps_the_targets((mut view, config) in pools()) {
        view.waiting = 0;
        let first = plan(&view, &config, NOW);
        if first.shrink.is_empty() {
            return Ok(());
        }
        let after = carried_out(&view, &first, &config);
        let second = plan(&after, &config, NOW);
        prop_assert!(second.grow.is_empty(), "{first:?} then {second:?}");
        if view.band.is_none() {
            let sums = Formulas::of(&after, &config);
            prop_assert!(sums.available() >= u64::from(config.targets.ips), "{sums:?}");
            prop_assert!(sums.total >= u64::from(config.targets.minimum_ips), "{sums:?}");
        }
    }

    #[test]
    fn growing_and_shrinking_reach_a_fixed_point((mut view, config) in pools()) {
        view.waiting = 0;
        let mut shrunk = false;
        for _ in 0..20 {
            let next = plan(&view, &config, NOW);
            if next.grow.is_empty() && next.shrink.is_empty() {
                return Ok(());
            }
            prop_assert!(!shrunk || next.grow.is_empty(), "grows again: {next:?}");
            shrunk |= !next.shrink.is_empty();
            view = carried_out(&view, &next, &config);
        }
        prop_assert!(false, "no fixed point");
    }

    #[test]
    fn no_plan_passes_a_limit((view, config) in pools()) {
        for step in &plan(&view, &config, NOW).grow {
            match step {
                Growth::Assign { eni, count } => {
                    let eni = view.enis.iter().find(|e| e.id == *eni).unwrap();
                    prop_assert!(eni.taken + count.slots() <= config.slots);
                }
                Growth::Create { count } => {
                    prop_assert!(view.enis.len() < config.max_enis as usize);
                    prop_assert!(count.slots() <= config.slots && count.slots() > 0);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn no_plan_grows_past_max_pods((view, config) in pools()) {
        let slots = |step: &Growth| match step {
            Growth::Assign { count, .. } | Growth::Create { count } => u64::from(count.slots()),
            other => panic!("{other:?}"),
        };
        let added: u64 = plan(&view, &config, NOW).grow.iter().map(slots).sum();
        let total = Totals::of(&view, &config).total;
        let max_pods = u64::from(config.max_pods);
        // The last one that is asked for must still be needed.
        let needed = added == 0
            || total + (added - 1) * u64::from(config.addresses_per_slot()) < max_pods;
        prop_assert!(needed, "{added} slots on top of {total} addresses for {max_pods} pods");
    }
}

/// The reference's formulas, of sums over the whole node.
#[derive(Debug)]
struct Formulas {
    mode: AllocationMode,
    total: u64,
    assigned: u64,
    /// Prefixes, and those of them without a pod.
    prefixes: u64,
    free: u64,
    /// `WARM_IP_TARGET`, `MINIMUM_IP_TARGET`, `WARM_PREFIX_TARGET`, `WARM_ENI_TARGET`.
    warm: u64,
    minimum: u64,
    warm_prefixes: u64,
    warm_enis: u64,
    per_eni: u64,
    max_pods: u64,
}

impl Formulas {
    fn of(view: &View, config: &PoolConfig) -> Self {
        let sum = |of: fn(&EniView) -> u64| view.enis.iter().map(of).sum::<u64>();
        Self {
            mode: config.mode,
            total: sum(|eni| eni.total),
            assigned: sum(|eni| eni.assigned),
            prefixes: sum(|eni| eni.entries),
            free: sum(|eni| eni.unleased),
            warm: config.targets.ips.into(),
            minimum: config.targets.minimum_ips.into(),
            warm_prefixes: config.targets.prefixes.into(),
            warm_enis: config.targets.enis.into(),
            per_eni: config.addresses_per_eni().into(),
            max_pods: config.max_pods.into(),
        }
    }

    /// `V`.
    fn available(&self) -> u64 {
        self.total - self.assigned
    }

    fn has_ip_targets(&self) -> bool {
        self.warm > 0 || self.minimum > 0
    }

    /// `max(W - V, M - T, 0)`.
    fn short(&self) -> u64 {
        let (warm, minimum) = (self.warm, self.minimum);
        warm.saturating_sub(self.available()).max(minimum.saturating_sub(self.total))
    }

    fn too_low(&self) -> bool {
        let available = self.available();
        if self.total >= self.max_pods {
            return false;
        }
        match self.mode {
            _ if self.has_ip_targets() => self.short() > 0,
            Prefixes => available < 16 * self.warm_prefixes || available == 0,
            Secondary => available < self.per_eni * self.warm_enis || available == 0,
        }
    }

    /// `over`, `overP` or `F - WP`.
    fn surplus(&self) -> u64 {
        match (self.has_ip_targets(), self.mode) {
            (true, Secondary) => {
                let over_warm = self.available().saturating_sub(self.warm);
                over_warm.min(self.total.saturating_sub(self.minimum))
            }
            (true, Prefixes) => {
                let of_warm = (self.assigned + self.warm).div_ceil(16);
                let of_minimum = self.minimum.div_ceil(16);
                let over = self.prefixes.saturating_sub(of_warm.max(of_minimum));
                over.min(self.free)
            }
            (false, Secondary) => 0,
            (false, Prefixes) => self.free.saturating_sub(self.warm_prefixes),
        }
    }
}

/// Pools without a policy of their own, for which nobody waits.
fn plain_pools() -> impl Strategy<Value = (View, PoolConfig)> {
    pools().prop_map(|(mut view, config)| {
        (view.band, view.waiting) = (None, 0);
        (view, config)
    })
}

/// What `view` looks like once `plan` has been carried out.
fn carried_out(view: &View, plan: &Plan, config: &PoolConfig) -> View {
    let mut view = view.clone();
    let old = |id: &EniId| -> usize { view.enis.iter().position(|e| e.id == *id).unwrap() };
    let mut sizes: Vec<(usize, u64)> = Vec::new();
    let mut gone = Vec::new();
    let mut new = None;
    for step in &plan.grow {
        match step {
            Growth::Assign { eni, count } => {
                let n = old(eni);
                sizes.push((n, view.enis[n].entries + u64::from(count.slots())));
            }
            Growth::Create { count } => new = Some(u64::from(count.slots())),
            other => panic!("{other:?}"),
        }
    }
    for step in &plan.shrink {
        match step {
            Shrink::Free { eni } => gone.push(old(eni)),
            Shrink::Release { eni, cidrs } => {
                let n = old(eni);
                sizes.push((n, view.enis[n].entries - cidrs.len() as u64));
            }
            other => panic!("{other:?}"),
        }
    }
    for (n, entries) in sizes {
        let (device, pods) = (view.enis[n].device, view.enis[n].assigned);
        view.enis[n] = eni(device, entries, pods, config.mode);
    }
    if let Some(entries) = new {
        let device = u32::try_from(view.enis.len()).unwrap();
        view.enis.push(eni(device, entries, 0, config.mode));
    }
    let mut n = 0;
    view.enis.retain(|_| {
        n += 1;
        !gone.contains(&(n - 1))
    });
    view
}
