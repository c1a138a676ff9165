#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;

use super::*;

const KINDS: [CallKind; 5] =
    [CallKind::Assign, CallKind::Create, CallKind::Delete, CallKind::Describe, CallKind::Unassign];

fn s(seconds: u64) -> Time {
    Time::from_millis(seconds * 1000)
}

fn purse() -> (Purse, Jitter) {
    (Purse::new(&Budget::default(), Time::ZERO), Jitter::new(1))
}

fn takes(purse: &mut Purse, kind: CallKind, now: Time) -> u32 {
    (0..1000).take_while(|_| purse.take(kind, now)).count() as u32
}

#[test]
fn a_bucket_empties_and_fills_one_by_one_up_to_its_size() {
    let (mut purse, mut jitter) = purse();
    assert_eq!(takes(&mut purse, CallKind::Assign, s(0)), 20);
    assert_eq!(purse.wait(CallKind::Assign), Some(s(3)));
    assert_eq!(purse.wait(CallKind::Create), None, "each kind has its own");
    purse.pass(Time::from_millis(2_999), &mut jitter);
    assert_eq!(takes(&mut purse, CallKind::Assign, Time::from_millis(2_999)), 0);
    purse.pass(s(7), &mut jitter);
    assert_eq!(takes(&mut purse, CallKind::Assign, s(7)), 2);
    assert_eq!(purse.wait(CallKind::Assign), Some(s(9)), "what came of the third is not lost");
    purse.pass(s(9000), &mut jitter);
    assert_eq!(takes(&mut purse, CallKind::Assign, s(9000)), 20);
}

#[test]
fn throttling_halves_the_bucket_and_time_brings_it_back() {
    let (mut purse, mut jitter) = purse();
    purse.throttled(CallKind::Assign, s(0), &mut jitter);
    purse.throttled(CallKind::Assign, s(0), &mut jitter);
    assert_eq!(takes(&mut purse, CallKind::Assign, s(0)), 5);
    assert_eq!(purse.wait(CallKind::Assign), Some(s(12)));
    assert_eq!(takes(&mut purse, CallKind::Unassign, s(0)), 10, "another API");
    purse.pass(s(29), &mut jitter);
    assert_eq!(takes(&mut purse, CallKind::Assign, s(29)), 2);
    for second in 30..400 {
        purse.pass(s(second), &mut jitter);
    }
    assert_eq!(takes(&mut purse, CallKind::Assign, s(399)), 20);
}

#[test]
fn the_level_rises_with_each_wave_and_sinks_with_time() {
    let (mut purse, mut jitter) = purse();
    let mut levels = Vec::new();
    for second in 0..4 {
        // Calls that fail at the same time have met the same wave.
        purse.throttled(CallKind::Unassign, s(second), &mut jitter);
        purse.throttled(CallKind::Assign, s(second), &mut jitter);
        levels.push(purse.level());
    }
    use CallLevel::{NoMutations, NoReleases, Normal};
    assert_eq!(levels, [NoReleases, NoReleases, NoMutations, NoMutations]);
    assert_eq!(purse.calls().throttled, 8);
    let relief = purse.timeout().unwrap();
    assert!((s(33)..=s(43)).contains(&relief), "{relief}");
    purse.pass(relief, &mut jitter);
    assert_eq!(purse.level(), NoMutations);
    for second in 44..90 {
        purse.pass(s(second), &mut jitter);
    }
    assert_eq!(purse.level(), NoReleases);
    for second in 90..200 {
        purse.pass(s(second), &mut jitter);
    }
    assert_eq!((purse.level(), purse.timeout()), (Normal, None));
}

#[test]
fn a_change_that_ec2_takes_ends_the_highest_level_at_once_and_a_read_does_not() {
    let (mut purse, mut jitter) = purse();
    for second in 0..6 {
        purse.throttled(CallKind::Assign, s(second), &mut jitter);
    }
    purse.answered(CallKind::Describe);
    assert_eq!(purse.level(), CallLevel::NoMutations);
    purse.answered(CallKind::Assign);
    assert_eq!(purse.level(), CallLevel::NoReleases);
}

