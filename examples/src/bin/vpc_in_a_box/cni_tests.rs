#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::*;

fn sandbox() -> Sandbox {
    Sandbox {
        container_id: "c0ffee".into(),
        namespace: "demo".into(),
        name: "web-0007".into(),
        uid: "u-1".into(),
        netns: "/run/netns/cni-1".into(),
    }
}

fn plugin(path: &str) -> Plugin {
    let deadline = Duration::from_secs(60);
    Plugin { path: path.into(), cni_version: "0.4.0", log_file: String::new(), mtu: 9001, deadline }
}

/// Runs a shell script in the plugin's place.
fn script(text: &str) -> impl FnOnce(Command) -> io::Result<Child> {
    move |command: Command| {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", text]).env_clear();
        for (key, value) in command.get_envs() {
            if let Some(value) = value {
                shell.env(key, value);
            }
        }
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }
}

#[test]
fn the_environment_is_containerds() {
    let command = plugin("/opt/cni/bin/aws-cni").command("ADD", &sandbox(), "/run/netns/cni-1");
    let env: BTreeMap<_, _> = command
        .get_envs()
        .map(|(k, v)| (k.to_str().unwrap(), v.unwrap().to_str().unwrap()))
        .collect();
    assert_eq!(env["CNI_PATH"], "/opt/cni/bin");
    assert_eq!(env["CNI_NETNS"], "/run/netns/cni-1");
    assert_eq!(
        env["CNI_ARGS"],
        "K8S_POD_NAME=web-0007;K8S_POD_INFRA_CONTAINER_ID=c0ffee;K8S_POD_UID=u-1;\
         IgnoreUnknown=1;K8S_POD_NAMESPACE=demo"
    );
}

#[test]
fn mtu_is_a_string_and_the_result_of_add_comes_back_on_del() {
    let conf: Value =
        serde_json::from_slice(&plugin("x").net_conf(Some(&json!({"ips": []})))).unwrap();
    assert_eq!(conf["mtu"], "9001");
    assert_eq!(conf["prevResult"], json!({"ips": []}));
}

#[test]
fn a_result_is_read() {
    let answer = r#"echo '{"cniVersion":"0.4.0","ips":[{"version":"4","interface":1,"address":"10.0.1.5/32"}]}'"#;
    let added = plugin("x").add(&sandbox(), script(answer)).unwrap();
    assert_eq!(added.ip, Ipv4Addr::new(10, 0, 1, 5));
}

#[test]
fn a_cni_error_keeps_its_code_and_words() {
    let answer = r#"echo '{"code":11,"msg":"no address","details":"27 of 27 in use"}'; exit 1"#;
    let error = plugin("x").add(&sandbox(), script(answer)).unwrap_err();
    assert!(error.is_temporary());
    assert_eq!(error.to_string(), "plugin failed with code 11: no address: 27 of 27 in use");
}

#[test]
fn a_crash_is_told_with_its_standard_error() {
    let error = plugin("x").add(&sandbox(), script("echo oops >&2; kill -9 $$")).unwrap_err();
    assert!(!error.is_temporary());
    let text = error.to_string();
    assert!(text.contains("signal: 9") && text.contains("oops"), "{text}");
}

#[test]
fn an_answer_without_address_is_an_error() {
    for answer in ["echo '{}'", "echo nonsense", r#"echo '{"ips":[{"address":"10.0.0.0/24"}]}'"#] {
        let error = plugin("x").add(&sandbox(), script(answer)).unwrap_err();
        assert!(matches!(error, CniError::NoResult { .. }), "{error}");
    }
}

#[test]
fn a_plugin_that_hangs_is_killed() {
    let mut pid = 0;
    let plugin = Plugin { deadline: Duration::from_millis(50), ..plugin("x") };
    let error = plugin
        .add(&sandbox(), |command| {
            let child = script("exec sleep 600")(command)?;
            pid = i32::try_from(child.id()).unwrap();
            Ok(child)
        })
        .unwrap_err();
    assert!(matches!(error, CniError::Hung { .. }), "{error}");
    // Once it has been waited for, nobody has its number.
    while kill(Pid::from_raw(pid), None).is_ok() {
        thread::sleep(Duration::from_millis(1));
    }
}
