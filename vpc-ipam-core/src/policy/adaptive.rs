//! A policy that learns how many addresses the recent past justifies.
//!
//! The level is what pods take: leased, resting and waited-for addresses together. The pool is kept
//! at the highest level of the last minute, or at the level that a burst would bring that came at
//! this time of the hour or day before, plus the size of the bursts that went beyond. A burst is what
//! comes faster than the cloud can be asked. Bursts count by the pods that would have found no
//! address, so a rare large one weighs little among many pods.

use std::time::Duration;

use super::{
    Band, Basis, Demand, WarmPolicy, peaks::Peaks, rhythm::Rhythm, surprise::ONE,
    surprise::Surprises,
};
use crate::{config::AllocationMode, config::PoolConfig, plan::earlier, time::Time};

const MINUTE_MS: u64 = 60 * 1000;
/// Seconds for which a peak is held. A pod that is replaced sooner costs no EC2 call; what comes back
/// later is known as a burst, or by the time of day. Longer costs idle addresses and saves few calls.
pub(super) const HOLD_S: u64 = 30;
/// A burst is what comes before the pool can have followed: while it fetches what it knew of when the
/// burst began, and while it fetches the rest.
const FETCHES: u32 = 2;
/// That long at least: controllers and schedulers bring the pods of one job within seconds.
const BURST_MIN: Duration = Duration::from_secs(5);
/// And at the most, however slow EC2 is: one burst is not an hour's pods.
const BURST_MAX: Duration = Duration::from_secs(60);
/// Until something has been fetched: attaching an ENI usually takes 5 to 15 s.
const BURST_UNKNOWN: Duration = Duration::from_secs(15);
/// Of so many pods, one may have to wait for EC2; below the 99th percentile with room to spare.
const PODS_PER_WAIT: u64 = 200;
/// Bursts and pods count half after this time, so that about a day is remembered.
const HALF_LIFE_MS: u64 = 3 * 60 * MINUTE_MS;
/// A new node is filled by the scheduler before it has shown anything: until `WARM_UP_MS` has
/// passed, be ready for what users of the static targets commonly choose as a minimum.
const WARM_UP: u32 = 10;
const WARM_UP_MS: u64 = 65 * MINUTE_MS;
/// For as long the peaks of a node say little about those to come.
const YOUNG_MS: u64 = 6 * 60 * MINUTE_MS;
/// Addresses are fetched a sixty-fourth of the level at a time beyond what is needed, and given back
/// when as many are too much: fewer EC2 calls for a few addresses more.
const STEP_DIVISOR: u32 = 64;
/// A node does not run more pods; keeps all sums far from overflow.
const LEVEL_MAX: u32 = 1 << 20;

/// How many free addresses [`Adaptive`] may ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Never fewer.
    pub min: u32,
    /// Never more; rules over `min`. `None`: it does not grow while as many as one ENI holds are
    /// free, and gives back what exceeds two, as `WARM_ENI_TARGET=1` does; in prefix mode one prefix
    /// and two, as `WARM_PREFIX_TARGET=1` does. Larger bursts wait for EC2.
    pub max: Option<u32>,
}

impl Bounds {
    /// Fewest free addresses to insist on, and most to leave free, on a node of that kind.
    fn tops(&self, config: &PoolConfig) -> (u32, u32) {
        let unit = match config.mode {
            AllocationMode::Prefix => config.addresses_per_slot(),
            AllocationMode::Secondary => config.addresses_per_eni(),
        };
        // What was asked for in so many words counts more than a default.
        let unit = unit.max(self.min);
        self.max.map_or((unit, unit.saturating_mul(2)), |max| (max, max))
    }
}

impl Default for Bounds {
    /// At least one free address, and no limit but the ENI's.
    fn default() -> Self {
        Self { min: 1, max: None }
    }
}

/// A run of arrivals.
#[derive(Clone, Copy, Debug)]
struct Burst {
    end: Time,
    /// The level before it.
    base: u32,
    /// What was held against it when it began.
    held: u32,
    /// The same without the rhythms.
    recent: u32,
    /// The highest level of the day before it began.
    day: u32,
    top: u32,
}

