//! Asks the network the planned questions, many at a time.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use vpc_datapath_linux::testkit::{
    ns::Namespace,
    probe::{ProbeOutcome, ProbeSpec, refused_probe, tcp_probe, udp_probe},
};

use crate::{
    kubelet::Pod,
    node::Node,
    plan::{End, Expect, Layout, Probe, Proto},
    progress::Progress,
    scene::{Scene, echo_at},
    verdict::Outcome,
};

/// Probes at a time. One that works takes a millisecond; one that does not waits, so there are more
/// of them than CPUs.
const WORKERS: usize = 96;
/// How long an answer may take. On a machine that is busy with other things, packets are late, but
/// not that late.
const ANSWER_DEADLINE: Duration = Duration::from_secs(4);
/// How long something that must not answer is listened for. Long enough for a connection that works:
/// the same path takes microseconds.
const SILENCE: Duration = Duration::from_millis(400);
/// All probes together. With everything broken this, not the number of pods, bounds the run.
const PROBING_DEADLINE: Duration = Duration::from_secs(60);

/// Runs all probes of the layout. `pods` are in the layout's order.
pub(crate) fn run(
    layout: &Layout,
    scene: &Scene,
    pods: &[Pod],
    progress: &Progress,
) -> Vec<Outcome> {
    let probes = layout.probes();
    let (next, started) = (AtomicUsize::new(0), Instant::now());
    let outcomes = Mutex::new(Vec::with_capacity(probes.len()));
    thread::scope(|scope| {
        for _ in 0..WORKERS.min(probes.len()) {
            scope.spawn(|| {
                while let Some(&probe) = probes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let failure = if started.elapsed() > PROBING_DEADLINE {
                        let seconds = PROBING_DEADLINE.as_secs();
                        Some(format!("not run: the probes before it took {seconds} s"))
                    } else {
                        Asker { layout, scene, pods }.ask(&probe).err()
                    };
                    let mut all = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push(Outcome { probe, failure });
                    progress.update(|_| {});
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_else(PoisonError::into_inner)
}

struct Asker<'a> {
    layout: &'a Layout,
    scene: &'a Scene,
    pods: &'a [Pod],
}

impl Asker<'_> {
    fn ask(&self, probe: &Probe) -> Result<(), String> {
        let from = self.namespace(probe.from)?;
        let ip = self.layout.ip(probe.to).ok_or("it has no address")?;
        let to = echo_at(ip);
        match probe.expect {
            Expect::Seen(source) => {
                let spec = ProbeSpec::new()
                    .round_trips(probe.rounds)
                    .size(probe.bytes)
                    .timeout(ANSWER_DEADLINE)
                    .expect_peer(source.into());
                let outcome = match probe.proto {
                    Proto::Tcp => tcp_probe(from, None, to, &spec),
                    Proto::Udp => udp_probe(from, None, to, &spec),
                };
                outcome.into_result().map(drop)
            }
            Expect::Refused => match probe.proto {
                Proto::Tcp => refused_probe(from, None, to, SILENCE),
                Proto::Udp => silent_probe(from, to),
            },
        }
    }

    fn namespace(&self, end: End) -> Result<&Namespace, String> {
        match end {
            End::Internet => Some(&self.scene.internet),
            End::Node(i) => self.scene.nodes.get(i).map(Node::namespace),
            End::VpcHost => Some(self.scene.vpc_host.ns.namespace()),
            End::Pod(i) => self.pods.get(i).map(|pod| pod.home.ns.namespace()),
        }
        .ok_or_else(|| "it is not there".to_owned())
    }
}

/// No datagram comes back, whoever sent it.
fn silent_probe(from: &Namespace, to: SocketAddr) -> Result<(), String> {
    match udp_probe(from, None, to, &ProbeSpec::new().timeout(SILENCE)) {
        ProbeOutcome::Lost { .. } => Ok(()),
        ProbeOutcome::NotConnected { reason } => Err(format!("could not even be tried: {reason}")),
        answered => Err(format!("{} got an answer: {answered}", from.name())),
    }
}
