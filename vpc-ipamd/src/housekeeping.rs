//! What nobody asks for: links of pods that have gone, and addresses whose pods have gone without
//! saying so.
//!
//! A DEL succeeds while the daemon is away, because the runtime would not repeat it: the plugin takes
//! the pod down by itself, and the address stays leased. So the daemon looks for itself whether its
//! pods are still there.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

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

/// The node's own knowledge of its pods. All calls may block for milliseconds.
pub trait Housekeeping: Send + Sync {
    /// Removes links of pods that have gone, and says how many.
    ///
    /// # Errors
    ///
    /// If the kernel refuses.
    fn sweep(&self) -> Result<usize, DatapathError>;

    /// Which of `leases` have no pod on this node any more. A lease about which nothing is certain is
    /// not among them.
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
