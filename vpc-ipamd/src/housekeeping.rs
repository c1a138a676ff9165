//! What nobody asks for: links of pods that have gone, and addresses whose pods have gone without
//! saying so.
//!
//! A DEL succeeds while the daemon is away, because the runtime would not repeat it: the plugin takes
//! the pod down by itself, and the address stays leased. So the daemon looks for itself whether its
//! pods are still there.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use tokio::{task::spawn_blocking, time::sleep};
use vpc_ipam_core::{checkpoint::Lease, datapath::DatapathError, id::SandboxKey};

use crate::{
    clock::Clock,
    handle::Handle,
    telemetry::{Counter, Counters},
};

/// Between two rounds. What is swept costs little while it waits.
const PERIOD: Duration = Duration::from_secs(10);
/// A pod whose address is younger may be in the middle of being wired: the plugin waits up to a minute
/// for the daemon, and then for its turn.
const SETTLED: Duration = Duration::from_secs(120);

/// A pod that is wired to this node, as the kernel shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WiredPod {
    /// Address that the node routes to the pod.
    pub ip: IpAddr,
    /// Host end of the pod's veth pair.
    pub host_if: String,
}

/// The node's own knowledge of its pods. All calls may block for milliseconds.
pub trait Housekeeping: Send + Sync {
    /// Removes links of pods that have gone, and says how many.
    ///
    /// # Errors
    ///
    /// If the kernel refuses.
    fn sweep(&self) -> Result<usize, DatapathError>;

    /// The pods that are wired to this node, whoever wired them.
    ///
    /// # Errors
    ///
    /// If the node's pods cannot be listed completely.
    fn wired(&self) -> Result<Vec<WiredPod>, DatapathError>;

    /// Which of `leases` have no pod on this node any more. A lease about which nothing is certain is
    /// not among them. One that was [recovered](crate::RECOVERED_NETWORK) from the kernel names its host
    /// link where others name the sandbox.
    ///
    /// # Errors
    ///
    /// If the node's pods cannot be listed completely.
    fn gone(&self, leases: &[Lease]) -> Result<BTreeSet<SandboxKey>, DatapathError>;
}

/// Runs for ever.
pub(crate) async fn keep(
    house: Arc<dyn Housekeeping>,
    handle: Handle,
    counters: Arc<Counters>,
    clock: Clock,
) {
    let mut suspects = BTreeSet::new();
    loop {
        let Ok(leases) = handle.leases().await else { return };
        suspects = round(&house, &handle, &counters, settled(leases, clock), &suspects).await;
        sleep(PERIOD).await;
    }
}

/// Leases old enough to be judged.
fn settled(mut leases: Vec<Lease>, clock: Clock) -> Vec<Lease> {
    let now_ns = i128::from(clock.now().as_millis()) * 1_000_000;
    let settled_ns = i128::try_from(SETTLED.as_nanos()).unwrap_or(i128::MAX);
    leases.retain(|lease| now_ns.saturating_sub(lease.allocated_ns.into()) > settled_ns);
    leases
}

