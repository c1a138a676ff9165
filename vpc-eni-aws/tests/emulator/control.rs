//! The control endpoint.

use serde_json::{Value, json};

use super::*;

impl Bed {
    async fn control(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let reply = self.at(method, &format!("/_control/{path}"), body).await;
        (reply.status, serde_json::from_str(&reply.body).unwrap_or(Value::Null))
    }

    async fn change(&self, change: Value) -> Value {
        let body = json!({ "changes": [change] }).to_string();
        let (status, answer) = self.control("POST", "world", &body).await;
        assert_eq!(status, 200, "{answer}");
        answer["done"][0]["id"].clone()
    }
}

#[tokio::test]
async fn the_state_is_all_there_is() {
    let bed = Bed::plain();
    bed.ok("DescribeTags", "").await;
    let (status, state) = bed.control("GET", "state", "").await;
    assert_eq!(status, 200);
    assert_eq!(state["region"], "us-west-2");
    assert_eq!(state["calls"], json!({ "DescribeTags": 1 }));
    assert_eq!(state["subnets"][0]["free_addresses"], 256 - 5 - 1);
    assert_eq!(state["subnets"][0]["free_prefixes"], 14);
    let eni = &state["enis"][0];
    assert_eq!(eni["primary_ip"], "10.0.0.4");
    assert_eq!(eni["attachment"]["instance"], bed.instance.as_str());
    assert_eq!(state["instances"][0]["enis"], json!([eni["id"]]));
}

#[tokio::test]
async fn faults_come_and_go() {
    let bed = Bed::plain();
    let toml = "[[ec2]]\naction = \"DescribeTags\"\nerror = \"Blocked\"\ntimes = 2";
    let (status, faults) = bed.control("POST", "faults", toml).await;
    assert_eq!((status, faults[0]["times_left"].as_u64()), (200, Some(2)), "{faults}");
    bed.refused("DescribeTags", "", 400, "Blocked").await;
    let (_, faults) = bed.control("GET", "faults", "").await;
    assert_eq!(faults[0]["what"], "DescribeTags: refused with Blocked");
    assert_eq!(faults[0]["times_left"], 1);
    assert_eq!(bed.control("DELETE", "faults", "").await.0, 204);
    bed.ok("DescribeTags", "").await;

    let json = json!({ "imds": [{ "path": "/latest/meta-data/mac", "status": 404 }] }).to_string();
    assert_eq!(bed.control("POST", "faults", &json).await.0, 200);
    assert_eq!(bed.meta("mac").await, None);

    for bad in ["[[ec2]]\ncolour = 1", "{\"ec2\": 1}", "no toml"] {
        let (status, answer) = bed.control("POST", "faults", bad).await;
        assert_eq!(status, 400, "{bad}");
        assert!(answer["error"].as_str().unwrap().starts_with("request:"), "{answer}");
    }
}

