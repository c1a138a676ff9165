//! Pods as kubelet starts and ends them, over the plugin's protocol.

use std::{net::IpAddr, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::time::{sleep, timeout};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use vpc_cni_plugin::rpc::{
    AddNetworkReply, AddNetworkRequest, CLIENT_VERSION, DelNetworkReply, DelNetworkRequest,
    cni_backend_client::CniBackendClient,
};
use vpc_ipam_core::id::SandboxKey;

use super::node::Socket;

/// The plugin's patience.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two sandboxes of one pod: kubelet looks at its pods about so often.
const RETRY: Duration = Duration::from_secs(5);
/// Sandboxes that kubelet tries; the real one goes on for ever.
const TRIES: u32 = 400;

const NETWORK: &str = "aws-cni";
const IF_NAME: &str = "eth0";

/// What became of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    /// The sandbox that it has in the end.
    pub(crate) key: SandboxKey,
    pub(crate) ip: IpAddr,
    /// What the daemon said to the tries before.
    pub(crate) refusals: Vec<String>,
}

/// Starts a pod, and tries again with another sandbox for as long as that fails.
pub(super) async fn start(socket: Socket, name: String) -> Started {
    let mut refusals = Vec::new();
    for n in 0..TRIES {
        let id = format!("{name}-{n}");
        match add(&socket, &id).await {
            Ok(ip) => {
                let key = SandboxKey::new(NETWORK, &id, IF_NAME).unwrap();
                return Started { key, ip, refusals };
            }
            Err(status) => refusals.push(status.message().to_owned()),
        }
        // The runtime takes down what it could not set up.
        let _ = del(&socket, &id).await;
        sleep(RETRY).await;
    }
    panic!("{name} never got an address: {refusals:#?}");
}

/// One ADD.
pub(super) async fn add(socket: &Socket, id: &str) -> Result<IpAddr, Status> {
    let reply = match timeout(DEADLINE, call_add(socket, id)).await {
        Ok(reply) => reply?,
        Err(_) => return Err(Status::deadline_exceeded("the plugin gave up")),
    };
    assert!(reply.success, "neither an address nor an error: {reply:?}");
    Ok(reply.ip_allocation_metadata[0].ipv4_addr.parse().unwrap())
}

/// One DEL, which must succeed, or be of a sandbox that is not known.
pub(super) async fn del(socket: &Socket, id: &str) -> Result<(), Status> {
    let reply: Result<DelNetworkReply, Status> = match timeout(DEADLINE, call_del(socket, id)).await
    {
        Ok(reply) => reply,
        Err(_) => return Err(Status::deadline_exceeded("the plugin gave up")),
    };
    match reply {
        Ok(reply) if reply.success => Ok(()),
        Ok(_) => Err(Status::internal("refused")),
        Err(status) if status.code() == Code::Unknown => Ok(()),
        Err(status) => Err(status),
    }
}

async fn call_add(socket: &Socket, id: &str) -> Result<AddNetworkReply, Status> {
    let request = AddNetworkRequest {
        k8s_pod_name: format!("pod-{id}"),
        k8s_pod_namespace: "shop".to_owned(),
        k8s_pod_infra_container_id: id.to_owned(),
        netns: "/run/netns/x".to_owned(),
        if_name: IF_NAME.to_owned(),
        network_name: NETWORK.to_owned(),
        container_id: id.to_owned(),
        client_version: CLIENT_VERSION.to_owned(),
        requires_multi_nic_attachment: false,
    };
    let mut client = CniBackendClient::new(channel(socket).await?);
    client.add_network(request).await.map(tonic::Response::into_inner)
}

async fn call_del(socket: &Socket, id: &str) -> Result<DelNetworkReply, Status> {
    let request = DelNetworkRequest {
        reason: "PodDeleted".to_owned(),
        if_name: IF_NAME.to_owned(),
        network_name: NETWORK.to_owned(),
        container_id: id.to_owned(),
        client_version: CLIENT_VERSION.to_owned(),
        ..DelNetworkRequest::default()
    };
    let mut client = CniBackendClient::new(channel(socket).await?);
    client.del_network(request).await.map(tonic::Response::into_inner)
}

async fn channel(socket: &Socket) -> Result<Channel, Status> {
    let away = |error: &dyn ToString| Status::unavailable(error.to_string());
    let stream = socket.connect().await.ok_or_else(|| away(&"no daemon"))?;
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        let stream = stream.take().ok_or_else(|| std::io::Error::other("one connection"));
        async move { stream }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await.map_err(|e| away(&e))
}