/// Learns the demand within fixed memory: [`Adaptive::MEMORY_BYTES`], no matter how long it runs or
/// how many pods there are.
#[derive(Clone, Debug)]
pub struct Adaptive {
    bounds: Bounds,
    since: Option<Time>,
    /// What pods took at the last observation.
    level: u32,
    recent: Peaks<5>,
    day: Peaks<24>,
    /// Levels that the pool was told to be ready for, so that nothing is given back at once.
    wanted: Peaks<5>,
    by_hour: Rhythm<12>,
    by_day: Rhythm<96>,
    burst: Option<Burst>,
    /// How far bursts went beyond what was held.
    beyond_held: Surprises,
    /// How far bursts went beyond the peak of the day.
    beyond_day: Surprises,
    /// Pods that came, in units of [`ONE`].
    pods: u64,
    /// Number of the running half-life since the epoch.
    half_life: u64,
    burst_spare: u32,
    day_spare: u32,
    band: Option<Band>,
    revisit: Option<Time>,
}

impl Adaptive {
    /// Memory of one policy in bytes; it owns nothing on the heap.
    pub const MEMORY_BYTES: usize = size_of::<Self>();

    /// A policy that knows nothing yet.
    pub fn new(bounds: Bounds) -> Self {
        const { assert!(Self::MEMORY_BYTES <= 1280) };
        Self {
            bounds,
            since: None,
            level: 0,
            recent: Peaks::new(HOLD_S * 1000 / 5),
            day: Peaks::new(60 * MINUTE_MS),
            wanted: Peaks::new(HOLD_S * 1000 / 5),
            by_hour: Rhythm::new(5 * MINUTE_MS),
            by_day: Rhythm::new(15 * MINUTE_MS),
            burst: None,
            beyond_held: Surprises::new(),
            beyond_day: Surprises::new(),
            pods: 0,
            half_life: 0,
            burst_spare: 0,
            day_spare: 0,
            band: None,
            revisit: None,
        }
    }

    /// Time has passed, and the level has held.
    fn advance(&mut self, now: Time) {
        if self.burst.is_some_and(|burst| burst.end <= now) {
            self.end_burst(now);
        }
        let before = self.level;
        self.recent.advance(now, before);
        self.day.advance(now, before);
        let fill = self.band.map_or(0, |band| band.fill);
        self.wanted.advance(now, before.saturating_add(fill));
        self.by_hour.advance(now, before);
        self.by_day.advance(now, before);
        let half_life = now.as_millis() / HALF_LIFE_MS;
        let passed = half_life.saturating_sub(self.half_life).min(u64::from(u32::BITS));
        for _ in 0..passed {
            self.beyond_held.halve();
            self.beyond_day.halve();
            self.pods /= 2;
        }
        if passed > 0 {
            self.half_life = half_life;
            self.weigh(now);
        }
    }

    fn end_burst(&mut self, now: Time) {
        if let Some(burst) = self.burst.take() {
            self.beyond_held.record(burst.top.saturating_sub(burst.held));
            // It came as expected, so such bursts need not be feared at any other time.
            let known = burst.top.min(burst.held).saturating_sub(burst.recent);
            self.beyond_held.explain(known);
            self.beyond_day.record(burst.top.saturating_sub(burst.day));
            self.weigh(now);
        }
    }

    fn weigh(&mut self, now: Time) {
        let allowed = self.pods / PODS_PER_WAIT;
        self.burst_spare = self.beyond_held.spare(allowed, 0);
        // On a new node records are the rule; later, one is no trend.
        let known = self.since.is_some_and(|since| now.since(since).as_millis() >= YOUNG_MS.into());
        self.day_spare = self.beyond_day.spare(allowed, u32::from(known));
    }

    /// What this time of the hour and of the day is expected to bring.
    fn expected(&self, now: Time) -> u32 {
        self.by_hour.expected(now, self.level).max(self.by_day.expected(now, self.level))
    }

    /// Levels to be ready for without any burst: lately seen, and expected at this time of day.
    fn held(&self, now: Time) -> u32 {
        self.recent.max().max(self.expected(now)).max(self.level)
    }

