//! `rpc.CNIBackend` and `rpc.ConfigServerBackend`, as the plugin and the policy agent call them.

use std::{net::IpAddr, sync::Arc};

use tonic::{Request, Response, Status};
use vpc_cni_plugin::rpc::{
    self, AddNetworkReply, AddNetworkRequest, DelNetworkReply, DelNetworkRequest,
    IpAllocationMetadata, NetworkPolicyAgentConfigReply, cni_backend_server::CniBackend,
    config_server_backend_server::ConfigServerBackend,
};
use vpc_ipam_core::{
    id::{IdError, PodRef, SandboxKey},
    pool::{AssignError, Assignment},
};

use crate::{
    handle::{Handle, HandleError},
    settings::Settings,
    telemetry::{Counter, Counters},
};

/// Serves both services.
#[derive(Clone, Debug)]
pub(crate) struct Grpc {
    pub handle: Handle,
    pub settings: Arc<Settings>,
    pub counters: Arc<Counters>,
}

#[tonic::async_trait]
impl CniBackend for Grpc {
    /// Everything that can fail without the pool is done before the pool is asked, so no failure
    /// leaves an address behind. Whoever goes away while waiting gets his address released; one
    /// that is lost on the last inches of the socket is released by the runtime's DEL.
    async fn add_network(
        &self,
        request: Request<AddNetworkRequest>,
    ) -> Result<Response<AddNetworkReply>, Status> {
        let request = request.into_inner();
        self.counters.add(Counter::AddRequests, "");
        check_version(&request.client_version)?;
        if request.requires_multi_nic_attachment {
            // Not FailedPrecondition: plugins read that as a version that does not match, yet.
            return Err(Status::unimplemented(
                "the pod asks for one interface per network card, which this version does not do; \
                 remove its annotation k8s.amazonaws.com/nicConfig",
            ));
        }
        let key = key(&request.network_name, &request.container_id, &request.if_name)?;
        let pod = PodRef { namespace: request.k8s_pod_namespace, name: request.k8s_pod_name };
        let facts = self.handle.identity().await.map_err(status)?;
        let added = self.handle.add(key.clone(), pod.clone()).await;
        let assignment = added.map_err(|e| {
            tracing::warn!(sandbox = %key, %pod, error = %e, "ADD failed");
            status(e)
        })?;
        tracing::info!(sandbox = %key, %pod, ip = %assignment.ip, device = assignment.device, "ADD");
        let excluded: &[_] =
            if self.settings.external_snat { &[] } else { &self.settings.exclude_snat_cidrs };
        Ok(Response::new(AddNetworkReply {
            success: true,
            ip_allocation_metadata: vec![metadata(&assignment)?],
            use_external_snat: self.settings.external_snat,
            vpc_v4_cidrs: facts.vpc_cidrs.iter().chain(excluded).map(ToString::to_string).collect(),
            ..Default::default()
        }))
    }

    async fn del_network(
        &self,
        request: Request<DelNetworkRequest>,
    ) -> Result<Response<DelNetworkReply>, Status> {
        let request = request.into_inner();
        self.counters.add(Counter::DelRequests, reason(&request.reason));
        check_version(&request.client_version)?;
        let key = key(&request.network_name, &request.container_id, &request.if_name)?;
        match self.handle.del(key.clone()).await {
            Ok(Some(freed)) => {
                tracing::info!(sandbox = %key, ip = %freed.ip, reason = request.reason, "DEL");
                Ok(Response::new(DelNetworkReply {
                    success: true,
                    ip_allocation_metadata: vec![metadata(&freed)?],
                    ..Default::default()
                }))
            }
            Ok(None) => {
                tracing::debug!(sandbox = %key, "DEL of a sandbox that holds no address");
                Err(Status::unknown(rpc::UNKNOWN_POD))
            }
            Err(HandleError::Pool(error)) => {
                // To the plugin an error status means that nobody knows better than to go on. This
                // answer makes it fail, and so the runtime repeat the DEL.
                tracing::warn!(sandbox = %key, %error, "DEL failed");
                Ok(Response::new(DelNetworkReply::default()))
            }
            Err(e) => {
                tracing::warn!(sandbox = %key, error = %e, "DEL failed");
                Err(status(e))
            }
        }
    }
}

#[tonic::async_trait]
impl ConfigServerBackend for Grpc {
    async fn get_network_policy_configs(
        &self,
        _: Request<()>,
    ) -> Result<Response<NetworkPolicyAgentConfigReply>, Status> {
        let mut reply = NetworkPolicyAgentConfigReply::default();
        // Fields of an unknown node stay empty: the agent asks again.
        if let Ok(facts) = self.handle.identity_now() {
            reply.node_ipv4 = facts.primary_ip.to_string();
            reply.instance_id = facts.instance.to_string();
            reply.region.clone_from(&facts.region);
        }
        Ok(Response::new(reply))
    }
}

fn check_version(client: &str) -> Result<(), Status> {
    if rpc::accepts_client(client) {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "the plugin is version {client:?} and the daemon {:?}; install the plugin that came with \
         the daemon",
        rpc::CLIENT_VERSION
    )))
}

fn key(network: &str, container_id: &str, if_name: &str) -> Result<SandboxKey, Status> {
    SandboxKey::new(network, container_id, if_name)
        .map_err(|e: IdError| Status::invalid_argument(e.to_string()))
}

fn metadata(assignment: &Assignment) -> Result<IpAllocationMetadata, Status> {
    let number = |n: u32| {
        i32::try_from(n).map_err(|_| Status::internal(format!("number {n} does not fit the reply")))
    };
    let (ipv4_addr, ipv6_addr) = match assignment.ip {
        IpAddr::V4(ip) => (ip.to_string(), String::new()),
        IpAddr::V6(ip) => (String::new(), ip.to_string()),
    };
    Ok(IpAllocationMetadata {
        ipv4_addr,
        ipv6_addr,
        device_number: number(assignment.device)?,
        route_table_id: number(assignment.table)?,
    })
}

fn status(error: HandleError) -> Status {
    let text = error.to_string();
    match error {
        HandleError::Pool(AssignError::NoAddress(_) | AssignError::QueueFull(_)) => {
            Status::resource_exhausted(text)
        }
        HandleError::Pool(AssignError::Released) => Status::aborted(text),
        HandleError::Pool(_) => Status::internal(text),
        HandleError::Stopping | HandleError::Unidentified(_) => Status::unavailable(text),
    }
}

/// The caller's reason out of the known ones: it becomes the label of a metric.
fn reason(text: &str) -> &'static str {
    [rpc::REASON_POD_DELETED, rpc::REASON_SETUP_FAILED]
        .into_iter()
        .find(|known| *known == text)
        .unwrap_or("other")
}
