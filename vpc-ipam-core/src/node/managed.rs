//! Which network cards belong to the pools.

use crate::{
    class::is_managed,
    cloud::{CloudEni, EniKind, InstanceLimits},
    config::PoolConfig,
};

/// Network cards whose ENIs are to be managed, lowest first.
///
/// Card 0, which carries the primary ENI, is always one. Without `multi_nic` (`ENABLE_MULTI_NIC`) it is
/// the only one. With it, each card of the instance is, except those that carry an EFA-only ENI and no
/// other ENI of ours: they are for fabric traffic alone. `enis` are all that are attached; `config`
/// says which of them are [ours](crate::class::is_managed). That is EC2's to say: instance metadata does
/// not know kinds. While EC2 does not answer, manage the cards that have a state file.
pub fn managed_cards(
    multi_nic: bool,
    limits: &InstanceLimits,
    enis: &[CloudEni],
    config: &PoolConfig,
) -> Vec<u32> {
    let has_places = |card: &u32| {
        let enis = usize::try_from(*card).ok().and_then(|card| limits.card_enis.get(card));
        enis.is_some_and(|enis| *enis > 0)
    };
    let for_fabric = |card: u32| {
        let on_card = || enis.iter().filter(|eni| eni.card == card);
        let fabric = on_card().any(|eni| eni.kind == EniKind::EfaOnly);
        fabric && !on_card().any(|eni| eni.kind != EniKind::EfaOnly && is_managed(eni, config))
    };
    let count = u32::try_from(limits.card_enis.len()).unwrap_or(u32::MAX);
    let others = (1..count).filter(has_places).filter(|card| multi_nic && !for_fabric(*card));
    std::iter::once(0).chain(others).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::{AllocationMode, WarmTargets};

    fn config() -> PoolConfig {
        PoolConfig::new(AllocationMode::Secondary, WarmTargets::default(), 15, 49).unwrap()
    }

    fn eni(card: u32, kind: EniKind, tags: &[(&str, &str)]) -> CloudEni {
        let tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        CloudEni { device: u32::from(card == 0), card, kind, tags, ..CloudEni::example() }
    }

    #[test]
    fn a_card_with_nothing_but_fabric_is_left_out() {
        use EniKind::{Efa, EfaOnly, Interface};
        let limits = |card_enis: &[u32]| InstanceLimits {
            enis: 15,
            ipv4_per_eni: 50,
            card_enis: card_enis.to_vec(),
            prefixes: true,
        };
        let config = config();
        let p4d = limits(&[15, 15, 15, 15]);
        let unmanaged = [("node.k8s.amazonaws.com/no_manage", "true")];
        for (enis, cards) in [
            (vec![], vec![0, 1, 2, 3]),
            (vec![eni(2, EfaOnly, &[])], vec![0, 1, 3]),
            (vec![eni(2, EfaOnly, &[]), eni(2, Interface, &[])], vec![0, 1, 2, 3]),
            (vec![eni(2, EfaOnly, &[]), eni(2, Interface, &unmanaged)], vec![0, 1, 3]),
            (vec![eni(1, Efa, &[])], vec![0, 1, 2, 3]),
            (vec![eni(0, EfaOnly, &[]), eni(1, EfaOnly, &[])], vec![0, 2, 3]),
        ] {
            assert_eq!(managed_cards(true, &p4d, &enis, &config), cards, "{enis:?}");
            assert_eq!(managed_cards(false, &p4d, &enis, &config), [0]);
        }
        assert_eq!(managed_cards(true, &limits(&[15, 0, 4]), &[], &config), [0, 2]);
        assert_eq!(managed_cards(true, &limits(&[3]), &[], &config), [0]);
    }
}
