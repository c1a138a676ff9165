//! DEL: the kernel forgets the pod, the daemon gets the address back. What is gone already is a success.

use vpc_ipam_core::datapath::{PodAddress, PodTeardown};

use super::{Call, allocation::address, wired::Wired};
use crate::{
    backend::BackendError,
    lock::WiringLock,
    protocol::{CniError, Code},
    rpc::{CLIENT_VERSION, DelNetworkReply, DelNetworkRequest, REASON_POD_DELETED},
};

pub(super) fn del(call: &Call<'_>) -> Result<(), CniError> {
    let previous = call.conf.prev_result.as_ref().map(|r| Wired::read(r, &call.invocation.if_name));
    if let Some(Wired::Branch { .. }) = previous {
        return branch(call);
    }
    match call.backend.del_network(call.socket, request(call)) {
        Ok(reply) if reply.pod_vlan_id != 0 => branch(call),
        Ok(reply) if reply.success => {
            let addresses = usable(call, &reply);
            if addresses.is_empty() {
                forgotten(call, previous);
                return Ok(());
            }
            tear_down(call, addresses)
        }
        Ok(_) => Err(CniError::new(
            Code::TryAgainLater,
            format!("the daemon did not release the address of pod {}", call.pod),
            "its log says why",
        )),
        Err(e) => {
            without_daemon(call, &e);
            forgotten(call, previous);
            Ok(())
        }
    }
}

fn request(call: &Call<'_>) -> DelNetworkRequest {
    DelNetworkRequest {
        k8s_pod_name: call.pod.name.clone(),
        k8s_pod_namespace: call.pod.namespace.clone(),
        k8s_pod_infra_container_id: call.args.infra_container_id.clone(),
        reason: REASON_POD_DELETED.to_owned(),
        if_name: call.invocation.if_name.clone(),
        network_name: call.conf.name.clone(),
        container_id: call.invocation.container_id.clone(),
        client_version: CLIENT_VERSION.to_owned(),
        k8s_pod_uid: call.args.pod_uid.clone(),
    }
}

/// A repeated DEL comes without a namespace, and must not touch a successor's VLAN link.
fn branch(call: &Call<'_>) -> Result<(), CniError> {
    if call.invocation.netns.is_none() {
        return Ok(());
    }
    Err(CniError::new(
        Code::Plugin,
        format!("cannot unwire pod {}", call.pod),
        "it has a branch ENI, which this release does not unwire; the plugin that wired it can",
    ))
}

fn usable(call: &Call<'_>, reply: &DelNetworkReply) -> Vec<PodAddress> {
    let mut addresses = Vec::new();
    for allocation in &reply.ip_allocation_metadata {
        match address(allocation) {
            Ok(address) => addresses.push(address),
            Err(e) => {
                let (reply, e) = (format!("{allocation:?}"), e.to_string());
                let fields = [("allocation", reply.as_str()), ("error", e.as_str())];
                call.log.warn("unusable address in the daemon's reply", &call.fields(&fields));
            }
        }
    }
    addresses
}

/// Nobody listens, or nobody knows the sandbox: the runtime may not try again, so DEL goes on. The
/// daemon finds out for itself which of its addresses are in use.
fn without_daemon(call: &Call<'_>, e: &BackendError) {
    let error = e.to_string();
    let fields = call.fields(&[("error", &error)]);
    match e {
        BackendError::UnknownPod => call.log.info("the daemon knows no such sandbox", &fields),
        _ => call.log.warn("no answer from the daemon, going on without it", &fields),
    }
}

/// Removes what the previous result remembers. A failure is logged and no more: whoever asks is told
/// that the sandbox is gone, which it is.
fn forgotten(call: &Call<'_>, previous: Option<Wired>) {
    match previous {
        Some(Wired::Normal(addresses)) if !addresses.is_empty() => {
            if let Err(e) = tear_down(call, addresses) {
                call.log.error("unwiring failed", &call.fields(&[("error", &e.to_string())]));
            }
        }
        Some(Wired::Unknown(reason)) => {
            call.log.info("nothing to unwire in prevResult", &call.fields(&[("reason", reason)]));
        }
        _ => call.log.debug("nothing to unwire", &call.fields(&[])),
    }
}

fn tear_down(call: &Call<'_>, addresses: Vec<PodAddress>) -> Result<(), CniError> {
    let pod = PodTeardown {
        pod: call.pod.clone(),
        veth_prefix: call.conf.veth_prefix.clone(),
        addresses,
    };
    let _turn = WiringLock::acquire(call.socket);
    call.datapath.tear_down_pod(&pod).map_err(|e| {
        CniError::new(Code::Plugin, format!("cannot unwire pod {}", call.pod), e.to_string())
    })
}
