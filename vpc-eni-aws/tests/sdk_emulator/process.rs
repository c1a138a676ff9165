//! What depends on the environment of the process: each test runs itself again, in a child with
//! exactly the variables that it names.

use std::{env, process::Command};

use vpc_eni_aws::{AwsBackend, AwsConfig};
use vpc_ipam_core::cloud::{Authority, CloudBackend, CloudErrorKind as Kind};

use crate::support::{Cloud, m5_large};

/// Tells the child what to do.
const ROLE: &str = "SDK_EMULATOR_CHILD";

/// Runs test `name` again as a child with `role` and these variables only.
pub(crate) fn child(name: &str, role: &str, vars: &[(&str, &str)]) {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env_clear()
        // No profile of whoever runs the tests.
        .env("HOME", "/nonexistent")
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        .env(ROLE, role)
        .envs(vars.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

pub(crate) fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// The backend as a daemon on a node makes it: no key of its own.
fn on_a_node(cloud: &Cloud, imds: bool) -> AwsBackend {
    let mut config = AwsConfig::builder().ec2_endpoint(&cloud.ec2.as_ref().unwrap().url);
    if imds {
        config = config.imds_endpoint(&cloud.imds.as_ref().unwrap().url);
    }
    AwsBackend::new(config.build().unwrap()).unwrap()
}

#[tokio::test]
async fn credentials_come_from_the_instance_role() {
    if role().is_none() {
        return child("process::credentials_come_from_the_instance_role", "x", &[]);
    }
    let cloud = Cloud::start(&m5_large());
    let backend = on_a_node(&cloud, true);
    assert_eq!(backend.describe().await.unwrap().authority, Authority::Ec2);
}

#[tokio::test]
async fn a_retry_count_of_zero_in_the_environment_does_no_harm() {
    let name = "process::a_retry_count_of_zero_in_the_environment_does_no_harm";
    let Some(role) = role() else {
        child(name, "zero", &[("AWS_MAX_ATTEMPTS", "0")]);
        return child(name, "text", &[("AWS_MAX_ATTEMPTS", "x"), ("AWS_RETRY_MODE", "y")]);
    };
    assert!(env::var("AWS_MAX_ATTEMPTS").is_ok(), "{role}");
    let cloud = Cloud::start(&m5_large());
    let backend = on_a_node(&cloud, true);
    assert_eq!(backend.describe().await.unwrap().authority, Authority::Ec2);
}

#[tokio::test]
async fn the_metadata_endpoint_of_the_environment_is_used() {
    let name = "process::the_metadata_endpoint_of_the_environment_is_used";
    match role() {
        // The server must be there before the child starts: it lives in this process.
        None => {
            let cloud = Cloud::start(&m5_large());
            let (imds, ec2) = (&cloud.imds.as_ref().unwrap().url, &cloud.ec2.as_ref().unwrap().url);
            let vars = [
                ("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.clone()),
                ("AWS_ENDPOINT_URL_EC2", ec2.clone()),
            ];
            let run = move || child(name, "x", &vars.each_ref().map(|(k, v)| (*k, v.as_str())));
            tokio::task::spawn_blocking(run).await.unwrap();
        }
        Some(_) => {
            let backend = AwsBackend::new(AwsConfig::builder().build().unwrap()).unwrap();
            assert_eq!(backend.describe().await.unwrap().authority, Authority::Ec2);
        }
    }
}

#[tokio::test]
async fn without_credentials_the_error_says_so() {
    if role().is_none() {
        return child("process::without_credentials_the_error_says_so", "x", &[]);
    }
    let cloud = Cloud::start(&m5_large());
    cloud.emulator.fail_imds("/latest/meta-data/iam", 404, 1000);
    let backend = on_a_node(&cloud, true);
    // The node serves what metadata shows, and reports why not more.
    assert_eq!(backend.describe().await.unwrap().authority, Authority::Imds);
    let failure = backend.ec2_failure().unwrap();
    assert_eq!(failure.kind, Kind::PermissionDenied, "{failure}");
    assert!(failure.message.contains("no AWS credentials"), "{failure}");
    assert!(failure.message.contains("instance role"), "{failure}");
}

#[tokio::test]
async fn an_endpoint_variable_that_is_no_url_is_an_error_not_a_panic() {
    let name = "process::an_endpoint_variable_that_is_no_url_is_an_error_not_a_panic";
    if role().is_none() {
        return child(name, "x", &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "no url at all")]);
    }
    let cloud = Cloud::start(&m5_large());
    let error = on_a_node(&cloud, false).instance().await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
}

#[tokio::test]
async fn the_address_of_metadata_is_chosen_by_the_environment() {
    let name = "process::the_address_of_metadata_is_chosen_by_the_environment";
    if role().is_none() {
        return child(name, "x", &[("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv7")]);
    }
    // Whether IPv6 works depends on the machine; that the variable is looked at does not.
    let cloud = Cloud::start(&m5_large());
    let error = on_a_node(&cloud, false).instance().await.unwrap_err();
    assert!(error.message.contains("endpoint mode"), "{error}");
}

#[tokio::test]
async fn metadata_is_not_read_through_a_proxy() {
    let name = "process::metadata_is_not_read_through_a_proxy";
    if role().is_none() {
        let nobody = "http://127.0.0.1:1";
        let proxies = ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"];
        return child(name, "x", &proxies.map(|variable| (variable, nobody)));
    }
    let cloud = Cloud::start(&m5_large());
    assert_eq!(on_a_node(&cloud, true).instance().await.unwrap().instance, cloud.instance);
    // Other requests take it.
    let error = on_a_node(&cloud, true).describe().await.map(|view| view.authority);
    assert_eq!(error.unwrap(), Authority::Imds);
}
