//! One line of the table, and sums over all.

use crate::{
    limits::{Facts, Hypervisor, Trunk},
    merge::Merged,
    trunking::Trunking,
};

/// A type, and what is published of its trunks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) facts: Facts,
    pub(crate) trunk: Trunk,
}

/// The rows with their trunks, sorted by name.
pub(crate) fn entries(merged: Merged, trunking: &Trunking) -> Vec<Entry> {
    let entry = |facts: Facts| Entry { trunk: trunking.of(&facts), facts };
    merged.into_rows().map(entry).collect()
}

/// Counts by which a table can be compared with another one.
pub(crate) fn summary(entries: &[Entry]) -> String {
    let count = |is: &dyn Fn(&Entry) -> bool| entries.iter().filter(|entry| is(entry)).count();
    let hypervisor = |h| count(&|entry: &Entry| entry.facts.hypervisor == h);
    let several = count(&|entry| entry.facts.card_enis.len() > 1);
    let cards = entries.iter().map(|entry| entry.facts.card_enis.len()).max().unwrap_or(0);
    let enis = entries.iter().map(|entry| entry.facts.enis);
    let ipv4 = entries.iter().map(|entry| entry.facts.ipv4_per_eni);
    format!(
        "types {}: nitro {}, xen {}, unknown {}; bare metal {}; several cards {several}, up to \
         {cards}\nENIs {}-{}, IPv4 per ENI {}-{}\ntrunk {}, no trunk {}, not known {}\n",
        entries.len(),
        hypervisor(Hypervisor::Nitro),
        hypervisor(Hypervisor::Xen),
        hypervisor(Hypervisor::Unknown),
        count(&|entry| entry.facts.bare_metal),
        enis.clone().min().unwrap_or(0),
        enis.max().unwrap_or(0),
        ipv4.clone().min().unwrap_or(0),
        ipv4.max().unwrap_or(0),
        count(&|entry| matches!(entry.trunk, Trunk::Yes { .. })),
        count(&|entry| entry.trunk == Trunk::No),
        count(&|entry| entry.trunk == Trunk::Unknown),
    )
}

#[cfg(test)]
pub(crate) fn example(name: &str, card_enis: &[u32], ipv4_per_eni: u32) -> Facts {
    Facts {
        name: name.to_owned(),
        enis: card_enis.first().copied().unwrap_or(0),
        card_enis: card_enis.to_vec(),
        default_card: 0,
        ipv4_per_eni,
        hypervisor: Hypervisor::Nitro,
        bare_metal: false,
    }
}