#[tokio::test]
async fn others_change_the_world() {
    let bed = Bed::plain();
    bed.change(json!({ "do": "add_vpc_cidr", "cidr": "100.64.0.0/16" })).await;
    let path = format!("network/interfaces/macs/{}/", bed.mac());
    let cidrs = bed.meta(&format!("{path}vpc-ipv4-cidr-blocks")).await.unwrap();
    assert_eq!(cidrs, "10.0.0.0/16\n100.64.0.0/16");

    let group = bed.change(json!({ "do": "add_security_group", "name": "web" })).await;
    let eni = bed.primary();
    bed.change(json!({ "do": "set_groups", "eni": eni, "groups": [group] })).await;
    assert_eq!(
        bed.meta(&format!("{path}security-group-ids")).await.unwrap(),
        group.as_str().unwrap()
    );

    let orphan = bed
        .change(json!({
            "do": "create_eni", "subnet": bed.subnet(), "description": "aws-K8S-i-gone",
            "tags": { "node.k8s.amazonaws.com/instance_id": "i-gone" }, "created": "10m",
        }))
        .await;
    let rest = "Filter.1.Name=status&Filter.1.Value.1=available";
    let xml = bed.ok("DescribeNetworkInterfaces", rest).await;
    assert_eq!(text(&xml, "networkInterfaceId"), orphan.as_str().unwrap());
    assert!(xml.contains("2023-11-14T22:03:20Z"), "{xml}");

    let eni = bed.change(json!({ "do": "create_eni", "instance": bed.instance.as_str() })).await;
    bed.change(json!({ "do": "assign", "eni": eni, "addresses": 1 })).await;
    bed.change(json!({ "do": "detach_eni", "eni": eni })).await;
    bed.change(json!({ "do": "delete_eni", "eni": eni })).await;
    bed.change(json!({ "do": "tag", "resource": bed.subnet(), "tags": { "a": "1", "b": "2" } }))
        .await;
    bed.change(json!({ "do": "untag", "resource": bed.subnet(), "keys": ["a"] })).await;
    bed.change(json!({ "do": "fragment_subnet", "subnet": bed.subnet(), "singles": 20 })).await;
    let state = bed.emulator.state();
    assert_eq!((state.subnets[0].free_addresses, state.subnets[0].free_prefixes), (20, 0));
    assert_eq!(state.subnets[0].tags.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(state.enis.len(), 2);
    assert_eq!(state.calls.values().sum::<u64>(), 1, "what others do is not counted");
}

#[tokio::test]
async fn a_change_that_is_not_possible_says_why_and_what_was_done() {
    let bed = Bed::plain();
    let body = json!({ "changes": [
        { "do": "tag", "resource": bed.subnet(), "tags": { "a": "1" } },
        { "do": "add_vpc_cidr", "cidr": "10.0.0.0/17" },
    ] });
    let (status, answer) = bed.control("POST", "world", &body.to_string()).await;
    assert_eq!(status, 400);
    assert!(
        answer["error"].as_str().unwrap().starts_with("change 2: 10.0.0.0/17 overlaps"),
        "{answer}"
    );
    assert_eq!(answer["done"].as_array().unwrap().len(), 1);
    for bad in [
        json!({ "do": "fly" }),
        json!({ "do": "detach_eni" }),
        json!({ "do": "detach_eni", "eni": "x" }),
        json!({ "do": "detach_eni", "eni": "eni-1", "colour": 1 }),
        json!({ "do": "create_eni", "colour": 1 }),
        json!({ "do": "create_eni", "subnet": bed.subnet(), "created": "yesterday" }),
        json!({ "do": "assign", "eni": bed.primary() }),
        json!({ "do": "assign", "eni": bed.primary(), "addresses": 1, "prefixes": 1 }),
        json!({ "do": "assign", "eni": "eni-gone", "addresses": 1 }),
    ] {
        let body = json!({ "changes": [bad] }).to_string();
        let (status, answer) = bed.control("POST", "world", &body).await;
        assert_eq!(status, 400, "{body}");
        assert!(!answer["error"].as_str().unwrap().is_empty());
    }
}

mod hostile {
    use proptest::prelude::*;

    use super::*;

    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("_control".to_owned()),
            Just("faults".to_owned()),
            Just("latest".to_owned()),
            Just("meta-data".to_owned()),
            Just("network/interfaces/macs".to_owned()),
            "[a-zA-Z0-9._~:@!$'()*+,;=-]{0,8}",
            "%[0-9a-f]{2}",
        ]
    }

    proptest! {
        #[test]
        fn any_path_of_either_server_is_answered(
            parts in prop::collection::vec(part(), 0..6),
            method in prop::sample::select(&["GET", "POST", "PUT", "DELETE"][..]),
            body in "[ -~]{0,40}",
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let bed = Bed::plain();
                bed.emulator.allow_imds_v1(true);
                let path = format!("/{}", parts.join("/"));
                let reply = bed.at(method, &path, &body).await;
                assert!((200..500).contains(&reply.status), "{method} {path}: {}", reply.status);
                let reply = bed.imds(method, &path, &[]).await;
                assert!((200..500).contains(&reply.status), "{method} {path}: {}", reply.status);
                // And the next request is, too.
                bed.ok("DescribeTags", "").await;
            });
        }
    }
}