/// One round. An address is taken back if its pod was missing in the round before as well: one look
/// at a system that changes is no proof. Returns whose pods are missing for the first time.
async fn round(
    house: &Arc<dyn Housekeeping>,
    handle: &Handle,
    counters: &Counters,
    leases: Vec<Lease>,
    suspects: &BTreeSet<SandboxKey>,
) -> BTreeSet<SandboxKey> {
    let looking = Arc::clone(house);
    let looked = spawn_blocking(move || {
        let swept = looking.sweep()?;
        Ok::<_, DatapathError>((swept, looking.gone(&leases)?))
    });
    let gone = match looked.await {
        Ok(Ok((swept, gone))) => {
            if swept > 0 {
                tracing::debug!(links = swept, "links of gone pods swept");
            }
            gone
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot look after the pods of this node");
            return BTreeSet::new();
        }
        Err(error) => {
            tracing::warn!(%error, "looking after the pods of this node died");
            return BTreeSet::new();
        }
    };
    let (certain, new): (BTreeSet<_>, _) = gone.into_iter().partition(|key| suspects.contains(key));
    for key in certain {
        match handle.del(key.clone()).await {
            Ok(Some(freed)) => {
                counters.add(Counter::Reclaimed, "");
                tracing::warn!(sandbox = %key, ip = %freed.ip, "its pod has gone without a DEL; released");
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(sandbox = %key, %error, "cannot release a gone pod's address")
            }
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::{mpsc, watch};
    use vpc_ipam_core::{
        checkpoint::Unknown, datapath::DatapathErrorKind, id::PodRef, pool::Assignment,
    };

    use super::*;
    use crate::handle::{Identity, Request};

    /// A node without the pods of these sandboxes; an error if there is no list.
    #[derive(Debug, Default)]
    struct House(Mutex<Option<Vec<&'static str>>>);

    impl Housekeeping for House {
        fn sweep(&self) -> Result<usize, DatapathError> {
            Ok(0)
        }

        fn wired(&self) -> Result<Vec<WiredPod>, DatapathError> {
            Ok(Vec::new())
        }

        fn gone(&self, leases: &[Lease]) -> Result<BTreeSet<SandboxKey>, DatapathError> {
            let gone = self.0.lock().unwrap();
            let gone = gone.as_ref().ok_or_else(|| {
                DatapathError::new(DatapathErrorKind::Other, "links", "the dump was interrupted")
            })?;
            let of = |lease: &&Lease| gone.contains(&lease.key.container_id());
            Ok(leases.iter().filter(of).map(|lease| lease.key.clone()).collect())
        }
    }

    fn lease(id: &str, allocated_ns: i64) -> Lease {
        Lease {
            key: SandboxKey::new("aws-cni", id, "eth0").unwrap(),
            ip: "10.0.0.9".parse().unwrap(),
            allocated_ns,
            pod: PodRef { namespace: "shop".to_owned(), name: id.to_owned() },
            interfaces: 1,
            unknown: Unknown::default(),
        }
    }

    /// Rounds over `a` and `b`, one per answer of the node; who was released after each.
    fn rounds(answers: &[Option<Vec<&'static str>>]) -> Vec<Vec<String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (requests, mut asked) = mpsc::channel(8);
            let (_identity, identity) = watch::channel(Identity::Unknown(String::new()));
            let handle = Handle::new(requests, identity);
            let released = Arc::new(Mutex::new(Vec::new()));
            let noted = Arc::clone(&released);
            tokio::spawn(async move {
                while let Some(request) = asked.recv().await {
                    let Request::Del { key, reply } = request else { panic!("{request:?}") };
                    noted.lock().unwrap().push(key.container_id().to_owned());
                    let (ip, eni) = ("10.0.0.9".parse().unwrap(), None);
                    let freed = Assignment { key, ip, eni, device: 0, card: 0, table: 254 };
                    reply.send(Ok(Some(freed))).unwrap();
                }
            });
            let house = Arc::new(House::default());
            let keeper: Arc<dyn Housekeeping> = Arc::<House>::clone(&house);
            let (counters, mut suspects) = (Counters::default(), BTreeSet::new());
            let mut log = Vec::new();
            for answer in answers {
                house.0.lock().unwrap().clone_from(answer);
                let leases = vec![lease("a", 0), lease("b", 0)];
                suspects = round(&keeper, &handle, &counters, leases, &suspects).await;
                log.push(std::mem::take(&mut *released.lock().unwrap()));
            }
            log
        })
    }

    #[test]
    fn an_address_is_taken_back_when_its_pod_is_missing_twice_in_a_row() {
        let none: [&str; 0] = [];
        assert_eq!(rounds(&[Some(vec!["a"]), Some(vec!["a"])]), [&none[..], &["a"]]);
        let blink = rounds(&[Some(vec!["a"]), Some(vec![]), Some(vec!["a"])]);
        assert_eq!(blink, [none, none, none]);
    }

    #[test]
    fn a_node_that_cannot_be_read_costs_no_pod_its_address() {
        let none: [&str; 0] = [];
        let log = rounds(&[Some(vec!["a", "b"]), None, Some(vec!["a", "b"])]);
        assert_eq!(log, [none, none, none]);
    }

    #[test]
    fn a_pod_that_is_being_wired_is_not_judged() {
        let clock = Clock::start();
        let now_ns = i64::try_from(clock.now().as_millis()).unwrap() * 1_000_000;
        let minute_ns = 60_000_000_000;
        let leases =
            vec![lease("old", 0), lease("new", now_ns), lease("young", now_ns - minute_ns)];
        let judged = settled(leases, clock);
        assert_eq!(judged.iter().map(|l| l.key.container_id()).collect::<Vec<_>>(), ["old"]);
    }
}
