//! What is measured, by name: one list for times and for instruction counts.

use std::hint::black_box;

use vpc_ipam_core::{
    checkpoint,
    plan::{Reason, plan},
    pool::{Event, Pool},
    time::Time,
};

use super::{BATCH, Bed, LARGE, SMALL, Size, WARM, checkpoint, pod, scan::ScanPool};

/// Does something so many times, and hands what counts of it to the meter.
pub(crate) type Run = Box<dyn FnMut(u64, &mut dyn FnMut(&mut dyn FnMut()))>;

pub(crate) struct Scenario {
    pub(crate) group: &'static str,
    pub(crate) name: String,
    /// Enough times for a count of instructions, which hardly varies.
    pub(crate) counted: u64,
    /// Sets the scene.
    pub(crate) make: Box<dyn Fn() -> Run>,
}

/// Everything that is measured. `durable` is an ADD or DEL until it is written, answered and the
/// daemon sleeps again, `asked` the first call of that, and `scan` the baseline's.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    let mut add = |group, name: String, counted, make: Box<dyn Fn() -> Run>| {
        all.push(Scenario { group, name, counted, make });
    };
    for size in [SMALL, LARGE] {
        let n = size.addresses();
        for (group, adds) in [("assign", true), ("release", false)] {
            add(group, format!("durable-{n}"), 4096, Box::new(move || pods(size, adds, true)));
            add(group, format!("asked-{n}"), 4096, Box::new(move || pods(size, adds, false)));
            add(group, format!("scan-{n}"), 64, Box::new(move || scan(size, adds)));
        }
    }
    let n = LARGE.addresses();
    add("plan", format!("enough-{n}"), 256, Box::new(|| plan_of_pool(WARM)));
    add("plan", format!("full-{n}"), 256, Box::new(|| plan_of_pool(100)));
    add("plan", format!("too-much-{n}"), 256, Box::new(plan_too_much));
    add("reconcile", format!("unchanged-{n}"), 16, Box::new(|| reconcile(LARGE)));
    for leases in [1000, 12_000] {
        add("restore", format!("pool-{leases}"), 4, Box::new(move || restore(leases)));
        add("restore", format!("decode-{leases}"), 4, Box::new(move || decode(leases)));
        add("encode", format!("file-{leases}"), 4, Box::new(move || encode(leases)));
    }
    all
}

/// ADDs or DELs, until they are durable and answered, or only until they are asked for.
fn pods(size: Size, adds: bool, durable: bool) -> Run {
    let mut bed = Bed::calm(size);
    Box::new(move |times, meter| {
        let mut left = usize::try_from(times).unwrap();
        while left > 0 {
            let batch = left.min(BATCH);
            left -= batch;
            let mut pods: Vec<_> = (0..batch as u32).map(pod).collect();
            let mut add = |bed: &mut Bed| {
                for n in 0..batch {
                    let pod = pods.pop().unwrap();
                    if durable { bed.assign(n, pod) } else { bed.begin_assign(n, pod) }
                }
            };
            let del = |bed: &mut Bed| {
                for n in 0..batch {
                    if durable { bed.release(n) } else { bed.begin_release(n) }
                }
            };
            if adds {
                meter(&mut || add(&mut bed));
            } else {
                add(&mut bed);
            }
            bed.answer_all();
            if adds {
                del(&mut bed);
            } else {
                meter(&mut || del(&mut bed));
            }
            bed.answer_all();
        }
    })
}

fn scan(size: Size, adds: bool) -> Run {
    let mut pool = ScanPool::new(size, WARM + BATCH as u32, WARM as usize);
    let key = super::key(u32::MAX);
    let now = Time::from_millis(1_000_000);
    Box::new(move |times, meter| {
        for _ in 0..times {
            let mut new = Some(pod(7));
            let mut add = |pool: &mut ScanPool| {
                black_box(pool.assign(&key, new.take().unwrap(), now));
            };
            let del = |pool: &mut ScanPool| {
                black_box(pool.release(&key, now));
            };
            if adds {
                meter(&mut || add(&mut pool));
                del(&mut pool);
            } else {
                add(&mut pool);
                meter(&mut || del(&mut pool));
            }
        }
    })
}

/// Planning while the pool has enough, or every place is taken.
fn plan_of_pool(warm: u32) -> Run {
    let mut bed = Bed::calm(LARGE);
    bed.config.targets.ips = warm;
    bed.pool.handle(Event::Reconfigured(Box::new(bed.config.clone())), bed.now);
    bed.answer_all();
    Box::new(move |times, meter| {
        for _ in 0..times {
            meter(&mut || {
                black_box(bed.pool.plan(bed.now));
            });
        }
    })
}

/// Planning what to give back. The pool itself may not: it would be another one afterwards.
fn plan_too_much() -> Run {
    let bed = Bed::filled(LARGE, LARGE.addresses() / 4);
    let (pool, now) = (bed.pool, bed.now);
    let reason = plan(&pool.view(), &bed.config, now).reason;
    assert!(matches!(reason, Reason::Surplus { .. } | Reason::FreeEni { .. }), "{reason}");
    Box::new(move |times, meter| {
        for _ in 0..times {
            meter(&mut || {
                black_box(plan(&pool.view(), &bed.config, now));
            });
        }
    })
}

/// A read of the cloud that shows what is known.
fn reconcile(size: Size) -> Run {
    let mut bed = Bed::calm(size);
    Box::new(move |times, meter| {
        for _ in 0..times {
            let mut event = Some(bed.describe());
            meter(&mut || bed.pool.handle(event.take().unwrap(), bed.now));
            bed.answer_all();
        }
    })
}

fn restore(leases: u32) -> Run {
    let (checkpoint, config) = (checkpoint(leases), Bed::filled(SMALL, 16).config);
    Box::new(move |times, meter| {
        for _ in 0..times {
            let mut pool = None;
            meter(&mut || pool = Some(Pool::restore(config.clone(), &checkpoint, Time::ZERO)));
            black_box(pool);
        }
    })
}

fn decode(leases: u32) -> Run {
    let content = checkpoint::encode(&checkpoint(leases));
    Box::new(move |times, meter| {
        for _ in 0..times {
            let mut read = None;
            meter(&mut || read = Some(checkpoint::decode(&content)));
            assert!(black_box(read).is_some_and(|read| read.is_ok()));
        }
    })
}

/// From the leases in the pool to the bytes of the state file.
fn encode(leases: u32) -> Run {
    let config = Bed::filled(SMALL, 16).config;
    let pool = Pool::restore(config, &checkpoint(leases), Time::ZERO);
    Box::new(move |times, meter| {
        for _ in 0..times {
            meter(&mut || {
                black_box(checkpoint::encode(&pool.checkpoint()));
            });
        }
    })
}
