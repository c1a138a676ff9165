//! The kernel as [`Datapath`].

mod inventory;
mod observe;
mod pod;
mod probe;
mod run;
mod wiring;

pub use inventory::Inventory;

use std::sync::{Mutex, MutexGuard, PoisonError};

use vpc_ipam_core::datapath::{
    Datapath, DatapathError, DatapathErrorKind, EniSpec, NodeSpec, PodSpec, PodTeardown, PodWiring,
};

use crate::{
    desired::{EniPlan, Observed, Step, eni_object, plan_eni, plan_eni_removal, plan_node},
    netlink::{ErrorKind, NetlinkError, Socket},
    netns::{NetnsError, NetnsFd, run_in},
    nft,
};

/// Attempts at steps that another process keeps overtaking. It has to be another release of ours, at
/// its start; nobody else writes these objects.
const SETTLE_ATTEMPTS_MAX: u32 = 3;

/// The datapath of this node's kernel.
///
/// Holds one rtnetlink socket and, from the first use of nftables, one nfnetlink socket. A plugin that
/// only wires pods never opens the second.
#[derive(Debug)]
pub struct LinuxDatapath {
    route: Mutex<Socket>,
    nft: Mutex<Option<nft::Socket>>,
    /// Where the sockets live, if not where the caller is.
    netns: Option<NetnsFd>,
    /// Held from looking to the last step: a step that was right when it was planned may be wrong after
    /// another caller's.
    settling: Mutex<()>,
    /// MTU of all ENIs, known from the node.
    mtu: Mutex<Option<u32>>,
    /// Sends on the sockets of pods, which are closed by now.
    pod_sends: Mutex<u64>,
    #[cfg(feature = "testkit")]
    fault: Mutex<Option<usize>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is valid at every instant, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LinuxDatapath {
    /// Works on the calling thread's network namespace, where all later callers must be too.
    ///
    /// # Errors
    ///
    /// If the kernel gives no rtnetlink socket.
    pub fn open() -> Result<Self, DatapathError> {
        let socket = Socket::open().map_err(|e| failed("node", &e))?;
        Ok(Self::with(socket, None))
    }

    /// Works on another network namespace, whoever calls.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered, or the kernel gives no rtnetlink socket.
    pub fn open_in(netns: &NetnsFd) -> Result<Self, DatapathError> {
        let socket = Socket::open_in(netns).map_err(|e| netns_failed("node", &e))?;
        Ok(Self::with(socket, Some(netns.clone())))
    }

    fn with(socket: Socket, netns: Option<NetnsFd>) -> Self {
        Self {
            route: Mutex::new(socket),
            nft: Mutex::new(None),
            netns,
            settling: Mutex::new(()),
            mtu: Mutex::new(None),
            pod_sends: Mutex::new(0),
            #[cfg(feature = "testkit")]
            fault: Mutex::new(None),
        }
    }

    /// Number of netlink sends so far, in the node's and the pods' namespaces.
    pub fn sends(&self) -> u64 {
        let nft = lock(&self.nft).as_ref().map_or(0, nft::Socket::sends);
        lock(&self.route).sends() + nft + *lock(&self.pod_sends)
    }

    /// Does something inside the node's namespace.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        match &self.netns {
            Some(netns) => run_in(netns, work),
            None => Ok(work()),
        }
    }

    /// Steps that [`Datapath::set_up_node`] would take now; none on a node that is as it should be.
    ///
    /// # Errors
    ///
    /// As `set_up_node`.
    pub fn plan_node(&self, node: &NodeSpec) -> Result<Vec<Step>, DatapathError> {
        let observed = self.observe_node().map_err(|e| failed("node", &e))?;
        plan_node(node, &observed)
    }

    /// Steps that [`Datapath::set_up_eni`] would take now; none for an ENI that is as it should be.
    ///
    /// # Errors
    ///
    /// As `set_up_eni`.
    pub fn plan_eni(&self, eni: &EniSpec) -> Result<EniPlan, DatapathError> {
        let observed = self.observe_eni(eni)?;
        plan_eni(eni, *lock(&self.mtu), &observed)
    }

    fn observe_eni(&self, eni: &EniSpec) -> Result<Observed, DatapathError> {
        let observed = if eni.primary { self.observe_primary() } else { self.observe_node() };
        observed.map_err(|e| failed(&eni_object(eni), &e))
    }
}

