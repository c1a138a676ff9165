//! ENIs that do not serve like others, and what holds growth back besides the cloud.

use super::*;
use crate::{
    class::{Retirement, Standing},
    config::CustomNetwork,
};

const EXCLUDED: Standing = Standing::Retired(Retirement::ExcludedSubnet);

/// The ENI with that standing: one that serves nobody has no serving CIDRs.
fn with_standing(mut eni: EniView, standing: Standing) -> EniView {
    eni.standing = standing;
    eni.freeable &= standing != Standing::Trunk;
    if let Standing::Retired(_) = standing {
        eni.foreign_idle = std::mem::take(&mut eni.idle);
        (eni.entries, eni.unleased, eni.total, eni.assigned) = (0, 0, 0, 0);
    }
    if standing == Standing::Trunk {
        eni.idle.clear();
    }
    eni
}

fn freed(plan: &Plan) -> Vec<&str> {
    let freed = plan.shrink.iter().filter_map(|step| match step {
        Shrink::Free { eni } => Some(eni.as_str()),
        Shrink::Release { .. } => None,
    });
    freed.collect()
}

fn released(plan: &Plan) -> Vec<(&str, usize)> {
    let released = plan.shrink.iter().filter_map(|step| match step {
        Shrink::Release { eni, cidrs } => Some((eni.as_str(), cidrs.len())),
        Shrink::Free { .. } => None,
    });
    released.collect()
}

#[test]
fn a_retired_eni_counts_for_nothing_and_gets_nothing() {
    let retired = with_standing(eni(0, 4, 1, Secondary), EXCLUDED);
    let view = view(vec![retired, eni(1, 2, 1, Secondary)]);
    let plan = plan(&view, &config(Secondary, warm_ips(3, 0)), NOW);
    assert_eq!(asked(&plan), [(Some("eni-1".to_owned()), 2)]);
    assert_eq!(released(&plan), [("eni-0", 3)], "even while the pool grows");
    assert!(plan.reason.to_string().starts_with("1 of 2 address(es) available"), "{}", plan.reason);
    // Nor does what it was about to get when it was retired.
    let mut growing = view.clone();
    growing.enis[0].incoming = 2;
    assert_eq!(Totals::of(&growing, &config(Secondary, warm_ips(3, 0))).incoming, 0);
}

#[test]
fn a_retired_eni_goes_with_its_last_pod_whatever_the_targets_say() {
    let targets = WarmTargets { enis: 2, ..WarmTargets::default() };
    let node = || vec![eni(0, 9, 0, Secondary), eni(1, 9, 0, Secondary)];
    let mut busy = node();
    busy.push(with_standing(eni(2, 3, 1, Secondary), EXCLUDED));
    assert_eq!(freed(&plan(&view(busy), &config(Secondary, targets), NOW)), [""; 0]);
    let mut idle = node();
    idle.push(with_standing(eni(2, 3, 0, Secondary), EXCLUDED));
    let plan = plan(&view(idle), &config(Secondary, targets), NOW);
    assert_eq!((freed(&plan), released(&plan)), (vec!["eni-2"], vec![]), "one call for all of it");
    assert_eq!(
        plan.reason.to_string(),
        "eni-2 serves no new pods, and the last of its pods has gone"
    );
}

#[test]
fn a_retired_eni_makes_room_for_one_that_serves() {
    let full = |device| eni(device, 9, 9, Secondary);
    let mut node = view(vec![full(0), full(1), with_standing(eni(2, 0, 0, Secondary), EXCLUDED)]);
    node.waiting = 1;
    let going = plan(&node, &config(Secondary, warm_ips(1, 0)), NOW);
    assert_eq!((freed(&going), going.grow.len()), (vec!["eni-2"], 0));
    assert!(matches!(going.reason, Reason::InFlight { .. }), "nobody is refused: {going:?}");
    let unsure = View { confirmed: false, ..node.clone() };
    let reason = plan(&unsure, &config(Secondary, warm_ips(1, 0)), NOW).reason;
    assert!(matches!(reason, Reason::Full { .. }), "it does not go on metadata's word: {reason:?}");
    node.enis[2].occupied = 1;
    let stuck = plan(&node, &config(Secondary, warm_ips(1, 0)), NOW);
    let text = stuck.reason.to_string();
    assert!(text.contains("on 3 of 3 ENIs") && text.contains("1 of the ENIs serve"), "{text}");
}

#[test]
fn the_trunk_is_not_touched() {
    let trunk = with_standing(eni(1, 4, 0, Secondary), Standing::Trunk);
    let node = view(vec![eni(0, 3, 0, Secondary), trunk]);
    let too_much = plan(&node, &config(Secondary, warm_ips(1, 0)), NOW);
    assert_eq!(released(&too_much), [("eni-0", 3)], "four are on the trunk");
    assert_eq!(freed(&too_much), [""; 0]);
    let too_little = plan(&node, &config(Secondary, warm_ips(20, 0)), NOW);
    assert_eq!(asked(&too_little), [(Some("eni-0".to_owned()), 6), (None, 7)]);
}

#[test]
fn the_trunks_place_is_free_for_nobody_else() {
    let mut config = config(Secondary, warm_ips(1, 0));
    config.pod_eni = true;
    let mut node = view(vec![eni(0, 9, 9, Secondary), eni(1, 9, 9, Secondary)]);
    let kept = plan(&node, &config, NOW);
    assert_eq!(kept.grow, []);
    assert_eq!(
        kept.reason.to_string(),
        "18 of 18 addresses in use on 2 of 3 ENIs, and no ENI can hold more than 9 address(es), \
         while one place is kept for the trunk ENI (ENABLE_POD_ENI); run fewer pods or use a \
         larger instance type"
    );
    (node.trunk, node.other_enis) = (true, 1);
    let there = plan(&node, &config, NOW);
    assert!(!there.reason.to_string().contains("trunk"), "{}", there.reason);
    node.other_enis = 0;
    assert_eq!(asked(&plan(&node, &config, NOW)), [(None, 1)]);
    // On other cards there is no trunk.
    config.card = 1;
    node.trunk = false;
    assert_eq!(asked(&plan(&node, &config, NOW)), [(None, 1)]);
}

