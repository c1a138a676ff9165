//! The kubelet's and the container runtime's part: brings pods up and down, a few at a time on each
//! node, and notes how long the plugin took.

use std::{
    collections::VecDeque,
    net::Ipv4Addr,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    cni::{Added, CniError, Plugin, Sandbox},
    identity::Ids,
    node::{Node, PodHome},
};

/// Pods that one node starts or stops at the same time. A kubelet has no such limit, but pulls
/// images and starts containers between; four is what a busy node shows.
const PARALLEL_PER_NODE: usize = 4;
/// A pod that has no address after this stays without one. The plugin's own deadline is 60 s.
const UP_DEADLINE: Duration = Duration::from_secs(90);
/// Pause before the next attempt; kubelets wait about a second.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Attempts after errors of which the plugin does not say that a later try may succeed.
const HARD_ERRORS_MAX: u32 = 4;

/// Digits of a sandbox's id in the name of its network namespace.
const NETNS_ID_LEN: usize = 16;

/// A pod that is to run.
#[derive(Clone, Debug)]
pub(crate) struct PodPlan {
    pub(crate) node: usize,
    pub(crate) name: String,
    /// Of its ids.
    pub(crate) seed: u64,
}

/// A pod that runs.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) node: usize,
    pub(crate) name: String,
    pub(crate) ip: Ipv4Addr,
    sandbox: Sandbox,
    result: Value,
    pub(crate) home: PodHome,
}

/// What the workers report.
#[derive(Debug)]
pub(crate) enum Report {
    /// A pod is up, at last: the time is that of the attempt that succeeded, `failures` are those
    /// before, `unremoved` tells which of their sandboxes could not be removed.
    Up { pod: Box<Pod>, took: Duration, failures: Vec<String>, unremoved: Vec<String> },
    /// A pod will not come up.
    NotUp { reason: String },
    /// A pod is gone.
    Down { node: usize, took: Duration },
    /// A pod's DEL failed.
    NotDown { reason: String },
}

/// All nodes, and the plugin installed on each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kubelets<'a> {
    pub(crate) nodes: &'a [Node],
    pub(crate) plugin: &'a Plugin,
}

