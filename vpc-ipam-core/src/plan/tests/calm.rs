//! What is told from sums is what the planner would say.

use super::*;
use crate::class::Retirement;

fn outline(view: &View, config: &PoolConfig) -> Outline {
    let mut outline = Outline::default();
    for eni in &view.enis {
        let of = Outline::of(eni, eni.foreign_idle.len() as u64, config.slots);
        outline.replace(&Outline::default(), &of);
    }
    outline
}

fn calm_of(view: &View, config: &PoolConfig) -> Option<Calm> {
    calm(&View { enis: Vec::new(), ..view.clone() }, &outline(view, config), config)
}

/// The views of `pools`, in the middle of all sorts of things, each of them rare.
fn busy_pools() -> impl Strategy<Value = (View, PoolConfig)> {
    let eni = prop::collection::vec(prop::bool::weighted(0.04), 11);
    let frame = prop::collection::vec(prop::bool::weighted(0.06), 14);
    (pools(), prop::collection::vec(eni, 3), frame).prop_map(
        |((mut view, mut config), enis, frame)| {
            for (eni, is) in view.enis.iter_mut().zip(enis) {
                eni.usable = !is[0];
                eni.busy = is[1];
                eni.settled = !is[2];
                eni.incoming = 2 * u32::from(is[1] && is[3]);
                eni.leaving = 3 * u32::from(is[1] && !is[3]);
                eni.hold_until = is[4].then_some(NOW + SHRINK_GAP);
                eni.since = if is[5] { NOW } else { Time::ZERO };
                eni.foreign_idle = if is[6] { eni.idle.clone() } else { Vec::new() };
                eni.standing = if is[7] { Standing::Trunk } else { Standing::Active };
                if is[8] {
                    eni.standing = Standing::Retired(Retirement::ExcludedSubnet);
                }
                if is[9] && config.mode == Prefixes && eni.taken > 0 {
                    eni.singles = 1;
                    eni.idle_singles = vec!["10.9.9.9/32".parse().unwrap()];
                }
                eni.holds.prefixes.until = is[10].then_some(NOW + SHRINK_GAP);
            }
            view.waiting = if frame[0] { view.waiting } else { 0 };
            view.creating = frame[1].then_some(AddressCount::Secondary(4));
            view.deleting = frame[2];
            view.draining = frame[3];
            view.confirmed = !frame[4];
            view.last_shrink = frame[5].then_some(NOW);
            view.holds.all = frame[6].then_some(NOW + SHRINK_GAP);
            view.holds.create = frame[7].then_some(NOW + SHRINK_GAP);
            view.holds.new_eni.secondary.until = frame[8].then_some(NOW + SHRINK_GAP);
            view.holds.new_eni.prefixes.until = frame[9].then_some(NOW + SHRINK_GAP);
            view.holds.new_eni.prefixes.ask_max = frame[10].then_some(1);
            config.provisioning = !frame[11];
            view.unschedulable = frame[12];
            view.trunk = frame[12];
            config.pod_eni = frame[13];
            config.max_enis = view.enis.len().max(2) as u32;
            config.slots = view.enis.iter().map(|eni| eni.taken).max().unwrap_or(0).max(2);
            (view, config)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_calm_pool_has_no_plan((view, config) in busy_pools()) {
        let Some(calm) = calm_of(&view, &config) else { return Ok(()) };
        let plan = plan(&view, &config, NOW);
        let nothing = (&plan.grow, &plan.shrink, plan.revisit) == (&vec![], &vec![], None);
        prop_assert!(nothing, "{calm:?}, but {plan:?}");
        let expected = match plan.reason {
            Reason::Draining | Reason::ProvisioningDisabled | Reason::Settled { .. } => Calm::Enough,
            Reason::Full { .. } => Calm::Short,
            other => return Err(TestCaseError::fail(format!("{calm:?}, but {other:?}"))),
        };
        prop_assert_eq!(calm, expected);
    }

    #[test]
    fn a_pool_of_addresses_that_has_no_plan_is_calm((mut view, config) in pools()) {
        view.waiting = 0;
        let plan = plan(&view, &config, NOW);
        let moot = plan.revisit.is_some() || view.enis.iter().any(|eni| eni.occupied == 0);
        if plan.grow.is_empty() && plan.shrink.is_empty() && !moot {
            prop_assert!(calm_of(&view, &config).is_some(), "{plan:?}");
        }
    }
}
