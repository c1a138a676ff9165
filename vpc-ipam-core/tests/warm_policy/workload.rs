//! Pods that come and go: what a day on a node looks like.

use std::{collections::BTreeMap, time::Duration};

/// What happens to a pod.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Change {
    Comes(u32),
    Goes(u32),
}

/// Changes in the order of their time.
#[derive(Default)]
pub(crate) struct Workload {
    at: BTreeMap<(Duration, u32), Change>,
    asked: u32,
    pods: u32,
    random: Random,
}

impl Workload {
    pub(crate) fn changes(&self) -> impl Iterator<Item = (Duration, Change)> + '_ {
        self.at.iter().map(|((at, _), change)| (*at, *change))
    }

    pub(crate) fn pods(&self) -> u32 {
        self.pods
    }

    fn push(&mut self, at: Duration, change: Change) {
        self.asked += 1;
        self.at.insert((at, self.asked), change);
    }

    fn pod(&mut self, from: Duration, life: Option<Duration>) {
        let n = self.pods;
        self.pods += 1;
        self.push(from, Change::Comes(n));
        if let Some(life) = life {
            self.push(from + life, Change::Goes(n));
        }
    }

    /// Pods that stay, all scheduled as soon as the node is up.
    fn base(&mut self, pods: u32) {
        for n in 0..pods {
            self.pod(seconds(60.0 + 0.2 * f64::from(n)), None);
        }
    }

    fn group(&mut self, from: Duration, pods: u32, life: Duration) {
        for _ in 0..pods {
            let (late, longer) = (self.random.below(2000), self.random.below(5000));
            self.pod(from + ms(late), Some(life + ms(longer)));
        }
    }
}

/// Single pods at random times.
pub(crate) fn steady(hours: u32, seed: u64) -> Workload {
    let mut load = Workload { random: Random(seed), ..Workload::default() };
    load.base(12);
    let mut at = minutes(5);
    while at < minutes(60 * hours) {
        at += load.random.exponential(50.0);
        let life = load.random.exponential(300.0);
        load.pod(at, Some(life));
    }
    load
}

/// Groups of pods at random times.
pub(crate) fn bursts(hours: u32, seed: u64) -> Workload {
    let mut load = Workload { random: Random(seed), ..Workload::default() };
    load.base(10);
    let mut at = minutes(10);
    while at < minutes(60 * hours) {
        at += load.random.exponential(2700.0);
        let pods = 6 + u32::try_from(load.random.below(9)).unwrap();
        load.group(at, pods, minutes(5));
    }
    load
}

/// Jobs on the hour and every ten minutes.
pub(crate) fn cron(hours: u32, seed: u64) -> Workload {
    let mut load = Workload { random: Random(seed), ..Workload::default() };
    load.base(10);
    for ten in 1..6 * hours {
        load.group(minutes(10 * ten), 4, minutes(1));
        if ten % 6 == 0 {
            load.group(minutes(10 * ten), 12, minutes(3));
        }
    }
    load
}

/// Services that follow their users: few pods at night, many by day.
pub(crate) fn daily(hours: u32, seed: u64) -> Workload {
    let mut load = Workload { random: Random(seed), ..Workload::default() };
    load.base(6);
    let mut at = minutes(5);
    while at < minutes(60 * hours) {
        let day = at.as_secs_f64() / 86_400.0 * std::f64::consts::TAU;
        let wanted = 14.0 - 12.0 * day.cos();
        at += load.random.exponential(2400.0 / wanted);
        let life = load.random.exponential(2400.0);
        load.pod(at, Some(life));
    }
    load
}

/// A deployment is replaced five pods at a time, every four hours.
pub(crate) fn rollout(hours: u32, seed: u64) -> Workload {
    let mut load = Workload { random: Random(seed), ..Workload::default() };
    load.base(5);
    let mut old: Vec<u32> = Vec::new();
    for rollout in 0..hours.div_ceil(4) {
        let mut new = Vec::new();
        for batch in 0..4 {
            let at = minutes(240 * rollout + 20) + Duration::from_secs(20 * batch);
            for _ in 0..5 {
                let late = load.random.below(3000);
                new.push(load.pods);
                load.pod(at + ms(late), None);
            }
            for pod in old.drain(..old.len().min(5)) {
                load.push(at + Duration::from_secs(15), Change::Goes(pod));
            }
        }
        old = new;
    }
    load
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn minutes(n: u32) -> Duration {
    Duration::from_secs(60 * u64::from(n))
}

fn seconds(n: f64) -> Duration {
    ms((n * 1000.0) as u64)
}

/// SplitMix64.
#[derive(Default)]
struct Random(u64);

impl Random {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }

    fn exponential(&mut self, mean_s: f64) -> Duration {
        let uniform = (self.below(1 << 30) as f64 + 1.0) / f64::from(1 << 30);
        seconds(-uniform.ln() * mean_s)
    }
}
