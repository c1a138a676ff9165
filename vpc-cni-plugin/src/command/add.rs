//! ADD: an address from the daemon, a veth pair from the kernel.

use std::{fs, os::unix::fs::MetadataExt};

use vpc_ipam_core::datapath::{PodAddress, PodSpec};

use super::{
    Call,
    allocation::{self, address},
    wired,
};
use crate::{
    backend::BackendError,
    lock::WiringLock,
    protocol::{CniError, CniResult, Code},
    rpc::{
        AddNetworkReply, AddNetworkRequest, CLIENT_VERSION, DelNetworkRequest,
        IpAllocationMetadata, REASON_SETUP_FAILED,
    },
};

pub(super) fn add(call: &Call<'_>) -> Result<CniResult, CniError> {
    let netns = call.invocation.netns.as_deref().unwrap_or_default();
    guard(call, netns)?;
    let reply = call
        .backend
        .add_network(call.socket, request(call, netns))
        .map_err(|e| no_reply(call, &e))?;
    if !reply.success {
        return Err(CniError::new(
            Code::TryAgainLater,
            format!("the daemon has no address for pod {}", call.pod),
            "all addresses of the node are in use, or it is waiting for EC2; the daemon's log and \
             http://localhost:61679/v1/enis say which",
        ));
    }
    call.log.debug("address assigned", &call.fields(&[("reply", &format!("{reply:?}"))]));
    // From here on the daemon holds an address for this sandbox, which no failure may strand.
    wire(call, netns, &reply).inspect_err(|_| give_back(call))
}

/// Refuses what would break other pods or the node itself.
fn guard(call: &Call<'_>, netns: &str) -> Result<(), CniError> {
    if call.pod.name.is_empty() || call.pod.namespace.is_empty() {
        return Err(CniError::new(
            Code::InvalidEnvironment,
            "CNI_ARGS has no K8S_POD_NAME and K8S_POD_NAMESPACE",
            "the host interface is named after the pod, so two pods without a name would take each \
             other's; set CNI_ARGS=\"K8S_POD_NAMESPACE=…;K8S_POD_NAME=…\"",
        ));
    }
    if !call.invocation.netns_override && is_own_netns(netns) {
        return Err(CniError::new(
            Code::OwnNetns,
            format!("CNI_NETNS {netns} is the plugin's own network namespace"),
            "wiring it would take the node's own routes; pods with hostNetwork need no plugin",
        ));
    }
    Ok(())
}

fn is_own_netns(path: &str) -> bool {
    let id = |path: &str| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    id("/proc/self/ns/net").is_some_and(|own| id(path) == Some(own))
}

fn request(call: &Call<'_>, netns: &str) -> AddNetworkRequest {
    AddNetworkRequest {
        k8s_pod_name: call.pod.name.clone(),
        k8s_pod_namespace: call.pod.namespace.clone(),
        k8s_pod_infra_container_id: call.args.infra_container_id.clone(),
        netns: netns.to_owned(),
        if_name: call.invocation.if_name.clone(),
        network_name: call.conf.name.clone(),
        container_id: call.invocation.container_id.clone(),
        client_version: CLIENT_VERSION.to_owned(),
        requires_multi_nic_attachment: call.conf.wants_multi_nic(),
    }
}

fn no_reply(call: &Call<'_>, e: &BackendError) -> CniError {
    let code = if e.is_transient() { Code::TryAgainLater } else { Code::Plugin };
    CniError::new(code, format!("no address for pod {}", call.pod), e.to_string())
}

fn wire(call: &Call<'_>, netns: &str, reply: &AddNetworkReply) -> Result<CniResult, CniError> {
    let (allocation, address) = wireable(call, reply)?;
    let spec = PodSpec {
        pod: call.pod.clone(),
        netns: netns.into(),
        if_name: call.invocation.if_name.clone(),
        veth_prefix: call.conf.veth_prefix.clone(),
        addresses: vec![address.clone()],
        mtu: call.conf.mtu,
    };
    let wiring = {
        let _turn = WiringLock::acquire(call.socket);
        call.datapath.set_up_pod(&spec)
    };
    let wiring = wiring.map_err(|e| {
        CniError::new(Code::Plugin, format!("cannot wire pod {}", call.pod), e.to_string())
    })?;
    Ok(wired::result(
        &call.invocation.if_name,
        netns,
        &call.conf.veth_prefix,
        &wiring,
        allocation,
        &address,
    ))
}

/// The one allocation of a reply that this release can wire.
fn wireable<'r>(
    call: &Call<'_>,
    reply: &'r AddNetworkReply,
) -> Result<(&'r IpAllocationMetadata, PodAddress), CniError> {
    let refuse = |details: &str| {
        Err(CniError::new(Code::Plugin, format!("cannot wire pod {}", call.pod), details))
    };
    if reply.pod_vlan_id != 0 {
        return refuse(
            "it has a branch ENI, which this release does not wire; unset ENABLE_POD_ENI",
        );
    }
    if !reply.network_policy_mode.is_empty() {
        // To start the pod with the policy unenforced would be worse than not to start it.
        return refuse(
            "the daemon wants network policy enforced, and this release does not call the policy \
             agent; unset NETWORK_POLICY_ENFORCING_MODE",
        );
    }
    let allocation = match reply.ip_allocation_metadata.as_slice() {
        [one] => one,
        [] => return Err(no_address(call, "the daemon's reply has no allocation")),
        _ => return refuse("it has several addresses, and this release wires one interface"),
    };
    match address(allocation) {
        Ok(address) => Ok((allocation, address)),
        Err(e @ allocation::AllocationError::Empty) => {
            Err(no_address(call, &format!("the daemon's allocation cannot be wired: {e}")))
        }
        Err(e) => refuse(&format!("the daemon's allocation cannot be wired: {e}")),
    }
}

fn no_address(call: &Call<'_>, details: &str) -> CniError {
    CniError::new(Code::TryAgainLater, format!("no address for pod {}", call.pod), details)
}

/// Returns the address of a pod that could not be wired. If that fails too, the runtime's DEL does it.
fn give_back(call: &Call<'_>) {
    let request = DelNetworkRequest {
        k8s_pod_name: call.pod.name.clone(),
        k8s_pod_namespace: call.pod.namespace.clone(),
        k8s_pod_infra_container_id: call.args.infra_container_id.clone(),
        reason: REASON_SETUP_FAILED.to_owned(),
        if_name: call.invocation.if_name.clone(),
        network_name: call.conf.name.clone(),
        container_id: call.invocation.container_id.clone(),
        client_version: CLIENT_VERSION.to_owned(),
        k8s_pod_uid: String::new(),
    };
    match call.backend.del_network(call.socket, request) {
        Ok(reply) if reply.success => call.log.info("address given back", &call.fields(&[])),
        Err(BackendError::UnknownPod) => {
            call.log.info("no address to give back", &call.fields(&[]));
        }
        Ok(_) => call.log.warn("the daemon did not take the address back", &call.fields(&[])),
        Err(e) => call
            .log
            .warn("cannot give the address back", &call.fields(&[("error", &e.to_string())])),
    }
}
