//! Does one thing a fixed number of times, for `valgrind --tool=callgrind` to count: instruction
//! counts hardly vary between runs, and not at all with the load of the machine.
//!
//! Without arguments it lists the scenarios, each with how often it does its thing; given the name
//! of one, it does it. Count with `--toggle-collect=*measured*`; `scripts/bench.sh` does.

#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod support;

/// What is counted: the profiler watches for this name.
#[inline(never)]
fn measured(part: &mut dyn FnMut()) {
    part();
    // Not the last call, so that it stays one.
    std::hint::black_box(());
}

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    for scenario in support::scenario::all() {
        let name = format!("{}/{}", scenario.group, scenario.name);
        match &wanted {
            None => println!("{name} {}", scenario.counted),
            Some(wanted) if *wanted == name => {
                (scenario.make)()(scenario.counted, &mut |part| measured(part));
            }
            Some(_) => {}
        }
    }
}
