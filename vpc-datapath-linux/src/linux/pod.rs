//! Wiring a pod and taking it down.

use std::net::IpAddr;

use vpc_ipam_core::{
    datapath::{DatapathError, DatapathErrorKind, PodSpec, PodTeardown, PodWiring},
    id::PodRef,
};

use super::{
    LinuxDatapath, failed, failed_all, lock, netns_failed,
    wiring::{
        TEARDOWN_LINK, TEARDOWN_ROUTES, TEARDOWN_RULES, Wiring, classic_rules, object, pod_routes,
        teardown_batch,
    },
};
use crate::{
    names::{VethPrefix, link_index, peer_index},
    netlink::{Batch, ErrorKind, LinkChange, NetlinkError, RouteFilter, Socket, delete_link},
    netns::NetnsFd,
    sysctl,
};

/// Attempts at making the pair: one, one more after a stale link has been removed, one with indexes of
/// the kernel's choice, and one for a race with somebody else.
const VETH_ATTEMPTS_MAX: usize = 4;
/// Duplicates of one classic rule that are removed. Releases that did not add rules exclusively left a
/// handful.
const DUPLICATES_MAX: usize = 16;

/// Indexes of the two ends.
#[derive(Clone, Copy, Debug)]
struct Ends {
    host: u32,
    pod: u32,
}

impl LinuxDatapath {
    pub(super) fn wire_pod(&self, pod: &PodSpec) -> Result<PodWiring, DatapathError> {
        let object = object(&pod.pod);
        let netns = NetnsFd::open(&pod.netns).map_err(|e| netns_failed(&object, &e))?;
        self.refuse_own_netns(&object, &netns)?;
        let wiring = Wiring::new(pod, netns)?;
        let mut inside = Socket::open_in(&wiring.netns).map_err(|e| netns_failed(&object, &e))?;
        let result = self.wire(&wiring, &mut inside);
        *lock(&self.pod_sends) += inside.sends();
        result?;
        Ok(PodWiring {
            host_if: wiring.host_if,
            host_mac: wiring.host_mac,
            container_mac: wiring.pod_mac,
        })
    }

    /// A pod without a namespace of its own would have its interface, address and default route made on
    /// the node.
    fn refuse_own_netns(&self, object: &str, netns: &NetnsFd) -> Result<(), DatapathError> {
        let own = match &self.netns {
            Some(own) => Ok(own.clone()),
            None => NetnsFd::current(),
        };
        if !own.map_err(|e| netns_failed(object, &e))?.is_same(netns) {
            return Ok(());
        }
        let message = format!("{} is the node's own network namespace", netns.path().display());
        Err(DatapathError::new(DatapathErrorKind::Other, object, message))
    }

    fn wire(&self, wiring: &Wiring, inside: &mut Socket) -> Result<(), DatapathError> {
        let mut socket = lock(&self.route);
        let ends = self.make_veth(wiring, &mut socket, inside)?;
        let finished = self.finish(wiring, ends, inside);
        if finished.is_err() {
            // The peer, the routes and all that was set in the pod go with the link.
            let undone = socket.request(delete_link(ends.host));
            return finished.map_err(|e| also(e, undone.err()));
        }
        Ok(())
    }

    /// The pair and the host's routes: one send, if nothing is in the way.
    fn make_veth(
        &self,
        wiring: &Wiring,
        socket: &mut Socket,
        inside: &mut Socket,
    ) -> Result<Ends, DatapathError> {
        let mut index = Some(wiring.index);
        for _ in 0..VETH_ATTEMPTS_MAX {
            let error = match index {
                Some(index) => match socket.run(&self.with_fault(wiring.host_batch(), 0)) {
                    Ok(()) => return Ok(Ends { host: index, pod: peer_index(index) }),
                    Err(e) => e,
                },
                None => {
                    let veth = Batch::from_iter([wiring.veth(None)]);
                    match socket.run(&self.with_fault(veth, 0)) {
                        Ok(()) => return self.finish_host(wiring, socket, inside),
                        Err(e) => e,
                    }
                }
            };
            let veth = error.refusals().iter().find(|r| r.index == 0).map(|r| r.kind());
            if index.is_some() {
                undo_host(wiring, &error, socket);
            }
            match veth {
                // An end's name or an index is taken.
                Some(ErrorKind::Exists | ErrorKind::Busy) => {}
                _ => return Err(failed(&wiring.object, &error)),
            }
            if !remove_stale(wiring, socket)? {
                refuse_taken_name(wiring, inside)?;
                index = None;
            }
        }
        let message =
            format!("{} cannot be made: its name or index is always taken", wiring.host_if);
        Err(DatapathError::new(DatapathErrorKind::Other, &wiring.object, message))
    }

