//! A kernel in memory: which addresses leave by which ENI, and which pods are wired.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Mutex,
};

use super::lock;
use crate::{
    addr::Prefix,
    datapath::{
        Datapath, DatapathError, DatapathErrorKind, EniSpec, NodeSpec, PodSpec, PodTeardown,
        PodWiring,
    },
    id::{EniId, MacAddr, PodRef},
};

/// Keeps what was set up, checks what a kernel would check, and fails on demand.
#[derive(Debug, Default)]
pub struct FakeDatapath {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    node: Option<NodeSpec>,
    enis: BTreeMap<EniId, EniSpec>,
    pods: BTreeMap<PodRef, PodSpec>,
    missing_links: BTreeSet<MacAddr>,
    failures: u32,
    set_ups: u64,
}

impl FakeDatapath {
    /// A host without any configuration, where every link exists.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the next `times` set-ups and take-downs of ENIs fail.
    pub fn fail_enis(&self, times: u32) {
        lock(&self.state).failures = times;
    }

    /// Hides or shows the link of a MAC.
    pub fn set_link(&self, mac: MacAddr, present: bool) {
        let missing = &mut lock(&self.state).missing_links;
        if present {
            missing.remove(&mac)
        } else {
            missing.insert(mac)
        };
    }

    /// The node, once it is set up.
    pub fn node(&self) -> Option<NodeSpec> {
        lock(&self.state).node.clone()
    }

    /// What is set up, by ENI.
    pub fn enis(&self) -> BTreeMap<EniId, EniSpec> {
        lock(&self.state).enis.clone()
    }

    /// Wired pods.
    pub fn pods(&self) -> BTreeMap<PodRef, PodSpec> {
        lock(&self.state).pods.clone()
    }

    /// Set-ups of ENIs so far, failed ones included.
    pub fn set_ups(&self) -> u64 {
        lock(&self.state).set_ups
    }

    /// The ENI by which packets from `ip` leave, if the host knows one.
    pub fn eni_of(&self, ip: IpAddr) -> Option<EniId> {
        let state = lock(&self.state);
        let owns = |eni: &&EniSpec| eni.sources.iter().any(|source: &Prefix| source.contains(ip));
        state.enis.values().find(owns).map(|eni| eni.id.clone())
    }
}

impl State {
    fn check(&mut self, eni: &EniSpec, link_needed: bool) -> Result<(), DatapathError> {
        let object = format!("{} ({})", eni.id, eni.mac);
        if self.failures > 0 {
            self.failures -= 1;
            let message = "the failure that the test asked for";
            return Err(DatapathError::new(DatapathErrorKind::Other, object, message));
        }
        if link_needed && self.missing_links.contains(&eni.mac) {
            let message = "no link with this MAC yet";
            return Err(DatapathError::new(DatapathErrorKind::LinkMissing, object, message));
        }
        Ok(())
    }
}

impl Datapath for FakeDatapath {
    fn set_up_node(&self, node: &NodeSpec) -> Result<(), DatapathError> {
        lock(&self.state).node = Some(node.clone());
        Ok(())
    }

    fn set_up_eni(&self, eni: &EniSpec) -> Result<(), DatapathError> {
        let mut state = lock(&self.state);
        state.set_ups += 1;
        state.check(eni, true)?;
        // An address leaves by one ENI only: the last set-up that names it decides, and a block that
        // overlaps it goes as a whole.
        let overlaps = |a: &Prefix, b: &Prefix| a.covers(b) || b.covers(a);
        for other in state.enis.values_mut().filter(|other| other.id != eni.id) {
            other.sources.retain(|source| !eni.sources.iter().any(|s| overlaps(s, source)));
        }
        state.enis.insert(eni.id.clone(), eni.clone());
        Ok(())
    }

    fn tear_down_eni(&self, eni: &EniSpec) -> Result<(), DatapathError> {
        let mut state = lock(&self.state);
        state.check(eni, false)?;
        state.enis.remove(&eni.id);
        Ok(())
    }

    fn set_up_pod(&self, pod: &PodSpec) -> Result<PodWiring, DatapathError> {
        let mut state = lock(&self.state);
        let number = state.pods.len();
        state.pods.insert(pod.pod.clone(), pod.clone());
        let [.., high, low] = number.to_be_bytes();
        Ok(PodWiring {
            host_if: format!("{}{number:011x}", pod.veth_prefix),
            host_mac: MacAddr([0x0a, 0, 0, 0, high, low]),
            container_mac: MacAddr([0x0a, 0, 0, 1, high, low]),
        })
    }

    fn tear_down_pod(&self, pod: &PodTeardown) -> Result<(), DatapathError> {
        lock(&self.state).pods.remove(&pod.pod);
        Ok(())
    }
}