#[test]
fn throttled_reads_do_not_keep_the_pool_from_growing() {
    let (mut purse, mut jitter) = purse();
    for second in 0..60 {
        purse.throttled(CallKind::Describe, s(second), &mut jitter);
    }
    assert_eq!(purse.level(), CallLevel::NoReleases);
    purse.throttled(CallKind::Assign, s(60), &mut jitter);
    assert_eq!(purse.level(), CallLevel::NoMutations);
    let relief = purse.timeout();
    purse.throttled(CallKind::Describe, s(70), &mut jitter);
    assert_eq!(purse.timeout(), relief);
}

#[test]
fn an_interval_of_zero_is_no_limit_and_a_capacity_of_zero_is_one() {
    let mut budget = Budget::default();
    budget.assign.interval = Duration::ZERO;
    budget.create.capacity = 0;
    let mut purse = Purse::new(&budget, Time::ZERO);
    purse.throttled(CallKind::Assign, s(0), &mut Jitter::new(1));
    assert_eq!(takes(&mut purse, CallKind::Assign, s(0)), 1000);
    assert_eq!(takes(&mut purse, CallKind::Create, s(0)), 1);
}

#[test]
fn a_smaller_budget_holds_from_now_on() {
    let (mut purse, _) = purse();
    let mut budget = Budget::default();
    budget.assign.capacity = 3;
    purse.resize(&budget);
    assert_eq!(takes(&mut purse, CallKind::Assign, s(0)), 3);
}

#[derive(Clone, Debug)]
enum Step {
    Take(usize, u32),
    Throttled(usize),
    Answered(usize),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..5usize, 1..30u32).prop_map(|(kind, n)| Step::Take(kind, n)),
        1 => (0..5usize).prop_map(Step::Throttled),
        1 => (0..5usize).prop_map(Step::Answered),
        4 => (0..40_000u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_window_of_any_history_holds_more_calls_than_the_budget(
        steps in steps(),
        seed in any::<u64>(),
    ) {
        let budget = Budget::default();
        let (mut purse, mut jitter) = (Purse::new(&budget, Time::ZERO), Jitter::new(seed));
        let mut now = Time::ZERO;
        let mut calls: [Vec<Time>; 5] = Default::default();
        for step in &steps {
            match step {
                Step::Pass(ms) => {
                    now = now + Duration::from_millis(*ms);
                    purse.pass(now, &mut jitter);
                }
                Step::Take(kind, n) => {
                    for _ in 0..*n {
                        let wait = purse.wait(KINDS[*kind]);
                        let taken = purse.take(KINDS[*kind], now);
                        prop_assert_eq!(taken, wait.is_none());
                        if taken {
                            calls[*kind].push(now);
                        } else {
                            let wait = wait.unwrap();
                            let longest = INTERVAL_MAX.max(budget.rate(KINDS[*kind]).interval);
                            prop_assert!(wait > now && wait.since(now) <= longest, "{wait} {now}");
                        }
                    }
                }
                Step::Throttled(kind) => purse.throttled(KINDS[*kind], now, &mut jitter),
                Step::Answered(kind) => purse.answered(KINDS[*kind]),
            }
        }
        for (kind, times) in KINDS.iter().zip(&calls) {
            let Rate { capacity, interval } = budget.rate(*kind);
            for (n, first) in times.iter().enumerate() {
                for (m, last) in times.iter().enumerate().skip(n) {
                    let came = last.since(*first).as_millis() / interval.as_millis() + 1;
                    let most = u128::from(capacity) + came;
                    prop_assert!((m - n + 1) as u128 <= most, "{kind:?} from {first} to {last}");
                }
            }
        }
        for _ in 0..24 {
            now = now + Duration::from_secs(45);
            purse.pass(now, &mut jitter);
        }
        prop_assert_eq!(purse.level(), CallLevel::Normal);
    }
}
