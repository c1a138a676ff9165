//! What a listing of thousands of ENIs takes of the daemon's memory.

use std::{env, fmt::Write as _, fs, sync::Arc};

use vpc_eni_aws::{AwsBackend, AwsConfig, UpkeepConfig};
use vpc_ipam_core::cloud::CloudBackend as _;

use crate::{
    process::{child, role},
    support::{Cloud, m5_large},
    wire::server,
};

/// Measured: 40 MB for a page of 12 MB, most of it the SDK's. Pages do not add up.
const GROWTH_MAX_KB: u64 = 64 * 1024;
const PAGES: usize = 3;

/// A page of ENIs as large as they come: 50 addresses and 50 tags each.
fn page(next: &str) -> String {
    let mut page = String::from("<DescribeNetworkInterfacesResponse><networkInterfaceSet>");
    for eni in 0..1000 {
        write!(
            page,
            "<item><networkInterfaceId>eni-{eni:017x}</networkInterfaceId>\
             <description>not ours</description><status>available</status><tagSet>"
        )
        .unwrap();
        for tag in 0..50 {
            write!(page, "<item><key>team-tag-{tag}</key><value>{eni:030}</value></item>").unwrap();
        }
        page.push_str("</tagSet><privateIpAddressesSet>");
        for ip in 0..50 {
            write!(
                page,
                "<item><privateIpAddress>10.{ip}.{}.{}</privateIpAddress><privateDnsName>ip-10-{ip}-{}-{}\
                 .us-west-2.compute.internal</privateDnsName><primary>false</primary></item>",
                eni / 250,
                eni % 250,
                eni / 250,
                eni % 250
            )
            .unwrap();
        }
        page.push_str("</privateIpAddressesSet></item>");
    }
    page.push_str("</networkInterfaceSet>");
    page + next + "</DescribeNetworkInterfacesResponse>"
}

/// The most that this process has had in memory, in kB.
fn peak_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_sweep_of_thousands_of_large_enis_stays_within_its_memory() {
    let name = "upkeep::memory::a_sweep_of_thousands_of_large_enis_stays_within_its_memory";
    if role().is_none() {
        let cloud = Cloud::start(&m5_large());
        let (more, last) = (page("<nextToken>more</nextToken>"), page(""));
        let ec2 = server(move |n, _| {
            Some((200, if n + 1 < PAGES { more.clone() } else { last.clone() }))
        });
        let imds = cloud.imds.as_ref().unwrap().url.clone();
        let run = move || child(name, "x", &[("EC2", ec2.url.as_str()), ("IMDS", imds.as_str())]);
        return tokio::task::spawn_blocking(run).await.unwrap();
    }
    let config = AwsConfig::builder()
        .ec2_endpoint(env::var("EC2").unwrap())
        .imds_endpoint(env::var("IMDS").unwrap())
        .static_credentials("AKID", "secret");
    let backend = Arc::new(AwsBackend::new(config.build().unwrap()).unwrap());
    backend.instance().await.unwrap();
    let before = peak_kb();
    let swept = backend.upkeep(UpkeepConfig::default()).sweep().await.unwrap();
    assert_eq!((swept.listed, swept.left), (1000 * PAGES as u64, 0));
    let growth = peak_kb() - before;
    println!("{growth} kB");
    assert!((1..GROWTH_MAX_KB).contains(&growth), "{growth} kB");
}
