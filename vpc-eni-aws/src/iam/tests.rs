#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeSet, fs, path::Path};

use super::*;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn table() -> BTreeSet<String> {
    PERMISSIONS.iter().map(|permission| permission.action.to_owned()).collect()
}

/// The SDK's operations that the calls are made with, as actions: `.client.describe_subnets()` is `DescribeSubnets`.
fn called() -> BTreeSet<String> {
    let mut called = BTreeSet::new();
    for entry in fs::read_dir(root().join("src/sdk")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for rest in text.split(".client").skip(1) {
            let Some(rest) = rest.trim_start().strip_prefix('.') else { continue };
            let (operation, _) = rest.split_once('(').unwrap();
            let words = operation.trim().split('_');
            let capital =
                |word: &str| word.get(..1).unwrap().to_uppercase() + word.get(1..).unwrap();
            called.insert(words.map(capital).collect());
        }
    }
    called
}

#[test]
fn each_call_that_the_code_makes_is_documented_and_no_other() {
    let called = called();
    assert!(called.len() > 10, "{called:?}");
    assert_eq!(called, table());
}

#[test]
fn the_table_is_in_order_and_says_something() {
    let actions: Vec<_> = PERMISSIONS.iter().map(|permission| permission.action).collect();
    assert!(actions.is_sorted());
    for permission in PERMISSIONS {
        assert!(!permission.features.is_empty() && permission.features.is_sorted());
        assert!(!permission.why.is_empty() && !permission.without.is_empty());
    }
    for feature in Feature::ALL {
        assert!(PERMISSIONS.iter().any(|p| p.features.contains(&feature)), "{feature:?}");
    }
}

#[test]
fn policies_are_json_and_the_scoped_one_is_complete() {
    let page = markdown();
    let policies: Vec<&str> =
        page.split("```json\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert_eq!(policies.len(), 4);
    for policy in &policies {
        let policy: serde_json::Value = serde_json::from_str(policy).unwrap();
        assert!(policy.get("Statement").is_some_and(|s| !s.as_array().unwrap().is_empty()));
    }
    let scoped: serde_json::Value = serde_json::from_str(policies.last().unwrap()).unwrap();
    let mut named = BTreeSet::new();
    for statement in scoped.get("Statement").unwrap().as_array().unwrap() {
        let action = statement.get("Action").unwrap();
        let one = action.as_str().map(str::to_owned);
        let many = action.as_array().into_iter().flatten().map(|a| a.as_str().unwrap().to_owned());
        named.extend(
            one.into_iter().chain(many).map(|a| a.strip_prefix("ec2:").unwrap().to_owned()),
        );
    }
    assert_eq!(named, table());
}

/// Written anew with `VPC_CNI_WRITE_DOCS=1`.
#[test]
fn the_page_is_the_table() {
    let path = root().join("../docs/iam.md");
    if std::env::var_os("VPC_CNI_WRITE_DOCS").is_some() {
        fs::write(&path, markdown()).unwrap();
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    assert!(page == markdown(), "docs/iam.md is old; run this test with VPC_CNI_WRITE_DOCS=1");
}
