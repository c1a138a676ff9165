//! What the buckets promise, in any order of events.

use std::time::Duration;

use proptest::prelude::*;
use vpc_ipam_core::{budget::Rate, time::Time};

use super::{
    CallClass, PaceReport,
    line::{Line, Ticket, Turn},
    terms::Urgency,
};

const WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
enum Step {
    Enter(Urgency),
    Leave(u8),
    Retry(Urgency, u16),
    Throttled,
    Pass(u16),
}

/// A line with its callers, each of which asks again when it was told to, or when anything happens.
struct Bench {
    line: Line,
    now: Time,
    waiting: Vec<(Ticket, Urgency, Time)>,
    /// When requests were sent, or will be.
    sent: Vec<Time>,
    held_back: Vec<Time>,
    order: Vec<(Ticket, Urgency)>,
}

impl Bench {
    fn new(rate: Rate) -> Self {
        let now = Time::from_millis(1000);
        Self {
            line: Line::new(CallClass::Mutating, rate, WAIT_MAX, now),
            now,
            waiting: Vec::new(),
            sent: Vec::new(),
            held_back: Vec::new(),
            order: Vec::new(),
        }
    }

    fn enter(&mut self, urgency: Urgency) {
        if let Ok(ticket) = self.line.enter(urgency, self.now) {
            self.waiting.push((ticket, urgency, self.now));
        }
        self.ask();
    }

    fn ask(&mut self) -> Option<Time> {
        let (mut next, mut left) = (None, Vec::new());
        for place in std::mem::take(&mut self.waiting) {
            match self.line.ask(place.0, self.now) {
                Turn::Go => {
                    self.sent.push(self.now);
                    self.order.push((place.0, place.1));
                }
                Turn::Wait(until) => {
                    assert!(until > self.now, "it would ask for ever");
                    next = Some(next.map_or(until, |next: Time| next.min(until)));
                    left.push(place);
                }
                Turn::HeldBack(_) => self.held_back.push(place.2),
            }
        }
        self.waiting = left;
        next
    }

    fn pass(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(next) = self.ask().filter(|next| *next <= end) {
            self.now = next;
        }
        self.now = end;
        self.ask();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Enter(urgency) => self.enter(urgency),
            Step::Leave(which) if !self.waiting.is_empty() => {
                let (ticket, ..) = self.waiting.remove(usize::from(which) % self.waiting.len());
                self.line.leave(ticket);
                self.ask();
            }
            Step::Leave(_) => {}
            Step::Retry(urgency, backoff_ms) => {
                let earliest = self.now + Duration::from_millis(backoff_ms.into());
                let times = (earliest, self.now + Duration::from_secs(5));
                if let Some(at) = self.line.retry(urgency, self.now, times) {
                    assert!(at >= earliest && at <= times.1);
                    self.sent.push(at);
                }
            }
            Step::Throttled => self.line.throttled(self.now),
            Step::Pass(ms) => self.pass(Duration::from_millis(ms.into())),
        }
    }

    fn report(&mut self) -> PaceReport {
        self.line.report(self.now)
    }
}

fn urgency() -> impl Strategy<Value = Urgency> {
    prop_oneof![Just(Urgency::Urgent), Just(Urgency::Background)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => urgency().prop_map(Step::Enter),
        1 => any::<u8>().prop_map(Step::Leave),
        3 => (urgency(), 0..5000u16).prop_map(|(u, ms)| Step::Retry(u, ms)),
        1 => Just(Step::Throttled),
        4 => (0..4000u16).prop_map(Step::Pass),
    ]
}

fn rate() -> impl Strategy<Value = Rate> {
    (1..12u32, prop_oneof![1..50u64, 100..3000u64])
        .prop_map(|(capacity, ms)| Rate { capacity, interval: Duration::from_millis(ms) })
}

/// Most requests that may be sent within `window`.
fn most(rate: Rate, window: Duration) -> u128 {
    u128::from(rate.capacity) + window.as_millis() / rate.interval.as_millis()
}

