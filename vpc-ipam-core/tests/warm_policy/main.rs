//! The adaptive policy against the static targets, on a simulated node.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod workload;

use std::{collections::BTreeMap, fmt, time::Duration};

use vpc_ipam_core::{
    config::{AllocationMode, WarmTargets},
    id::SandboxKey,
    policy::{Bounds, PolicyConfig},
    pool::Action,
    testkit::sim::{Sim, SimConfig},
    time::Time,
};
use workload::{Change, Workload};

const HOURS: u32 = 24;
/// How exactly the wait of a pod is measured: a write takes up to 10 ms, a call up to 1500 ms.
const RESOLUTION: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
struct Outcome {
    /// Mean number of addresses without a pod.
    idle: f64,
    waits: Vec<Duration>,
    failed: usize,
    /// Changes asked of EC2.
    calls: usize,
    by_kind: BTreeMap<&'static str, usize>,
}

impl Outcome {
    fn wait(&self, percent: usize) -> Duration {
        self.waits[(self.waits.len() - 1) * percent / 100]
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:5.1} {:>6} {:>5} {:>5} {:>6} {:>5}  {:?}",
            self.idle,
            self.wait(50).as_millis(),
            self.wait(99).as_millis(),
            self.wait(100).as_millis(),
            self.failed,
            self.calls,
            self.by_kind
        )
    }
}

fn key(pod: u32) -> SandboxKey {
    SandboxKey::new("aws-cni", &format!("sandbox-{pod}"), "eth0").unwrap()
}

struct Run {
    sim: Sim,
    waiting: BTreeMap<u32, Time>,
    waits: Vec<Duration>,
    idle_ms: f64,
}

impl Run {
    fn until(&mut self, end: Time) {
        while self.sim.now() < end {
            let step = if self.waiting.is_empty() { Duration::from_secs(30) } else { RESOLUTION };
            let step = step.min(end.since(self.sim.now()));
            self.sim.run_for(step).unwrap();
            let stats = self.sim.pool().stats();
            self.idle_ms += (stats.total - stats.assigned) as f64 * step.as_millis() as f64;
            self.settle();
        }
    }

    fn settle(&mut self) {
        let (sim, waits) = (&self.sim, &mut self.waits);
        self.waiting.retain(|pod, since| {
            let served = sim.running().contains_key(&key(*pod));
            if served {
                waits.push(sim.now().since(*since));
            }
            !served
        });
    }
}

fn run(config: &SimConfig, load: &Workload) -> Outcome {
    let sim = Sim::new(config).unwrap();
    let mut run = Run { sim, waiting: BTreeMap::new(), waits: Vec::new(), idle_ms: 0.0 };
    let end = Time::ZERO + Duration::from_secs(3600 * u64::from(HOURS));
    for (at, change) in load.changes() {
        let at = Time::ZERO + at;
        if at > end {
            break;
        }
        run.until(at);
        match change {
            Change::Comes(pod) => {
                run.waiting.insert(pod, run.sim.now());
                run.sim.add(pod).unwrap();
            }
            Change::Goes(pod) => {
                run.waiting.remove(&pod);
                run.sim.release(pod).unwrap();
            }
        }
        run.settle();
    }
    run.until(end);
    let mut by_kind = BTreeMap::new();
    for (_, action) in run.sim.actions() {
        let kind = match action {
            Action::AssignAddresses { .. } => "assign",
            Action::CreateEni { .. } => "create",
            Action::DeleteEni { .. } => "delete",
            Action::UnassignAddresses { .. } => "unassign",
            _ => continue,
        };
        *by_kind.entry(kind).or_insert(0) += 1;
    }
    run.waits.sort();
    Outcome {
        idle: run.idle_ms / end.as_millis() as f64,
        waits: run.waits,
        failed: run.sim.refused().len(),
        calls: by_kind.values().sum(),
        by_kind,
    }
}

fn node(mode: AllocationMode, targets: WarmTargets, policy: PolicyConfig) -> SimConfig {
    let mut config = SimConfig::with("m5.xlarge", mode, targets, 7).unwrap();
    config.pool.max_pods = 58;
    config.pool.policy = policy;
    config
}

struct Table {
    adaptive: Outcome,
    enis: Outcome,
    ips: Outcome,
}

/// Runs one workload under each policy, and prints the table.
fn compare(name: &str, load: &Workload) -> Table {
    let targets = WarmTargets::default();
    let (secondary, prefixes) = (AllocationMode::Secondary, AllocationMode::Prefix);
    let (learning, fixed) = (PolicyConfig::Adaptive(Bounds::default()), PolicyConfig::Static);
    let warm_ips = WarmTargets { ips: 5, minimum_ips: 10, ..targets };
    let warm_prefix = WarmTargets { prefixes: 1, ..targets };
    let mut text = format!("{name}: {} pods in {HOURS} h\n", load.pods());
    text += "                                       idle     p50 p99 max ms    fail calls\n";
    let mut row = |name: &str, config: SimConfig| {
        let outcome = run(&config, load);
        text += &format!("{name:38} {outcome}\n");
        outcome
    };
    let adaptive = row("adaptive", node(secondary, targets, learning));
    let enis = row("WARM_ENI_TARGET=1", node(secondary, targets, fixed));
    let ips = row("WARM_IP_TARGET=5 MINIMUM_IP_TARGET=10", node(secondary, warm_ips, fixed));
    row("adaptive, prefixes", node(prefixes, warm_prefix, learning));
    row("WARM_PREFIX_TARGET=1", node(prefixes, warm_prefix, fixed));
    println!("{text}");
    for outcome in [&adaptive, &enis] {
        // The shortest EC2 call takes longer than that.
        assert!(outcome.wait(99) < Duration::from_millis(100), "{text}");
        assert_eq!(outcome.failed, 0, "{text}");
    }
    assert!(adaptive.calls < ips.calls, "{text}");
    Table { adaptive, enis, ips }
}

#[test]
fn single_pods_need_less_than_half_the_addresses() {
    let table = compare("steady", &workload::steady(HOURS, 1));
    assert!(table.adaptive.idle <= table.enis.idle / 2.0);
    assert!(table.adaptive.calls * 4 < table.ips.calls);
}

/// Nothing tells when the next burst comes, so addresses for it are held at all times.
#[test]
fn bursts_at_random_times_need_their_addresses_all_the_time() {
    let table = compare("bursts", &workload::bursts(HOURS, 1));
    assert!(table.adaptive.idle < table.enis.idle * 0.8);
}

/// The first hours teach when the jobs are due; from then on little is held in between.
#[test]
fn jobs_on_the_hour_need_less_than_half_the_addresses() {
    let table = compare("cron", &workload::cron(HOURS, 1));
    assert!(table.adaptive.idle < table.enis.idle / 2.0);
}

#[test]
fn the_daily_curve_needs_less_than_half_the_addresses() {
    let table = compare("daily", &workload::daily(HOURS, 1));
    assert!(table.adaptive.idle <= table.enis.idle / 2.0);
}

#[test]
fn rollouts_need_less_than_half_the_addresses() {
    let table = compare("rollout", &workload::rollout(HOURS, 1));
    assert!(table.adaptive.idle < table.enis.idle / 2.0);
}