#[test]
fn a_cordon_stops_growth_and_the_freeing_of_enis_only() {
    let targets = warm_ips(2, 4);
    let mut low = view(vec![eni(0, 4, 3, Secondary)]);
    low.unschedulable = true;
    let stopped = plan(&low, &config(Secondary, targets), NOW);
    assert_eq!((stopped.grow, stopped.reason), (vec![], Reason::Unschedulable));
    let mut spare = view(vec![eni(0, 4, 0, Secondary), eni(1, 3, 0, Secondary)]);
    assert_eq!(freed(&plan(&spare, &config(Secondary, targets), NOW)), ["eni-1"]);
    spare.unschedulable = true;
    let kept = plan(&spare, &config(Secondary, targets), NOW);
    assert_eq!((freed(&kept), released(&kept)), (vec![], vec![("eni-1", 3)]));
    let mut managed = config(Secondary, targets);
    managed.manage_unschedulable = true;
    assert_eq!(freed(&plan(&spare, &managed, NOW)), ["eni-1"]);
    assert_eq!(plan(&low, &managed, NOW).grow.len(), 1);
}

#[test]
fn a_missing_eniconfig_holds_back_new_enis_only() {
    let mut config = config(Secondary, warm_ips(3, 0));
    config.custom_network = CustomNetwork::Missing { name: "az1".to_owned() };
    let retired = Standing::Retired(Retirement::CustomNetwork);
    let primary = || with_standing(eni(0, 0, 0, Secondary), retired);
    let grows = plan(&view(vec![primary(), eni(1, 8, 8, Secondary)]), &config, NOW);
    assert_eq!(asked(&grows), [(Some("eni-1".to_owned()), 1)]);
    let stuck = plan(&view(vec![primary(), eni(1, 9, 9, Secondary)]), &config, NOW);
    assert_eq!(stuck.reason, Reason::NoEniConfig { name: "az1".to_owned() });
    assert_eq!(stuck.grow, []);
}

#[test]
fn two_free_addresses_on_two_enis_are_one_too_many() {
    let node = view(vec![eni(0, 2, 1, Secondary), eni(1, 2, 1, Secondary)]);
    let plan = plan(&node, &config(Secondary, warm_ips(1, 0)), NOW);
    assert_eq!(released(&plan).iter().map(|(_, n)| n).sum::<usize>(), 1);
}

fn standing() -> impl Strategy<Value = Standing> {
    let retired = Standing::Retired(Retirement::CustomNetwork);
    prop_oneof![
        3 => Just(Standing::Active),
        1 => Just(Standing::Trunk),
        1 => Just(EXCLUDED),
        1 => Just(retired),
    ]
}

/// Nodes whose ENIs have any standing.
fn mixed() -> impl Strategy<Value = (View, PoolConfig)> {
    let gates = (any::<bool>(), any::<bool>(), any::<bool>());
    (pools(), prop::collection::vec(standing(), 4), gates).prop_map(
        |((mut view, mut config), standings, (cordon, manage, pod_eni))| {
            for (eni, standing) in view.enis.iter_mut().zip(standings) {
                *eni = with_standing(eni.clone(), standing);
            }
            view.trunk = view.enis.iter().any(|eni| eni.standing == Standing::Trunk);
            view.unschedulable = cordon;
            (config.manage_unschedulable, config.pod_eni) = (manage, pod_eni);
            (view, config)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_standing_is_respected((view, config) in mixed()) {
        let plan = plan(&view, &config, NOW);
        let find = |id: &EniId| view.enis.iter().find(|eni| eni.id == *id).unwrap();
        let cordoned = view.unschedulable && !config.manage_unschedulable;
        prop_assert!(!cordoned || (plan.grow.is_empty() && freed(&plan).is_empty()), "{plan:?}");
        for step in &plan.grow {
            match step {
                Growth::Assign { eni, .. } => prop_assert!(find(eni).standing == Standing::Active),
                Growth::Create { .. } => {
                    let kept = usize::from(config.pod_eni && !view.trunk);
                    prop_assert!(view.enis.len() + kept < 3, "{plan:?}");
                }
            }
        }
        for step in &plan.shrink {
            let (Shrink::Free { eni } | Shrink::Release { eni, .. }) = step;
            prop_assert!(find(eni).standing.shrinks(), "{plan:?}");
            if let Shrink::Free { eni } = step {
                prop_assert!(find(eni).freeable && find(eni).occupied == 0, "{plan:?}");
            }
        }
        let idle_retired = |eni: &&EniView| {
            matches!(eni.standing, Standing::Retired(_)) && !eni.foreign_idle.is_empty()
        };
        for eni in view.enis.iter().filter(idle_retired) {
            let named = |step: &Shrink| {
                let (Shrink::Free { eni: id } | Shrink::Release { eni: id, .. }) = step;
                *id == eni.id
            };
            let others_turn = freed(&plan).len() == 1 && eni.freeable && eni.occupied == 0;
            prop_assert!(others_turn || plan.shrink.iter().any(named), "{} keeps what nobody uses", eni.id);
        }
    }
}