    /// The rest of the host's batch for a pair with indexes of the kernel's choice: both ends have to
    /// be looked up.
    fn finish_host(
        &self,
        wiring: &Wiring,
        socket: &mut Socket,
        inside: &mut Socket,
    ) -> Result<Ends, DatapathError> {
        let host = index_of(socket, &wiring.host_if).map_err(|e| failed(&wiring.object, &e))?;
        let routes = self.with_fault(wiring.host_routes(host).into_iter().collect(), 1);
        let rest = index_of(inside, &wiring.pod_if)
            .and_then(|pod| socket.run(&routes).map(|()| Ends { host, pod }));
        rest.map_err(|e| {
            let undone = socket.request(delete_link(host));
            also(failed(&wiring.object, &e), undone.err())
        })
    }

    /// What is left once there is a pair: one send in the pod's namespace.
    fn finish(
        &self,
        wiring: &Wiring,
        ends: Ends,
        inside: &mut Socket,
    ) -> Result<(), DatapathError> {
        self.inside(|| sysctl::harden_host_veth(&wiring.host_if))
            .map_err(|e| netns_failed(&wiring.object, &e))?
            .map_err(|e| {
                let message = format!("IPv6 settings of {}: {e}", wiring.host_if);
                DatapathError::new(DatapathErrorKind::Other, &wiring.object, message)
            })?;
        let batch = self.with_fault(wiring.pod_batch(ends.pod), wiring.host_batch().len());
        inside.run(&batch).map_err(|e| failed(&wiring.object, &e))
    }

    #[cfg(not(feature = "testkit"))]
    fn with_fault(&self, batch: Batch, _offset: usize) -> Batch {
        batch
    }

    #[cfg(feature = "testkit")]
    fn with_fault(&self, batch: Batch, offset: usize) -> Batch {
        let fault = lock(&self.fault).and_then(|nth| nth.checked_sub(offset));
        let refused = LinkChange::of_index(i32::MAX.unsigned_abs()).up().request();
        let requests = batch.requests().iter().cloned().enumerate();
        requests
            .map(|(n, request)| if Some(n) == fault { refused.clone() } else { request })
            .collect()
    }

    /// Makes the `nth` message of wiring a pod fail, counted from 0; there are nine. For tests of what
    /// a failure leaves behind.
    #[cfg(feature = "testkit")]
    pub fn inject_fault(&self, nth: Option<usize>) {
        *lock(&self.fault) = nth;
    }

    pub(super) fn unwire_pod(&self, pod: &PodTeardown) -> Result<(), DatapathError> {
        let object = object(&pod.pod);
        let prefix = VethPrefix::new(&pod.veth_prefix)
            .map_err(|e| DatapathError::new(DatapathErrorKind::Other, &object, e.to_string()))?;
        let host_if = prefix.host_name(&pod.pod, 0);
        let mut socket = lock(&self.route);
        let errors: Vec<_> = pod
            .addresses
            .iter()
            .filter_map(|a| unwire_address(&mut socket, &pod.pod, &host_if, a.ip).err())
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(failed_all(&object, &errors)) }
    }
}

fn index_of(socket: &mut Socket, name: &str) -> Result<u32, NetlinkError> {
    let link = socket.link_by_name(name)?;
    link.map(|l| l.index).ok_or_else(|| NetlinkError::Malformed {
        what: "link",
        why: format!("{name} vanished right after it was made"),
    })
}

/// Undoes the host's batch, which failed with `error`. The routes are undone by themselves if the pair
/// was not made: then they may have gone to a leftover that has the index.
fn undo_host(wiring: &Wiring, error: &NetlinkError, socket: &mut Socket) {
    let veth_made = match error {
        NetlinkError::Refused(all) => all.iter().all(|r| r.index != 0),
        // Nobody knows what was done, and the index may be another link's.
        _ => matches!(socket.link_by_name(&wiring.host_if), Ok(Some(l)) if l.index == wiring.index),
    };
    let [pods, main] = pod_routes(wiring.ip, wiring.index);
    let mut batch = Batch::from_iter([pods.delete(), main.delete()]);
    if veth_made {
        batch.push(delete_link(wiring.index));
    }
    // What was not made cannot be undone, and nothing can be done about the rest.
    let _ = socket.run(&batch);
}

