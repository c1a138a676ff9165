//! Failures by name.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use thiserror::Error;
use vpc_ipam_core::{
    testkit::{
        Reach,
        check::Violation,
        ec2::{Allocation, Consistency, Ec2Action, Ec2Error, Rate, RequestRates},
        sim::{Sim, SimConfig},
    },
    time::Time,
};

/// Blocks of the subnet that stay whole when the others are fragmented.
const WHOLE_BLOCKS: u128 = 2;
/// Calls of each kind that one wave of throttling refuses on one node.
const THROTTLED_CALLS: u32 = 4;
/// Saves that fail in a row.
const FAILED_SAVES: u32 = 3;

/// Addresses that others leave free in a crowded subnet.
const CROWDED_SINGLES: u32 = 2;
/// EC2's default is 50 and 5 per second, for all nodes of an account.
const CHANGES: Rate = Rate { size: 2, refill: 1 };
const LAG: Consistency =
    Consistency { lag: Duration::from_secs(5), monotonic: true, unseen: Duration::from_secs(2) };

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

macro_rules! faults {
    ($($variant:ident $name:literal $about:literal),* $(,)?) => {
        /// Something that goes wrong.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Fault {
            $($variant,)*
        }

        impl Fault {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub(crate) fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }
        }
    };
}

faults!(
    Blackout "blackout" "neither EC2 nor instance metadata answers, for ten minutes of every six hours",
    Crowded "crowded" "for two hours of every six others fill the subnet: no /28 block and two addresses are free",
    Disk "disk" "every hour three writes of the state file fail",
    Fragmented "fragmented" "the subnet has free addresses everywhere, but only two free /28 blocks",
    Lagging "lagging" "EC2 shows changes up to five seconds late, and does not know a new ENI at once",
    Outage "outage" "EC2 does not answer for twenty minutes of every six hours; metadata does",
    RateLimited "rate-limited" "EC2 takes two changes of each kind at once from a node, and one more per second",
    Restarts "restarts" "the daemon is killed every two hours, in the middle of whatever it does",
    SlowEc2 "slow-ec2" "EC2 calls take 2 to 20 seconds",
    SmallSubnet "small-subnet" "the node's subnet is a /26: 59 addresses",
    Throttled "throttled" "every half hour EC2 refuses the next four calls of each kind",
);

/// A name that no fault has.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("there is no fault {0:?}; --list shows the names")]
pub(crate) struct UnknownFault(String);

/// A moment at which a fault begins, ends or strikes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strike {
    pub(crate) at: Time,
    fault: Fault,
    begins: bool,
}

impl Fault {
    /// What it makes of the node before it starts.
    pub(crate) fn prepare(self, config: &mut SimConfig) {
        match self {
            Self::Disk | Self::Restarts => config.detail.state_file = true,
            Self::Fragmented => config.allocation = Allocation::Scattered,
            Self::SlowEc2 => {
                config.latency.cloud = (Duration::from_secs(2), Duration::from_secs(20));
            }
            Self::SmallSubnet => {
                if let Ok(subnet) = "10.0.0.0/26".parse() {
                    config.subnet = subnet;
                }
            }
            Self::Blackout
            | Self::Crowded
            | Self::Lagging
            | Self::Outage
            | Self::RateLimited
            | Self::Throttled => {}
        }
    }

    /// What it makes of the world before the node uses it.
    pub(crate) fn begin(self, sim: &Sim) {
        let mut world = sim.world();
        match self {
            Self::Lagging => world.set_consistency(LAG),
            Self::RateLimited => {
                let changing = Ec2Action::ALL.iter().filter(|action| !action.is_reading());
                let rates = changing.fold(RequestRates::unlimited(), |r, a| r.with(*a, CHANGES));
                world.set_request_rates(&rates);
            }
            _ => {}
        }
        if self != Self::Fragmented {
            return;
        }
        let subnets: Vec<_> = world.subnets().iter().map(|s| (s.id.clone(), s.cidr)).collect();
        for (subnet, cidr) in subnets {
            for block in 1..(cidr.size() / 16).saturating_sub(WHOLE_BLOCKS) {
                if let Some(IpAddr::V4(ip)) = cidr.nth(block * 16 + 7) {
                    // One that is in use already fragments its block as well.
                    let _ = world.reserve_address(&subnet, ip);
                }
            }
        }
    }

    /// When it strikes a node within `duration`. `turn`, from 0 to 1, spreads the nodes where the
    /// cause is their own.
    pub(crate) fn strikes(self, duration: Duration, turn: f64) -> Vec<Strike> {
        let (first, every, lasts) = match self {
            Self::Blackout => (2 * HOUR, 6 * HOUR, Some(10 * MINUTE)),
            Self::Crowded => (2 * HOUR, 6 * HOUR, Some(2 * HOUR)),
            Self::Outage => (2 * HOUR, 6 * HOUR, Some(20 * MINUTE)),
            Self::Throttled => (15 * MINUTE, 30 * MINUTE, None),
            Self::Disk => (HOUR.mul_f64(turn), HOUR, None),
            Self::Restarts => ((2 * HOUR).mul_f64(turn), 2 * HOUR, None),
            Self::Fragmented
            | Self::Lagging
            | Self::RateLimited
            | Self::SlowEc2
            | Self::SmallSubnet => return Vec::new(),
        };
        // A short run sees the first strike as well.
        let first = first.min(duration / 3);
        let mut strikes = Vec::new();
        let mut after = first;
        while after < duration {
            let at = Time::ZERO + after;
            strikes.push(Strike { at, fault: self, begins: true });
            strikes.extend(lasts.map(|time| Strike { at: at + time, fault: self, begins: false }));
            after += every;
        }
        strikes
    }
}

impl Strike {
    /// Lets it happen.
    pub(crate) fn apply(self, sim: &mut Sim) -> Result<(), Violation> {
        match (self.fault, self.begins) {
            (Fault::Blackout, true) => sim.cloud().set_reach(Reach::Nothing),
            (Fault::Outage, true) => sim.cloud().set_reach(Reach::Metadata),
            (Fault::Blackout | Fault::Outage, false) => sim.cloud().set_reach(Reach::All),
            (Fault::Crowded, true) => sim.fragment_subnet(CROWDED_SINGLES),
            (Fault::Crowded, false) => sim.defragment_subnet(usize::MAX),
            (Fault::Disk, _) => sim.store().fail_saves(FAILED_SAVES, false),
            (Fault::Restarts, _) => return sim.crash(),
            (Fault::Throttled, _) => {
                let mut world = sim.world();
                // What was not met by now is over.
                world.faults_mut().clear();
                for action in Ec2Action::ALL {
                    world.faults_mut().fail(*action, Ec2Error::throttled(), THROTTLED_CALLS);
                }
            }
            (
                Fault::Fragmented
                | Fault::Lagging
                | Fault::RateLimited
                | Fault::SlowEc2
                | Fault::SmallSubnet,
                _,
            ) => {}
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, UnknownFault> {
        let found = Self::ALL.iter().copied().find(|fault| fault.as_str() == name);
        found.ok_or_else(|| UnknownFault(name.to_owned()))
    }
}