    fn note(&mut self, level: u32, lead: Duration, now: Time) {
        let came = level.saturating_sub(self.level);
        if came > 0 {
            self.pods = self.pods.saturating_add(u64::from(came) * u64::from(ONE));
            let (held, day) = (self.held(now), self.day.max());
            let burst = self.burst.get_or_insert(Burst {
                end: now + burst_time(lead),
                base: self.level,
                held,
                recent: self.recent.max(),
                day: day.max(held),
                top: level,
            });
            burst.top = burst.top.max(level);
        }
        self.level = level;
        self.recent.note(level);
        self.day.note(level);
        let came = self.burst.map_or(0, |burst| burst.top.saturating_sub(burst.base));
        self.by_hour.note(level, came);
        self.by_day.note(level, came);
    }

    fn decide(&mut self, config: &PoolConfig, now: Time) -> Band {
        let (level, held) = (self.level, self.held(now));
        let day = self.day.max().max(held);
        let basis = Basis::Learned {
            now: level,
            recent: self.recent.max(),
            expected: self.expected(now),
            day,
            burst: self.burst_spare,
        };
        let calm = held.saturating_add(self.burst_spare).min(day.saturating_add(self.day_spare));
        let (ready, basis) = match self.warm_up(now) {
            Some(_) if calm < level + WARM_UP => (level + WARM_UP, Basis::WarmingUp(WARM_UP)),
            _ => (calm, basis),
        };
        let room = config.max_pods.saturating_sub(level);
        let (top, most) = self.bounds.tops(config);
        let (top, most) = (top.min(room), most.min(room));
        let wanted = ready.saturating_sub(level).max(self.bounds.min);
        // A burst that is due is held for minutes, not for good.
        let due = self.expected(now).saturating_sub(level).min(most);
        let low = wanted.min(top.max(due));
        let step = 1 + ready / STEP_DIVISOR;
        let fill = low.saturating_add(self.surge(wanted - low).max(step)).min(most);
        self.wanted.note(level.saturating_add(fill));
        let high = self.wanted.max().saturating_sub(level).saturating_add(step);
        Band { low, fill, high: high.min(most).max(fill), basis }
    }

    /// How much more to fetch at once while a burst is under way: what it has brought beyond all
    /// expectation may come once more, and what was too much to keep ready is due now.
    fn surge(&self, withheld: u32) -> u32 {
        self.burst.map_or(0, |burst| {
            let several = burst.top > burst.base.saturating_add(1);
            let due = if several { withheld } else { 0 };
            burst.top.saturating_sub(burst.held).max(due)
        })
    }

    /// When the warm-up ends, if it has not.
    fn warm_up(&self, now: Time) -> Option<Time> {
        let end = self.since? + Duration::from_millis(WARM_UP_MS);
        Some(end).filter(|end| *end > now)
    }
}

/// What comes within this time is one burst.
fn burst_time(lead: Duration) -> Duration {
    if lead.is_zero() { BURST_UNKNOWN } else { (lead * FETCHES).clamp(BURST_MIN, BURST_MAX) }
}

impl WarmPolicy for Adaptive {
    fn observe(&mut self, demand: Demand, config: &PoolConfig, now: Time) {
        let level = demand.total().min(LEVEL_MAX);
        if self.since.is_none() {
            // What runs already is not a burst.
            self.since = Some(now);
            self.level = level;
            self.by_hour.begin(now, level);
            self.by_day.begin(now, level);
        }
        self.advance(now);
        self.note(level, demand.lead, now);
        let band = self.decide(config, now);
        self.band = Some(band);
        let mut revisit = earlier(self.by_hour.revisit(now), self.by_day.revisit(now));
        revisit = earlier(revisit, self.warm_up(now));
        revisit = earlier(revisit, self.burst.map(|burst| burst.end));
        revisit = earlier(revisit, self.recent.revisit(level));
        self.revisit = earlier(revisit, self.wanted.revisit(level.saturating_add(band.fill)));
    }

    fn band(&self) -> Option<Band> {
        self.band
    }

    fn revisit(&self) -> Option<Time> {
        self.revisit
    }
}
