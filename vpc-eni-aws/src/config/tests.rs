#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn endpoints_are_checked_before_the_first_request() {
    for good in ["http://127.0.0.1:80", "https://ec2.us-west-2.amazonaws.com/", "http://[::1]:5"] {
        assert!(AwsConfig::builder().ec2_endpoint(good).build().is_ok(), "{good}");
    }
    for bad in ["ec2.local", "ftp://x", "http://", "http:///x", "http://a b", "https://é"] {
        let result = AwsConfig::builder().imds_endpoint(bad).build();
        assert!(matches!(result, Err(AwsConfigError::Endpoint { what: "IMDS", .. })), "{bad}");
    }
    assert_eq!(AwsConfig::builder().ec2_endpoint("").build().unwrap().ec2_endpoint, None);
}

#[test]
fn tags_that_ec2_refuses_are_refused_at_start() {
    let with = |key: &str, value: &str| {
        AwsConfig::builder().extra_tags(BTreeMap::from([(key.into(), value.into())])).build()
    };
    assert!(with("team", "net").is_ok());
    for (key, value) in
        [("", "x"), ("aws:x", "y"), (&*"k".repeat(129), "v"), ("k", &*"v".repeat(257))]
    {
        assert!(matches!(with(key, value), Err(AwsConfigError::Tag { .. })), "{key:?}");
    }
    let many = (0..47).map(|n| (format!("k{n}"), String::new())).collect();
    assert!(AwsConfig::builder().extra_tags(many).build().is_err());
    let reserved = with("node.k8s.amazonaws.com/instance_id", "i-other").unwrap();
    assert!(reserved.extra_tags.is_empty());
}

#[test]
fn the_secret_key_is_not_printed() {
    let config = AwsConfig::builder().static_credentials("AKID", "hunter2").build().unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn an_odd_version_is_made_usable() {
    let version = |text: &str| AwsConfig::builder().version(text).build().unwrap().version;
    assert_eq!(version("v1.23.1-dirty+2").as_deref(), Some("v1.23.1-dirty+2"));
    assert_eq!(version("1.0\r\nx: y").as_deref(), Some("1.0--x--y"));
    assert_eq!(version(""), None);
}

#[test]
fn odd_regions_are_refused() {
    assert!(AwsConfig::builder().region("us-west-2").build().is_ok());
    assert!(AwsConfig::builder().region("evil.example/").build().is_err());
    assert!(AwsConfig::builder().http_timeout(Duration::ZERO).build().is_err());
}
