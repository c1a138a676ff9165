//! Nodes on which nobody asks EC2: instance metadata is all there is to go by.

use std::{collections::BTreeMap, time::Duration};

use super::Pool;
use crate::{addr::Prefix, cloud::CloudEni, id::EniId, time::Time};

/// How long metadata must have stopped showing something before it counts as gone. One reading may miss
/// an ENI that is there; the next one, seconds later, does not.
const ABSENT_FOR: Duration = Duration::from_secs(10);

/// Since when metadata has not shown an ENI, or a CIDR of one that it shows.
pub(super) type Absent = BTreeMap<(EniId, Option<Prefix>), Time>;

impl Pool {
    /// Gives up what metadata has not shown for a while.
    pub(super) fn give_up_absent(&mut self, ours: &BTreeMap<EniId, CloudEni>, now: Time) {
        let mut absent = Absent::new();
        for eni in self.enis.values().filter(|eni| !eni.missing) {
            let Some(shown) = ours.get(&eni.id) else {
                absent.insert((eni.id.clone(), None), now);
                continue;
            };
            let confirmed = eni.cidrs().iter().filter(|(_, cidr)| cidr.confirmed);
            for (cidr, _) in confirmed.filter(|(cidr, _)| !shown.cidrs.contains(cidr)) {
                absent.insert((eni.id.clone(), Some(*cidr)), now);
            }
        }
        for (what, since) in &mut absent {
            *since = self.absent.get(what).copied().unwrap_or(now);
        }
        let gone = |_: &_, since: &mut Time| now.since(*since) >= ABSENT_FOR;
        for ((eni, cidr), _) in absent.extract_if(.., gone) {
            match cidr {
                Some(cidr) => self.lose_cidr(&eni, &cidr),
                None => self.lose_eni(&eni),
            }
        }
        if !absent.is_empty() {
            self.describing.look_again(now + ABSENT_FOR);
        }
        self.absent = absent;
    }
}
