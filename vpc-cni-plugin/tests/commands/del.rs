//! DEL.

use serde_json::json;
use vpc_cni_plugin::rpc::DelNetworkReply;

use crate::fakes::{
    Daemon, Kernel, Says, allocation, conf, conf_after_add, daemon, env, error, pod_address, run,
    run_with,
};

#[test]
fn del_releases_and_unwires() {
    let (daemon, kernel) = (daemon(), Kernel::default());
    let output = run("DEL", &conf("0.4.0"), &daemon, &kernel);
    assert!(output.success && output.stdout.is_empty(), "{output:?}");
    let dels = daemon.dels.into_inner();
    assert_eq!(dels.len(), 1);
    assert_eq!((dels[0].reason.as_str(), dels[0].k8s_pod_uid.as_str()), ("PodDeleted", "uid-1"));
    assert_eq!((dels[0].container_id.as_str(), dels[0].if_name.as_str()), ("c1", "eth0"));
    let torn_down = kernel.torn_down.into_inner().unwrap();
    assert_eq!(torn_down.len(), 1);
    assert_eq!(torn_down[0].addresses, [pod_address()]);
    assert_eq!(torn_down[0].pod.to_string(), "shop/cart");
}

#[test]
fn del_goes_on_without_the_daemon() {
    for del in [Says::Unreachable, Says::Unknown, Says::Fails] {
        let (daemon, kernel) = (Daemon { del, ..daemon() }, Kernel::default());
        let mut env = env("DEL");
        env.netns = None;
        let output = run_with(&env, &conf_after_add("1.0.0"), &daemon, &kernel);
        assert!(output.success, "{output:?}");
        let torn_down = kernel.torn_down.into_inner().unwrap();
        assert_eq!(torn_down.len(), 1);
        assert_eq!(torn_down[0].addresses, [pod_address()]);
    }
}

#[test]
fn del_of_what_nobody_remembers_is_a_success() {
    for del in [Says::Unreachable, Says::Unknown, Says::Fails] {
        let (daemon, kernel) = (Daemon { del, ..daemon() }, Kernel::default());
        let mut env = env("DEL");
        (env.netns, env.args) = (None, None);
        assert!(run_with(&env, &conf("0.3.1"), &daemon, &kernel).success);
        assert!(kernel.torn_down.into_inner().unwrap().is_empty());
    }
}

#[test]
fn del_without_the_daemon_succeeds_even_if_the_kernel_fails() {
    let daemon = Daemon { del: Says::Unreachable, ..daemon() };
    let kernel = Kernel { broken: true, ..Kernel::default() };
    assert!(run("DEL", &conf_after_add("0.4.0"), &daemon, &kernel).success);
    assert_eq!(kernel.torn_down.into_inner().unwrap().len(), 1);
}

#[test]
fn del_reports_what_the_kernel_could_not_do_and_its_repeat_finishes() {
    let kernel = Kernel { broken: true, ..Kernel::default() };
    let (code, text) = error(&run("DEL", &conf_after_add("0.4.0"), &daemon(), &kernel));
    assert!(code == 999 && text.contains("no such namespace"), "{code} {text}");
    // The daemon has released by now; prevResult still knows what to remove.
    let (daemon, kernel) = (Daemon { del: Says::Unknown, ..daemon() }, Kernel::default());
    assert!(run("DEL", &conf_after_add("0.4.0"), &daemon, &kernel).success);
    assert_eq!(kernel.torn_down.into_inner().unwrap()[0].addresses, [pod_address()]);
}

#[test]
fn del_that_the_daemon_refuses_is_tried_again() {
    let daemon = Daemon { del: Says::Reply(DelNetworkReply::default()), ..daemon() };
    let kernel = Kernel::default();
    assert_eq!(error(&run("DEL", &conf_after_add("1.0.0"), &daemon, &kernel)).0, 11);
    assert!(kernel.torn_down.into_inner().unwrap().is_empty());
}

#[test]
fn del_uses_prev_result_when_the_reply_has_no_usable_address() {
    let mut empty = allocation();
    empty.ipv4_addr.clear();
    let reply = DelNetworkReply {
        success: true,
        ip_allocation_metadata: vec![empty],
        ..DelNetworkReply::default()
    };
    let (daemon, kernel) = (Daemon { del: Says::Reply(reply), ..daemon() }, Kernel::default());
    assert!(run("DEL", &conf_after_add("1.0.0"), &daemon, &kernel).success);
    assert_eq!(kernel.torn_down.into_inner().unwrap()[0].addresses, [pod_address()]);
}

#[test]
fn branch_pods_of_another_plugin_are_left_to_it() {
    let mut conf = conf("0.4.0");
    conf["prevResult"] = json!({"interfaces": [{"name":"vlancc21c2d7785"},
        {"name":"eth0","mac":"0","sandbox":"/ns"}, {"name":"dummycc21c2d7785","mac":"7"}],
        "ips": [{"version":"4","interface":1,"address":"10.0.50.5/32","gateway":"10.0.50.1"}]});
    let (daemon, kernel, mut env) = (daemon(), Kernel::default(), env("DEL"));
    assert_eq!(error(&run_with(&env, &conf, &daemon, &kernel)).0, 999);
    env.netns = None;
    assert!(run_with(&env, &conf, &daemon, &kernel).success, "a repeated DEL is a success");
    assert!(daemon.dels.into_inner().is_empty());
    assert!(kernel.torn_down.into_inner().unwrap().is_empty());
}
