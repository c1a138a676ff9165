//! The node in numbers: the sums of its pools.

use super::Node;
use crate::{plan::earlier, stats::Stats};

impl Node {
    /// Counts over all managed cards; a single card's are [`Pool::stats`](crate::pool::Pool::stats).
    ///
    /// The node is ready when card 0 is, which serves ordinary pods.
    pub fn stats(&self) -> Stats {
        let mut sum = self.cards.first.stats();
        for pool in &self.cards.others {
            add(&mut sum, pool.stats(), pool.config().card);
        }
        sum.unexpected_events = sum.unexpected_events.saturating_add(self.unexpected_events);
        sum
    }
}

fn add(sum: &mut Stats, of: Stats, card: u32) {
    // By name, so that what is added to the statistics cannot be left out here.
    let Stats {
        total,
        assigned,
        cooling,
        orphaned,
        quarantined,
        singles,
        singles_assigned,
        prefixes,
        unmanaged_enis,
        waiting,
        in_flight,
        enis,
        growth_paused_until,
        call_level,
        throttled_calls,
        unexpected_events,
        no_address,
        ready: _,
        degraded,
    } = of;
    sum.total = sum.total.saturating_add(total);
    sum.assigned += assigned;
    sum.cooling += cooling;
    sum.orphaned += orphaned;
    sum.quarantined += quarantined;
    sum.singles += singles;
    sum.singles_assigned += singles_assigned;
    sum.prefixes += prefixes;
    sum.unmanaged_enis += unmanaged_enis;
    sum.waiting += waiting;
    sum.in_flight += in_flight;
    sum.enis.extend(enis);
    sum.call_level = sum.call_level.max(call_level);
    sum.throttled_calls += throttled_calls;
    sum.growth_paused_until = earlier(sum.growth_paused_until, growth_paused_until);
    sum.unexpected_events = sum.unexpected_events.saturating_add(unexpected_events);
    sum.no_address += no_address;
    for reason in degraded {
        // What is wrong with the node as a whole, each pool says in the same words.
        if !sum.degraded.contains(&reason) {
            sum.degraded.push(format!("network card {card}: {reason}"));
        }
    }
}
