//! What people and Prometheus read.

use crate::node::{Scene, run};

#[test]
fn introspection_shows_the_pool_and_the_settings() {
    run(async {
        let scene = Scene::new().env("AWS_VPC_K8S_CNI_RANDOMIZESNAT", "hashrandom");
        let node = scene.start();
        node.add("a").await.unwrap();
        let (code, head, body) = node.get("/v1/enis").await;
        assert_eq!(code, 200);
        assert!(head.contains("content-type: application/json"), "{head}");
        assert!(body.contains("\"k8sPodName\":\"pod-a\""), "{body}");
        assert!(!body.contains("\"containerID\":\"a\""), "a DEL can be forged from this: {body}");
        let enis = node.json("/v1/enis").await;
        assert_eq!(enis["0"]["AssignedIPs"], 1);

        let settings = node.json("/v1/ipamd-env-settings").await;
        assert_eq!(settings["WARM_IP_TARGET"], 2);
        let settings = node.json("/v1/networkutils-env-settings").await;
        assert_eq!(settings["AWS_VPC_K8S_CNI_RANDOMIZESNAT"], 1);
        assert_eq!(settings["AWS_VPC_ENI_MTU"], 9001);
        assert!(settings["AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS"].is_null());

        let commands = node.json("/no/such/page").await["AvailableCommands"].clone();
        for path in commands.as_array().unwrap() {
            let (code, ..) = node.get(path.as_str().unwrap()).await;
            assert_eq!(code, 200, "{path}");
        }
    });
}

#[test]
fn metrics_count_what_happens() {
    run(async {
        let node = Scene::new().start();
        node.ready().await;
        node.add("a").await.unwrap();
        node.del("a").await.unwrap();
        node.del("a").await.unwrap_err();
        let (code, head, page) = node.metrics().await;
        assert_eq!(code, 200);
        assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
        for line in [
            "# TYPE awscni_add_ip_req_count counter",
            "awscni_add_ip_req_count 1",
            "awscni_del_ip_req_count{reason=\"PodDeleted\"} 2",
            "awscni_assigned_ip_addresses 0",
            "awscni_eni_allocated 1",
            "awscni_eni_max 3",
            "vpc_cni_ready 1",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
    });
}

#[test]
fn what_is_disabled_does_not_listen() {
    run(async {
        let scene = Scene::new().env("DISABLE_INTROSPECTION", "true");
        let node = scene.start();
        node.ready().await;
        let beside = node.socket().with_file_name("introspection.sock");
        assert!(!beside.exists());
    });
}