proptest! {
    #[test]
    fn no_window_sees_more_than_size_and_rate_allow(
        rate in rate(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut bench = Bench::new(rate);
        for step in steps {
            bench.step(step);
        }
        bench.pass(Duration::from_secs(60));
        let mut sent = bench.sent.clone();
        sent.sort();
        for (first, from) in sent.iter().enumerate() {
            for (last, to) in sent.iter().enumerate().skip(first) {
                let calls = (last - first + 1) as u128;
                prop_assert!(calls <= most(rate, to.since(*from)), "{from}..{to}: {calls}");
            }
        }
        prop_assert_eq!(bench.report().sent, sent.len() as u64);
    }

    #[test]
    fn everybody_gets_an_answer_in_bounded_time(
        rate in rate(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut bench = Bench::new(rate);
        for step in steps {
            bench.step(step);
        }
        bench.pass(WAIT_MAX);
        prop_assert!(bench.waiting.is_empty(), "{:?}", bench.waiting);
        // And the bucket forgets: a minute to recover its rate, and an interval for a token.
        bench.pass(Duration::from_secs(64) + rate.interval);
        let report = bench.report();
        prop_assert_eq!((report.waiting, report.rate_percent), (0, 100));
        prop_assert!(report.tokens >= 1);
    }

    #[test]
    fn a_line_is_served_in_order_and_the_same_each_time(
        rate in rate(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let run = || {
            let mut bench = Bench::new(rate);
            for step in &steps {
                bench.step(*step);
            }
            bench.pass(WAIT_MAX);
            (bench.order.clone(), bench.sent.clone(), bench.report())
        };
        let (order, sent, report) = run();
        for urgency in [Urgency::Urgent, Urgency::Background] {
            let of = order.iter().filter(|(_, other)| *other == urgency);
            let of: Vec<_> = of.map(|(ticket, _)| ticket).collect();
            prop_assert!(of.is_sorted(), "{of:?}");
        }
        prop_assert_eq!((order, sent, report), run());
    }
}

fn per_second(capacity: u32) -> Rate {
    Rate { capacity, interval: Duration::from_secs(1) }
}

#[test]
fn pods_go_before_sweeps_and_every_fourth_is_a_sweep() {
    let mut bench = Bench::new(per_second(1));
    bench.enter(Urgency::Urgent);
    bench.order.clear();
    for _ in 0..4 {
        bench.enter(Urgency::Background);
    }
    for _ in 0..6 {
        bench.enter(Urgency::Urgent);
    }
    bench.pass(Duration::from_secs(10));
    use Urgency::{Background as B, Urgent as U};
    let order: Vec<_> = bench.order.iter().map(|(_, urgency)| *urgency).collect();
    // The first of the run was sent before anybody waited.
    assert_eq!(order, [U, U, B, U, U, U, B, U, B, B]);
}

#[test]
fn throttling_empties_the_bucket_and_halves_its_rate_once_per_wave() {
    let mut bench = Bench::new(per_second(10));
    let before = bench.report();
    assert_eq!((before.tokens, before.rate_percent), (10, 100));
    bench.line.throttled(bench.now);
    bench.line.throttled(bench.now + Duration::from_millis(900));
    bench.now = bench.now + Duration::from_millis(900);
    let after = bench.report();
    assert_eq!((after.tokens, after.rate_percent, after.throttled), (0, 50, 2));
    bench.pass(Duration::from_millis(100));
    bench.line.throttled(bench.now);
    assert_eq!(bench.report().rate_percent, 25);
    for _ in 0..5 {
        bench.pass(Duration::from_secs(1));
        bench.line.throttled(bench.now);
    }
    assert_eq!(bench.report().rate_percent, 6, "a sixteenth is the least");
}

#[test]
fn the_rate_recovers_in_even_steps() {
    let mut bench = Bench::new(per_second(10));
    bench.line.throttled(bench.now);
    let mut percents = Vec::new();
    for _ in 0..9 {
        percents.push(bench.report().rate_percent);
        bench.pass(Duration::from_secs(4));
    }
    assert_eq!(percents, [50, 56, 62, 68, 75, 81, 87, 93, 100]);
}

#[test]
fn who_waits_in_vain_is_told_how_many_others_do() {
    let mut bench = Bench::new(Rate { capacity: 1, interval: Duration::from_secs(100) });
    for _ in 0..4 {
        bench.enter(Urgency::Urgent);
    }
    let (first, ..) = bench.waiting[0];
    assert_eq!(bench.line.ask(first, bench.now + WAIT_MAX), Turn::HeldBack(2));
    bench.pass(WAIT_MAX);
    assert_eq!(bench.report().held_back, 3);
}

#[test]
fn a_retry_does_not_overtake_who_has_not_tried_yet() {
    let mut bench = Bench::new(per_second(1));
    let soon = (bench.now, bench.now + Duration::from_secs(5));
    bench.enter(Urgency::Urgent);
    assert!(bench.line.retry(Urgency::Urgent, bench.now, soon).is_some());
    bench.enter(Urgency::Urgent);
    assert_eq!(bench.line.retry(Urgency::Urgent, bench.now, soon), None);
    assert_eq!(bench.report().retries_dropped, 1);
}

#[test]
fn who_goes_leaves_its_token_to_the_next() {
    let mut bench = Bench::new(per_second(1));
    bench.enter(Urgency::Urgent);
    let gone = bench.line.enter(Urgency::Urgent, bench.now).unwrap();
    bench.enter(Urgency::Urgent);
    bench.now = bench.now + Duration::from_secs(1);
    // Its turn has come, and it does not know yet.
    bench.ask();
    bench.line.leave(gone);
    bench.ask();
    assert_eq!(bench.sent.len(), 2);
    assert_eq!(bench.report().sent, 2);
}

#[test]
fn without_an_interval_there_is_no_limit() {
    let mut bench = Bench::new(Rate { capacity: 1, interval: Duration::ZERO });
    for _ in 0..1000 {
        bench.enter(Urgency::Background);
        bench.line.throttled(bench.now);
    }
    assert_eq!(bench.sent.len(), 1000);
}

#[test]
fn the_line_does_not_grow_for_ever() {
    let mut bench = Bench::new(Rate { capacity: 1, interval: Duration::from_secs(3600) });
    for _ in 0..2000 {
        bench.enter(Urgency::Background);
    }
    assert!(bench.waiting.len() < 300, "{}", bench.waiting.len());
    assert_eq!(bench.report().held_back + bench.waiting.len() as u64, 1999);
}