impl LinuxDatapath {
    /// Plans and takes the steps; again if somebody else changed things in between.
    fn settle(
        &self,
        object: &str,
        plan: impl Fn() -> Result<Vec<Step>, DatapathError>,
    ) -> Result<(), DatapathError> {
        let _settling = lock(&self.settling);
        let mut attempt = 1;
        loop {
            match self.apply(&plan()?) {
                Err(e) if attempt < SETTLE_ATTEMPTS_MAX && is_stale(&e) => attempt += 1,
                result => return result.map_err(|e| failed(object, &e)),
            }
        }
    }
}

/// True if what was planned on has changed.
fn is_stale(error: &NetlinkError) -> bool {
    matches!(error.kind(), ErrorKind::Exists | ErrorKind::NotFound | ErrorKind::Busy)
}

impl Datapath for LinuxDatapath {
    fn set_up_node(&self, node: &NodeSpec) -> Result<(), DatapathError> {
        self.settle("node", || self.plan_node(node))?;
        *lock(&self.mtu) = Some(node.mtu);
        Ok(())
    }

    fn set_up_eni(&self, eni: &EniSpec) -> Result<(), DatapathError> {
        self.settle(&eni_object(eni), || Ok(self.plan_eni(eni)?.steps))
    }

    fn tear_down_eni(&self, eni: &EniSpec) -> Result<(), DatapathError> {
        let _settling = lock(&self.settling);
        let steps = plan_eni_removal(eni, &self.observe_eni(eni)?);
        self.apply_all(&steps).map_err(|all| failed_all(&eni_object(eni), &all))
    }

    fn set_up_pod(&self, pod: &PodSpec) -> Result<PodWiring, DatapathError> {
        self.wire_pod(pod)
    }

    fn tear_down_pod(&self, pod: &PodTeardown) -> Result<(), DatapathError> {
        self.unwire_pod(pod)
    }
}

/// An error about `object` with the remedy for those kinds that have one.
fn failed(object: &str, error: &NetlinkError) -> DatapathError {
    failed_all(object, std::slice::from_ref(error))
}

fn failed_all(object: &str, errors: &[NetlinkError]) -> DatapathError {
    let kinds: Vec<_> = errors.iter().map(NetlinkError::kind).collect();
    let mut message = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let kind = if kinds.contains(&ErrorKind::NotPermitted) {
        message.push_str("; CAP_NET_ADMIN in the node's network namespace is needed");
        DatapathErrorKind::NotSupported
    } else if kinds.contains(&ErrorKind::NotSupported) {
        message.push_str("; the kernel lacks this feature, is its module (nf_tables) missing?");
        DatapathErrorKind::NotSupported
    } else {
        DatapathErrorKind::Other
    };
    DatapathError::new(kind, object, message)
}

fn netns_failed(object: &str, error: &NetnsError) -> DatapathError {
    let kind = match error {
        NetnsError::Open { .. } | NetnsError::NotNamespace { .. } => {
            DatapathErrorKind::NetnsMissing
        }
        _ => DatapathErrorKind::Other,
    };
    DatapathError::new(kind, object, error.to_string())
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;
    use crate::netlink::Refusal;

    fn refused(errno: i32) -> NetlinkError {
        let label = "add rule 513".to_owned();
        NetlinkError::Refused(vec![Refusal { index: 0, label, errno, detail: None }])
    }

    #[test]
    fn errors_name_object_cause_and_remedy() {
        let error = failed("node", &refused(libc::EPERM));
        assert_eq!(error.kind, DatapathErrorKind::NotSupported);
        assert!(error.to_string().starts_with("node: add rule 513: "), "{error}");
        assert!(error.message.contains("CAP_NET_ADMIN"), "{error}");
        let error = failed("node", &refused(libc::EOPNOTSUPP));
        assert_eq!(error.kind, DatapathErrorKind::NotSupported);
        assert!(error.message.contains("nf_tables"), "{error}");
        assert_eq!(failed("node", &refused(libc::EINVAL)).kind, DatapathErrorKind::Other);
    }
}