impl Kubelets<'_> {
    /// Brings all pods up. `watch` gets every report as it comes, and `None` when there was none for
    /// `idle`; it runs on the caller's thread.
    pub(crate) fn scale_up(
        &self,
        plans: Vec<PodPlan>,
        idle: Duration,
        watch: impl FnMut(Option<Report>),
    ) {
        let work = plans.into_iter().map(|plan| (plan.node, plan)).collect();
        self.work_off(work, idle, watch, |node, plan| self.bring_up(node, plan));
    }

    /// Takes all pods down.
    pub(crate) fn scale_down(
        &self,
        pods: Vec<Pod>,
        idle: Duration,
        watch: impl FnMut(Option<Report>),
    ) {
        let work = pods.into_iter().map(|pod| (pod.node, pod)).collect();
        self.work_off(work, idle, watch, |node, pod| self.take_down(node, pod));
    }

    fn work_off<T: Send>(
        &self,
        work: Vec<(usize, T)>,
        idle: Duration,
        mut watch: impl FnMut(Option<Report>),
        job: impl Fn(&Node, T) -> Report + Sync,
    ) {
        let mut queues: Vec<VecDeque<T>> = self.nodes.iter().map(|_| VecDeque::new()).collect();
        for (node, item) in work {
            if let Some(queue) = queues.get_mut(node) {
                queue.push_back(item);
            }
        }
        let queues: Vec<_> = queues.into_iter().map(Mutex::new).collect();
        let (reports, inbox) = mpsc::channel();
        thread::scope(|scope| {
            for (node, queue) in self.nodes.iter().zip(&queues) {
                for _ in 0..PARALLEL_PER_NODE {
                    let (reports, job) = (reports.clone(), &job);
                    scope.spawn(move || {
                        while let Some(item) = pop(queue) {
                            if reports.send(job(node, item)).is_err() {
                                return;
                            }
                        }
                    });
                }
            }
            drop(reports);
            loop {
                match inbox.recv_timeout(idle) {
                    Ok(report) => watch(Some(report)),
                    Err(mpsc::RecvTimeoutError::Timeout) => watch(None),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                }
            }
        });
    }

    fn bring_up(&self, node: &Node, plan: PodPlan) -> Report {
        let deadline = Instant::now() + UP_DEADLINE;
        let mut ids = Ids::new(plan.seed);
        let uid = ids.uid();
        let (mut hard_errors, mut failures, mut dead) = (0, Vec::new(), Vec::new());
        loop {
            let reason = match self.attempt(node, &plan, &uid, &ids.container_id()) {
                Ok((pod, took)) => {
                    let unremoved = self.remove_dead(node, &dead);
                    return Report::Up { pod: Box::new(pod), took, failures, unremoved };
                }
                Err(AttemptError::Home(reason)) => {
                    hard_errors = HARD_ERRORS_MAX;
                    reason
                }
                Err(AttemptError::Cni(sandbox, error)) => {
                    hard_errors += u32::from(!error.is_temporary());
                    dead.push(*sandbox);
                    error.to_string()
                }
            };
            failures.push(reason);
            if hard_errors >= HARD_ERRORS_MAX || Instant::now() + RETRY_PAUSE > deadline {
                let reason = format!(
                    "{} on {} got no address in {} attempts: {}",
                    plan.name,
                    node.name,
                    failures.len(),
                    failures.last().map_or("", String::as_str)
                );
                return Report::NotUp { reason };
            }
            thread::sleep(RETRY_PAUSE);
        }
    }

    /// One sandbox: as containerd does, a failed one is deleted and the next one has a new id.
    fn attempt(
        &self,
        node: &Node,
        plan: &PodPlan,
        uid: &str,
        container_id: &str,
    ) -> Result<(Pod, Duration), AttemptError> {
        let (namespace, name) = plan.name.split_once('/').unwrap_or(("default", &plan.name));
        let netns: String = container_id.chars().take(NETNS_ID_LEN).collect();
        let home = node.pod_home(&format!("cni-{netns}")).map_err(AttemptError::Home)?;
        let sandbox = Sandbox {
            container_id: container_id.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            netns: home.path(),
        };
        let started = Instant::now();
        match self.plugin.add(&sandbox, |command| node.spawn(command)) {
            Ok(Added { ip, result }) => {
                let took = started.elapsed();
                let pod =
                    Pod { node: plan.node, name: plan.name.clone(), ip, sandbox, result, home };
                Ok((pod, took))
            }
            Err(error) => {
                // Its outcome changes nothing here: the next attempt shows whether it helped.
                let _ = self.plugin.del(&sandbox, None, |command| node.spawn(command));
                Err(AttemptError::Cni(Box::new(sandbox), error))
            }
        }
    }

    /// Once a pod's sandbox works, the kubelet removes those that did not. If the daemon was away when
    /// they failed, it learns only now that their addresses are free.
    fn remove_dead(&self, node: &Node, dead: &[Sandbox]) -> Vec<String> {
        let remove = |sandbox: &Sandbox| {
            let removed = self.plugin.del_again(sandbox, |command| node.spawn(command));
            let told =
                |e| format!("DEL of a dead sandbox of {} on {}: {e}", sandbox.name, node.name);
            removed.err().map(told)
        };
        dead.iter().filter_map(remove).collect()
    }

    /// As containerd does: one DEL when the sandbox stops, one when it is removed.
    fn take_down(&self, node: &Node, pod: Pod) -> Report {
        let Pod { node: index, name, sandbox, result, home, .. } = pod;
        let spawn = |command| node.spawn(command);
        let started = Instant::now();
        let stopped = self.plugin.del(&sandbox, Some(&result), spawn);
        let took = started.elapsed();
        drop(home);
        let outcome = stopped.and_then(|()| self.plugin.del_again(&sandbox, spawn));
        match outcome {
            Ok(()) => Report::Down { node: index, took },
            Err(e) => Report::NotDown { reason: format!("DEL of {name} on {}: {e}", node.name) },
        }
    }
}

enum AttemptError {
    Cni(Box<Sandbox>, CniError),
    Home(String),
}

fn pop<T>(queue: &Mutex<VecDeque<T>>) -> Option<T> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}