/// Removes the link that has the host end's name: a pod's that went, or an earlier attempt's. False if
/// there is none.
fn remove_stale(wiring: &Wiring, socket: &mut Socket) -> Result<bool, DatapathError> {
    let fail = |e: NetlinkError| failed(&wiring.object, &e);
    let Some(link) = socket.link_by_name(&wiring.host_if).map_err(fail)? else { return Ok(false) };
    if link.kind.as_deref() != Some("veth") {
        let kind = link.kind.unwrap_or_else(|| "hardware".to_owned());
        let message = format!(
            "{} is the name of a {kind} device that is not ours; rename it or change the veth prefix",
            wiring.host_if
        );
        return Err(DatapathError::new(DatapathErrorKind::Other, &wiring.object, message));
    }
    match socket.request(delete_link(link.index)) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(true),
        other => other.map(|()| true).map_err(fail),
    }
}

/// An interface that somebody else made in the pod under our name is not ours to remove.
fn refuse_taken_name(wiring: &Wiring, inside: &mut Socket) -> Result<(), DatapathError> {
    let taken = inside.link_by_name(&wiring.pod_if).map_err(|e| failed(&wiring.object, &e))?;
    if taken.is_none() {
        return Ok(());
    }
    let message = format!(
        "the pod's network namespace {} has an interface {} already; it was wired before or belongs \
         to another plugin",
        wiring.netns.path().display(),
        wiring.pod_if
    );
    Err(DatapathError::new(DatapathErrorKind::Other, &wiring.object, message))
}

fn also(mut error: DatapathError, undo: Option<NetlinkError>) -> DatapathError {
    if let Some(undo) = undo {
        error.message = format!("{}; undoing it failed too: {undo}", error.message);
    }
    error
}

/// One send, if the pair is the one that we made for this pod with this address.
fn unwire_address(
    socket: &mut Socket,
    pod: &PodRef,
    host_if: &str,
    ip: IpAddr,
) -> Result<(), NetlinkError> {
    let mut refusals = match socket.run(&teardown_batch(pod, host_if, ip)) {
        Ok(()) => Vec::new(),
        Err(NetlinkError::Refused(all)) => all,
        Err(e) => return Err(e),
    };
    let refused = |n: usize| refusals.iter().any(|r| r.index == n);
    let up_still = refused(TEARDOWN_LINK);
    let had_route = TEARDOWN_ROUTES.into_iter().any(|n| !refused(n));
    let rules_removed: Vec<_> =
        TEARDOWN_RULES.zip(classic_rules(ip)).filter(|(n, _)| !refused(*n)).collect();
    refusals.retain(|r| r.index != TEARDOWN_LINK && r.kind() != ErrorKind::NotFound);
    for (_, rule) in rules_removed {
        for _ in 0..DUPLICATES_MAX {
            if socket.request(rule.delete()).is_err() {
                break;
            }
        }
    }
    if up_still && had_route {
        // The link with the index had the address, so it is the pod's.
        set_down(socket, link_index(pod, ip))?;
    } else if up_still {
        unwire_by_name(socket, host_if, ip)?;
    }
    if refusals.is_empty() { Ok(()) } else { Err(NetlinkError::Refused(refusals)) }
}

/// For pods that were wired with other indexes: by older code, or because theirs was taken. The host
/// end has the pod's name, but only a route to the address says that it is this sandbox's and not that
/// of a pod that came after it under the same name.
fn unwire_by_name(socket: &mut Socket, host_if: &str, ip: IpAddr) -> Result<(), NetlinkError> {
    let Some(link) = socket.link_by_name(host_if)? else { return Ok(()) };
    let mut mine = false;
    for route in pod_routes(ip, link.index) {
        let filter = RouteFilter { table: Some(route.table), dev: Some(link.index) };
        mine |= socket.routes(true, filter)?.iter().any(|r| r.dst == route.dst);
    }
    if mine { set_down(socket, link.index) } else { Ok(()) }
}

/// The link's routes go with it.
fn set_down(socket: &mut Socket, index: u32) -> Result<(), NetlinkError> {
    match socket.request(LinkChange::of_index(index).down().request()) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
