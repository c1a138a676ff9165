//! What answers of any size take of the daemon's memory. Looked at in processes of their own.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use vpc_eni_aws::{AwsBackend, AwsConfig};
use vpc_ipam_core::cloud::{AddressCount, Authority, CloudBackend as _, CloudErrorKind as Kind};

use crate::{
    process::{child, role},
    support::{Cloud, m5_large},
    wire::server,
};

/// Bound for a listing of 15 ENIs with 50 addresses each, 170 kB of XML. It takes 1 to 2 MB, most of it the SDK's.
const LISTING_MAX_KB: u64 = 16 * 1024;
/// Bound for an answer that is refused: what is accepted of it is 32 MiB.
const REFUSED_MAX_KB: u64 = 128 * 1024;

fn peak_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs test `name` in a process of its own, with the URLs of this EC2 and of the metadata of `cloud`.
async fn apart(cloud: &Cloud, name: &'static str, role: &'static str, ec2: String) {
    let imds = cloud.imds.as_ref().unwrap().url.clone();
    let run = move || child(name, role, &[("EC2", ec2.as_str()), ("IMDS", imds.as_str())]);
    tokio::task::spawn_blocking(run).await.unwrap();
}

async fn backend() -> AwsBackend {
    let config = AwsConfig::builder()
        .ec2_endpoint(env::var("EC2").unwrap())
        .imds_endpoint(env::var("IMDS").unwrap())
        .static_credentials("AKID", "secret");
    let backend = AwsBackend::new(config.build().unwrap()).unwrap();
    backend.instance().await.unwrap();
    backend
}

fn full_enis(cloud: &Cloud) -> String {
    let mut page = String::from("<DescribeNetworkInterfacesResponse><networkInterfaceSet>");
    for eni in 0..15 {
        let id = if eni == 0 { cloud.primary().to_string() } else { format!("eni-{eni:017x}") };
        write!(
            page,
            "<item><networkInterfaceId>{id}</networkInterfaceId><subnetId>subnet-1</subnetId>\
             <macAddress>02:00:00:00:00:{eni:02x}</macAddress><interfaceType>interface</interfaceType>\
             <attachment><attachmentId>eni-attach-{eni}</attachmentId><instanceId>{}</instanceId>\
             <deviceIndex>{eni}</deviceIndex><status>attached</status></attachment><privateIpAddressesSet>",
            cloud.instance
        )
        .unwrap();
        for ip in 0..50 {
            write!(
                page,
                "<item><privateIpAddress>10.0.{eni}.{ip}</privateIpAddress><privateDnsName>ip-10-0-{eni}-{ip}\
                 .us-west-2.compute.internal</privateDnsName><primary>{}</primary></item>",
                ip == 0
            )
            .unwrap();
        }
        page.push_str("</privateIpAddressesSet></item>");
    }
    page + "</networkInterfaceSet></DescribeNetworkInterfacesResponse>"
}

#[tokio::test]
async fn a_listing_of_fifteen_full_enis_stays_within_its_memory() {
    let name = "bodies::a_listing_of_fifteen_full_enis_stays_within_its_memory";
    if role().is_none() {
        let cloud = Cloud::start(&m5_large());
        let page = full_enis(&cloud);
        assert!(page.len() > 100_000, "{}", page.len());
        const SUBNETS: &str = "<DescribeSubnetsResponse><subnetSet><item><subnetId>subnet-1</subnetId>\
            <cidrBlock>10.0.0.0/16</cidrBlock></item></subnetSet></DescribeSubnetsResponse>";
        let ec2 = server(move |_, body| {
            let subnets = body.contains("Action=DescribeSubnets");
            Some((200, if subnets { SUBNETS.to_owned() } else { page.clone() }))
        });
        return apart(&cloud, name, "x", ec2.url.clone()).await;
    }
    let backend = backend().await;
    // The first request makes connection, trust store and codec.
    let count = AddressCount::Secondary(1);
    backend.assign_addresses(&"eni-1".parse().unwrap(), count).await.unwrap_err();
    let before = peak_kb();
    let view = backend.describe().await.unwrap();
    assert_eq!((view.authority, view.enis.len()), (Authority::Ec2, 15));
    assert_eq!(view.enis.iter().map(|eni| eni.cidrs.len()).sum::<usize>(), 15 * 49);
    let growth = peak_kb() - before;
    println!("{growth} kB");
    assert!(growth < LISTING_MAX_KB, "{growth} kB");
}

/// Answers every request with a head and a body that goes on until nobody listens.
fn endless(head: &'static str, chunk: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let chunk = chunk.clone();
            thread::spawn(move || pour(stream, head, &chunk));
        }
    });
    url
}

fn pour(stream: TcpStream, head: &str, chunk: &str) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    let mut stream = reader.into_inner();
    stream.write_all(head.as_bytes()).ok()?;
    loop {
        stream.write_all(chunk.as_bytes()).ok()?;
    }
}

#[tokio::test]
async fn answers_without_end_are_refused_before_they_fill_the_memory() {
    let name = "bodies::answers_without_end_are_refused_before_they_fill_the_memory";
    let Some(what) = role() else {
        let cloud = Cloud::start(&m5_large());
        const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let item = "<item/>".repeat(9000);
        let items = format!("{:x}\r\n{item}\r\n", item.len());
        let text = format!("{:x}\r\n{}\r\n", 65536, "x".repeat(65536));
        for (what, head, chunk) in [
            ("bytes", CHUNKED, text.clone()),
            // Each becomes many times as large as it is.
            ("items", CHUNKED, items),
            ("bytes", "HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n", text),
        ] {
            apart(&cloud, name, what, endless(head, chunk)).await;
        }
        return;
    };
    let backend = backend().await;
    let before = peak_kb();
    let count = AddressCount::Secondary(1);
    let error = backend.assign_addresses(&"eni-1".parse().unwrap(), count).await.unwrap_err();
    assert_eq!(error.kind, Kind::Malformed, "{error}");
    assert!(error.message.contains("larger than") && error.message.contains(&what), "{error}");
    let growth = peak_kb() - before;
    println!("{growth} kB");
    assert!(growth < REFUSED_MAX_KB, "{growth} kB");
}
