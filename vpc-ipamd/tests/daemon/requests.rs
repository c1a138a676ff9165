//! What the plugin asks, and what it is told.

use tonic::Code;
use vpc_cni_plugin::rpc::{
    HEALTH_SERVICE, IpAllocationMetadata, cni_backend_client::CniBackendClient,
    config_server_backend_client::ConfigServerBackendClient,
};
use vpc_ipam_core::checkpoint;

use crate::node::{Scene, add_request, ip, run, until};

#[test]
fn a_pod_gets_an_address_keeps_it_and_gives_it_back() {
    run(async {
        let scene = Scene::new();
        let node = scene.start();
        node.ready().await;
        let reply = node.add("a").await.unwrap();
        assert!(reply.success);
        let IpAllocationMetadata { ipv4_addr, ipv6_addr, device_number, route_table_id } =
            reply.ip_allocation_metadata[0].clone();
        assert!(ipv4_addr.starts_with("10.0.0."), "{ipv4_addr}");
        assert_eq!((ipv6_addr.as_str(), device_number, route_table_id), ("", 0, 254));
        assert_eq!(reply.vpc_v4_cidrs, ["10.0.0.0/16"]);
        assert!(!reply.use_external_snat && reply.network_policy_mode.is_empty());

        assert_eq!(ip(&node.add("a").await.unwrap()), ipv4_addr, "a repeated ADD");
        assert_ne!(ip(&node.add("b").await.unwrap()), ipv4_addr);
        let on_disk = checkpoint::decode(&scene.store.content().unwrap()).unwrap();
        assert_eq!(on_disk.leases.len(), 2);
        assert_eq!(on_disk.leases[0].pod.name, "pod-a");

        let reply = node.del("a").await.unwrap();
        assert!(reply.success);
        assert_eq!(reply.ip_allocation_metadata[0].ipv4_addr, ipv4_addr);
        let error = node.del("a").await.unwrap_err();
        assert_eq!(error.code(), Code::Unknown);
        assert!(error.message().contains("datastore: unknown pod"), "{error}");
    });
}

#[test]
fn many_pods_at_once_get_different_addresses() {
    run(async {
        let scene = Scene::new();
        let node = scene.start();
        node.ready().await;
        let ids: Vec<String> = (0..20).map(|n| format!("pod{n}")).collect();
        let mut tasks = Vec::new();
        for id in &ids {
            let mut client = CniBackendClient::new(node.channel().await);
            let request = add_request(id);
            tasks.push(tokio::spawn(async move { client.add_network(request).await }));
        }
        let mut ips = std::collections::BTreeSet::new();
        for task in tasks {
            ips.insert(ip(&task.await.unwrap().unwrap().into_inner()));
        }
        assert_eq!(ips.len(), ids.len(), "{ips:?}");
        let saves = scene.store.saves();
        assert!(saves < ids.len() as u64 + 2, "{saves} writes for {} pods", ids.len());
    });
}

#[test]
fn the_reply_tells_how_to_translate() {
    run(async {
        let scene = Scene::new().env("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", "192.0.2.0/24");
        let node = scene.start();
        let reply = node.add("a").await.unwrap();
        assert_eq!(reply.vpc_v4_cidrs, ["10.0.0.0/16", "192.0.2.0/24"]);
        let scene = Scene::new()
            .env("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", "192.0.2.0/24")
            .env("AWS_VPC_K8S_CNI_EXTERNALSNAT", "true");
        let node = scene.start();
        let reply = node.add("a").await.unwrap();
        assert!(reply.use_external_snat);
        assert_eq!(reply.vpc_v4_cidrs, ["10.0.0.0/16"]);
    });
}

#[test]
fn what_cannot_be_served_is_refused_before_an_address_is_taken() {
    run(async {
        let node = Scene::new().start();
        node.ready().await;
        let mut client = CniBackendClient::new(node.channel().await);
        let mut request = add_request("a");
        request.client_version = "v0.0.1".to_owned();
        let error = client.add_network(request).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert!(error.message().contains("v0.0.1"), "{error}");
        let mut request = add_request("a");
        request.container_id.clear();
        let error = client.add_network(request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains("container id is empty"), "{error}");
        let mut request = add_request("a");
        request.requires_multi_nic_attachment = true;
        let error = client.add_network(request).await.unwrap_err();
        assert_eq!(error.code(), Code::Unimplemented);
        assert_eq!(node.assigned().await, 0);
        // The reference's plugin carries no version.
        let mut request = add_request("a");
        request.client_version.clear();
        assert!(client.add_network(request).await.unwrap().into_inner().success);
    });
}

#[test]
fn a_full_node_says_so_in_numbers_at_once() {
    run(async {
        let node = Scene::new().env("MAX_PODS", "2").start();
        node.ready().await;
        node.add("a").await.unwrap();
        node.add("b").await.unwrap();
        let error = until("a full node", || async { node.add("c").await.err() }).await;
        assert_eq!(error.code(), Code::ResourceExhausted);
        assert!(error.message().contains('2'), "{error}");
    });
}

#[test]
fn health_and_node_facts_are_served() {
    run(async {
        let node = Scene::new().start();
        node.ready().await;
        assert!(node.serves(HEALTH_SERVICE).await);
        let mut client = ConfigServerBackendClient::new(node.channel().await);
        let facts = client.get_network_policy_configs(()).await.unwrap().into_inner();
        assert_eq!(facts.region, "us-west-2");
        assert!(facts.instance_id.starts_with("i-") && facts.node_ipv4.starts_with("10.0.0."));
    });
}

#[test]
fn a_restarted_daemon_knows_its_pods() {
    run(async {
        let scene = Scene::new();
        let node = scene.start();
        let first = ip(&node.add("a").await.unwrap());
        node.stop().await.unwrap();
        let node = scene.start();
        assert_eq!(ip(&node.add("a").await.unwrap()), first);
        assert_ne!(ip(&node.add("b").await.unwrap()), first);
    });
}
