//! What subnets have refused lately, and when to ask them again.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    cloud::{AddressCount, CloudErrorKind},
    config::{AllocationMode, Family},
    id::SubnetId,
    plan::{KindHold, SubnetHolds, earlier},
    time::Time,
};

/// How long requests of a kind pause after a subnet had nothing to give. The reference's value:
/// other nodes need time to give something back.
const PAUSE: Duration = Duration::from_secs(120);
/// Longest pause before a subnet without free blocks is asked for a prefix again. It doubles up to
/// this while single addresses serve: a subnet that stays fragmented is asked six times an hour. There
/// are no single addresses on IPv6 nodes, but nor are there subnets that have run out of blocks.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Where addresses come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Source {
    /// The subnets of ENIs that are still to be created.
    NewEni,
    /// The subnet of an attached ENI.
    Subnet(SubnetId),
}

/// Refusals by source.
#[derive(Clone, Debug, Default)]
pub(super) struct Supply {
    new_enis: Refused,
    /// No more than there are ENIs.
    subnets: BTreeMap<SubnetId, Refused>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Refused {
    prefixes: Refusal,
    secondary: Refusal,
}

#[derive(Clone, Copy, Debug, Default)]
struct Refusal {
    hold: KindHold,
    /// When `hold.ask_max` is forgotten; without it, once something was given.
    ask_max_until: Option<Time>,
    /// Pauses in a row.
    pauses: u32,
}

impl Supply {
    /// What holds back requests that take from `subnet`.
    pub(super) fn holds_of(&self, subnet: &SubnetId) -> SubnetHolds {
        self.subnets.get(subnet).map_or_else(SubnetHolds::default, Refused::holds)
    }

    /// What holds back requests for new ENIs.
    pub(super) fn holds_of_new_enis(&self) -> SubnetHolds {
        self.new_enis.holds()
    }

    /// `source` refused `count`: ask for half, or, if one was too much, not for a while.
    pub(super) fn refused(
        &mut self,
        source: Source,
        kind: CloudErrorKind,
        count: AddressCount,
        now: Time,
    ) {
        let refused = match &source {
            Source::NewEni => &mut self.new_enis,
            Source::Subnet(subnet) => self.subnets.entry(subnet.clone()).or_default(),
        };
        let (mode, about_count) = match count {
            AddressCount::Ipv6Prefixes(_) | AddressCount::Prefixes(_) => {
                (AllocationMode::Prefix, kind == CloudErrorKind::InsufficientPrefixes)
            }
            AddressCount::Secondary(_) => {
                (AllocationMode::Secondary, kind == CloudErrorKind::InsufficientAddresses)
            }
        };
        let refusal = refused.of(mode);
        if about_count && count.slots() > 1 {
            refusal.hold.ask_max = Some(count.slots() / 2);
            refusal.ask_max_until = Some(now + PAUSE);
            return;
        }
        // EC2 has refused either kind with either code; what was asked for must pause in any case.
        refusal.pause(mode, now);
        if source == Source::NewEni && kind == CloudErrorKind::InsufficientAddresses {
            // The ENI itself takes an address.
            refused.of(AllocationMode::Secondary).pause(AllocationMode::Secondary, now);
        }
        if let Source::Subnet(_) = source {
            self.expect_the_same_of_new_enis(mode, now);
        }
    }

    /// New ENIs may come from another subnet. Single addresses are worth one try; without blocks,
    /// those of the ENIs that are there come first.
    fn expect_the_same_of_new_enis(&mut self, mode: AllocationMode, now: Time) {
        let refusal = self.new_enis.of(mode);
        match mode {
            AllocationMode::Prefix => refusal.pause(mode, now),
            AllocationMode::Secondary => {
                refusal.hold.ask_max = Some(1);
                refusal.ask_max_until = Some(now + PAUSE);
            }
        }
    }

    /// `source` gave what was asked for.
    pub(super) fn gave(&mut self, source: &Source, count: AddressCount) {
        let refused = match source {
            Source::NewEni => Some(&mut self.new_enis),
            Source::Subnet(subnet) => self.subnets.get_mut(subnet),
        };
        let Some(refused) = refused else { return };
        let refusal = match count {
            AddressCount::Ipv6Prefixes(_) | AddressCount::Prefixes(_) => &mut refused.prefixes,
            AddressCount::Secondary(_) => &mut refused.secondary,
        };
        refusal.pauses = 0;
        if refusal.ask_max_until.is_none() {
            refusal.hold.ask_max = None;
        }
    }

    /// Ends what is over, and forgets subnets that the node has left.
    pub(super) fn forget_old(&mut self, now: Time, in_use: impl Fn(&SubnetId) -> bool) {
        self.new_enis.forget_old(now);
        self.subnets.retain(|subnet, refused| {
            refused.forget_old(now);
            in_use(subnet)
        });
    }

    fn all(&self) -> impl Iterator<Item = &Refused> {
        self.subnets.values().chain([&self.new_enis])
    }

    /// When the first of the pauses ends.
    pub(super) fn paused_until(&self) -> Option<Time> {
        self.all().fold(None, |first, refused| {
            let until = earlier(refused.prefixes.hold.until, refused.secondary.hold.until);
            earlier(first, until)
        })
    }

    /// The pauses, in words.
    pub(super) fn text(&self, family: Family) -> Vec<String> {
        let block = match family {
            Family::V4 => "/28",
            Family::V6 => "/80",
        };
        let last = |of: fn(&Refused) -> Option<Time>| self.all().filter_map(of).max();
        let addresses = last(|refused| refused.secondary.hold.until).map(|until| {
            format!(
                "the subnet is exhausted, so no addresses are requested until {until}; free addresses in it \
                 or give the node a larger subnet"
            )
        });
        let prefixes = last(|refused| refused.prefixes.hold.until).map(|until| {
            format!(
                "the subnet has no free {block} block, so no prefixes are requested until {until}; reserve \
                 a block for prefixes (CreateSubnetCidrReservation) or use an emptier subnet"
            )
        });
        addresses.into_iter().chain(prefixes).collect()
    }
}

impl Refused {
    fn holds(&self) -> SubnetHolds {
        let mut holds = SubnetHolds::default();
        (holds.prefixes, holds.secondary) = (self.prefixes.hold, self.secondary.hold);
        holds
    }

    fn forget_old(&mut self, now: Time) {
        self.prefixes.forget_old(now);
        self.secondary.forget_old(now);
    }

    fn of(&mut self, mode: AllocationMode) -> &mut Refusal {
        match mode {
            AllocationMode::Prefix => &mut self.prefixes,
            AllocationMode::Secondary => &mut self.secondary,
        }
    }
}

impl Refusal {
    fn pause(&mut self, mode: AllocationMode, now: Time) {
        let factor = match mode {
            AllocationMode::Prefix => 1u32.checked_shl(self.pauses).unwrap_or(u32::MAX),
            AllocationMode::Secondary => 1,
        };
        self.pauses = self.pauses.saturating_add(1);
        self.hold.until = Some(now + PAUSE.saturating_mul(factor).min(PAUSE_MAX));
        if mode == AllocationMode::Prefix {
            // The next request only finds out whether there is a block again.
            self.hold.ask_max = Some(1);
            self.ask_max_until = None;
        }
    }

    fn forget_old(&mut self, now: Time) {
        self.hold.until.take_if(|until| *until <= now);
        if self.ask_max_until.take_if(|until| *until <= now).is_some() {
            self.hold.ask_max = None;
        }
    }
}
