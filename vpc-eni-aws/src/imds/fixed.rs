//! What never changes while an ENI is attached, kept so that a refresh reads only what can change.

use std::collections::{BTreeMap, BTreeSet};

use vpc_ipam_core::id::MacAddr;

use super::paths::{Item, Life};

/// Longest text kept. None of these attributes has more than a line.
const TEXT_LEN_MAX: usize = 1024;

/// Texts of attributes by ENI. Bounded by the MACs that metadata lists.
#[derive(Debug, Default)]
pub(super) struct Fixed(BTreeMap<MacAddr, BTreeMap<&'static str, String>>);

impl Fixed {
    pub(super) fn text(&self, item: Item) -> Option<&str> {
        self.0.get(&item.mac()?)?.get(item.row().key).map(String::as_str)
    }

    /// Keeps a text that could be read.
    pub(super) fn keep(&mut self, item: Item, text: String) {
        if let Some(mac) = item.mac()
            && item.row().life == Life::Mac
            && text.len() <= TEXT_LEN_MAX
        {
            self.0.entry(mac).or_default().insert(item.row().key, text);
        }
    }

    /// Forgets all but these.
    pub(super) fn retain(&mut self, macs: &BTreeSet<MacAddr>) {
        self.0.retain(|mac, _| macs.contains(mac));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_what_never_changes_is_kept_and_only_while_the_mac_is_there() {
        let macs: Vec<MacAddr> =
            ["02:00:00:00:00:01", "02:00:00:00:00:02"].map(|mac| mac.parse().unwrap()).to_vec();
        let mut fixed = Fixed::default();
        for mac in &macs {
            fixed.keep(Item::DeviceNumber(*mac), "1".to_owned());
            fixed.keep(Item::LocalIpv4s(*mac), "10.0.0.1".to_owned());
            fixed.keep(Item::SubnetId(*mac), "s".repeat(TEXT_LEN_MAX + 1));
        }
        let (first, second) = (*macs.first().unwrap(), *macs.last().unwrap());
        assert_eq!(fixed.text(Item::DeviceNumber(first)), Some("1"));
        assert_eq!(fixed.text(Item::LocalIpv4s(first)), None);
        assert_eq!(fixed.text(Item::SubnetId(first)), None);
        fixed.retain(&[second].into());
        assert_eq!(fixed.text(Item::DeviceNumber(first)), None);
        assert_eq!(fixed.text(Item::DeviceNumber(second)), Some("1"));
        assert_eq!(fixed.0.len(), 1);
    }
}
