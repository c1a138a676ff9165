//! Times of what the pool does for each pod, and of what it does now and then, for a small node and
//! for the largest one, beside a pool that looks through everything.
//!
//! All of them run in one process, so that their ratios mean something on a noisy machine.

#![allow(missing_docs, clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};

fn pool(c: &mut Criterion) {
    for scenario in support::scenario::all() {
        // Made on first use: a filter on the command line need not wait for the others.
        let mut run = None;
        let mut group = c.benchmark_group(scenario.group);
        group.sample_size(30).measurement_time(Duration::from_secs(2));
        group.bench_function(&scenario.name, |b| {
            let run = run.get_or_insert_with(|| (scenario.make)());
            b.iter_custom(|times| {
                let mut sum = Duration::ZERO;
                run(times, &mut |part| {
                    let start = Instant::now();
                    part();
                    sum += start.elapsed();
                });
                sum
            });
        });
        group.finish();
    }
}

criterion_group!(benches, pool);
criterion_main!(benches);
