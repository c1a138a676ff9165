//! What only a server that misbehaves can send.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use vpc_eni_aws::{AwsBackend, AwsConfig, AwsConfigBuilder};
use vpc_ipam_core::cloud::{
    AddressCount, Authority, CloudBackend, CloudError, CloudErrorKind as Kind,
};

use crate::support::{Cloud, m5_large};

type Answer = dyn Fn(usize, &str) -> Option<(u16, String)> + Send + Sync;

/// A server that answers request number n, head and body, as the closure says; `None` hangs up.
pub(crate) fn server(
    answer: impl Fn(usize, &str) -> Option<(u16, String)> + Send + Sync + 'static,
) -> Ec2 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (log, answer): (_, Arc<Answer>) = (Arc::clone(&requests), Arc::new(answer));
    // Ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            thread::spawn(move || converse(stream, &log, &answer));
        }
    });
    Ec2 { url, requests }
}

pub(crate) struct Ec2 {
    pub(crate) url: String,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

fn converse(stream: TcpStream, log: &Mutex<Vec<String>>, answer: &Arc<Answer>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line, mut head) = (0, String::new(), String::new());
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).ok()?;
    let request = format!("{head}\r\n{body}");
    let n = {
        let mut log = log.lock().unwrap();
        log.push(request.clone());
        log.len() - 1
    };
    let (status, text) = answer(n, &request)?;
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: text/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    reader.get_mut().write_all(head.as_bytes()).ok()?;
    reader.get_mut().write_all(text.as_bytes()).ok()
}

/// A backend on the emulator's metadata and this EC2.
fn backend(cloud: &Cloud, ec2: &Ec2) -> AwsBackend {
    backend_of(cloud, ec2, |config| config)
}

pub(crate) fn backend_of(
    cloud: &Cloud,
    ec2: &Ec2,
    change: impl FnOnce(AwsConfigBuilder) -> AwsConfigBuilder,
) -> AwsBackend {
    let config = AwsConfig::builder()
        .ec2_endpoint(&ec2.url)
        .imds_endpoint(&cloud.imds.as_ref().unwrap().url)
        .static_credentials("AKID", "secret")
        .version("v9.9.9")
        .http_timeout(Duration::from_secs(1));
    AwsBackend::new(change(config).build().unwrap()).unwrap()
}

async fn assign(cloud: &Cloud, ec2: &Ec2) -> CloudError {
    let backend = backend(cloud, ec2);
    let count = AddressCount::Secondary(1);
    backend.assign_addresses(&cloud.primary(), count).await.unwrap_err()
}

fn page(cloud: &Cloud, eni: &str, device: u32, next: &str) -> String {
    format!(
        "<DescribeNetworkInterfacesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
         <networkInterfaceSet><item><networkInterfaceId>{eni}</networkInterfaceId>\
         <subnetId>subnet-1</subnetId><macAddress>02:00:00:00:00:0{device}</macAddress>\
         <interfaceType>interface</interfaceType><attachment>\
         <attachmentId>eni-attach-{device}</attachmentId><instanceId>{}</instanceId>\
         <deviceIndex>{device}</deviceIndex><status>attached</status></attachment>\
         <privateIpAddressesSet><item><privateIpAddress>10.0.0.1{device}</privateIpAddress>\
         <primary>true</primary></item></privateIpAddressesSet></item></networkInterfaceSet>{next}\
         </DescribeNetworkInterfacesResponse>",
        cloud.instance
    )
}

/// Answers the listing page by page and knows the subnet.
fn pages(listing: Vec<String>) -> Ec2 {
    const SUBNETS: &str = "<DescribeSubnetsResponse><subnetSet><item><subnetId>subnet-1</subnetId>\
        <cidrBlock>10.0.0.0/24</cidrBlock></item></subnetSet></DescribeSubnetsResponse>";
    let listed = Mutex::new(0);
    server(move |_, body| {
        if body.contains("Action=DescribeSubnets") {
            return Some((200, SUBNETS.to_owned()));
        }
        let mut n = listed.lock().unwrap();
        let text = listing[(*n).min(listing.len() - 1)].clone();
        *n += 1;
        Some((200, text))
    })
}

fn of_action(ec2: &Ec2, action: &str) -> Vec<String> {
    let requests = ec2.requests.lock().unwrap();
    let action = format!("Action={action}&");
    requests.iter().filter(|request| request.contains(&action)).cloned().collect()
}

#[tokio::test]
async fn a_listing_is_read_to_its_last_page() {
    let cloud = Cloud::start(&m5_large());
    let primary = cloud.primary();
    let next = "<nextToken>a+b/c=</nextToken>";
    // An empty token ends a listing as none does.
    let end = "<nextToken></nextToken>";
    let ec2 = pages(vec![page(&cloud, primary.as_str(), 0, next), page(&cloud, "eni-2", 1, end)]);
    let view = backend(&cloud, &ec2).describe().await.unwrap();
    assert_eq!((view.authority, view.enis.len()), (Authority::Ec2, 2));
    assert_eq!(view.enis[1].subnet_cidr.to_string(), "10.0.0.0/24");
    let requests = of_action(&ec2, "DescribeNetworkInterfaces");
    assert!(requests[0].contains("Filter.1.Name=attachment.instance-id"), "{}", requests[0]);
    assert!(requests[0].contains(&format!("Filter.1.Value.1={}", cloud.instance)));
    assert!(!requests[0].contains("NextToken"));
    assert!(requests[1].contains("NextToken=a%2Bb%2Fc%3D"), "{}", requests[1]);
}

#[tokio::test]
async fn timeouts_of_tracked_connections_are_read_and_sent() {
    let cloud = Cloud::start(&m5_large());
    let primary = cloud.primary();
    let timeouts = "<connectionTrackingConfiguration><tcpEstablishedTimeout>432000\
        </tcpEstablishedTimeout><udpTimeout>45</udpTimeout></connectionTrackingConfiguration>";
    let shown = page(&cloud, primary.as_str(), 0, "")
        .replace("<privateIpAddressesSet>", &format!("{timeouts}<privateIpAddressesSet>"));
    let ec2 = pages(vec![shown]);
    let backend = backend(&cloud, &ec2);
    backend.describe().await.unwrap();
    let mut request = vpc_ipam_core::cloud::CreateEni::new(0, AddressCount::Secondary(1));
    request.subnet = Some("subnet-1".parse().unwrap());
    // What is answered is no creation.
    backend.create_eni(&request).await.unwrap_err();
    let sent = of_action(&ec2, "CreateNetworkInterface")[0].clone();
    let of = |name: &str| sent.contains(&format!("ConnectionTrackingSpecification.{name}="));
    assert!(
        sent.contains("ConnectionTrackingSpecification.TcpEstablishedTimeout=432000"),
        "{sent}"
    );
    assert!(sent.contains("ConnectionTrackingSpecification.UdpTimeout=45"), "{sent}");
    assert!(!of("UdpStreamTimeout"), "{sent}");
}

#[tokio::test]
async fn requests_are_signed_for_the_region_and_name_the_version() {
    let cloud = Cloud::start(&m5_large());
    let ec2 = server(|_, _| Some((200, String::new())));
    assign(&cloud, &ec2).await;
    let request = ec2.requests.lock().unwrap()[0].clone();
    let line = |name: &str| {
        let found = request.lines().find(|l| l.to_ascii_lowercase().starts_with(name));
        found.unwrap_or_else(|| panic!("no {name} in {request}")).to_owned()
    };
    let agent = format!("{}{}", line("user-agent:"), line("x-amz-user-agent:"));
    assert!(agent.contains("amazon-vpc-cni-k8s/v9.9.9"), "{agent}");
    let signature = line("authorization:");
    assert!(signature.contains("Credential=AKID/"), "{signature}");
    assert!(signature.contains("/us-west-2/ec2/aws4_request"), "{signature}");
    assert!(request.contains("Action=AssignPrivateIpAddresses&Version=2016-11-15"), "{request}");
}

#[tokio::test]
async fn a_listing_without_end_is_given_up() {
    let cloud = Cloud::start(&m5_large());
    let primary = cloud.primary();
    let ec2 = pages(vec![page(&cloud, primary.as_str(), 0, "<nextToken>again</nextToken>")]);
    let backend = backend(&cloud, &ec2);
    assert_eq!(backend.describe().await.unwrap().authority, Authority::Imds);
    let failure = backend.ec2_failure().unwrap();
    assert_eq!(failure.kind, Kind::Malformed);
    assert!(failure.message.contains("does not end"), "{failure}");
}

#[tokio::test]
async fn an_ec2_of_someone_else_is_not_believed() {
    let cloud = Cloud::start(&m5_large());
    let ec2 = server(|_, _| {
        let empty = "<DescribeNetworkInterfacesResponse></DescribeNetworkInterfacesResponse>";
        Some((200, empty.to_owned()))
    });
    let backend = backend(&cloud, &ec2);
    assert_eq!(backend.describe().await.unwrap().authority, Authority::Imds);
    let failure = backend.ec2_failure().unwrap();
    assert!(failure.message.contains("does not list the primary ENI"), "{failure}");
}

#[tokio::test]
async fn answers_that_make_no_sense_are_malformed() {
    let cloud = Cloud::start(&m5_large());
    for text in [
        "",
        "not XML",
        "<html><body>login</body></html>",
        "<AssignPrivateIpAddressesResponse/>",
        "<AssignPrivateIpAddressesResponse><assignedPrivateIpAddressesSet><item>\
         <privateIpAddress>999.0.0.1</privateIpAddress></item>\
         </assignedPrivateIpAddressesSet></AssignPrivateIpAddressesResponse>",
        "<AssignPrivateIpAddressesResponse><assignedIpv4PrefixSet><item>\
         <ipv4Prefix>fd00::/80</ipv4Prefix></item>\
         </assignedIpv4PrefixSet></AssignPrivateIpAddressesResponse>",
    ] {
        let ec2 = server(move |_, _| Some((200, text.to_owned())));
        let error = assign(&cloud, &ec2).await;
        assert_eq!(error.kind, Kind::Malformed, "{text:?}: {error}");
        assert_eq!(error.action, "AssignPrivateIpAddresses");
    }
}

#[tokio::test]
async fn a_proxy_in_the_way_is_no_answer() {
    let cloud = Cloud::start(&m5_large());
    let ec2 = server(|_, _| Some((502, "<html>Bad Gateway</html>".to_owned())));
    let error = assign(&cloud, &ec2).await;
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
    assert_eq!(ec2.requests.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_server_that_hangs_up_is_no_answer() {
    let cloud = Cloud::start(&m5_large());
    let ec2 = server(|_, _| None);
    assert_eq!(assign(&cloud, &ec2).await.kind, Kind::Unreachable);
}

#[tokio::test]
async fn a_server_that_is_silent_is_given_up_after_the_http_timeout() {
    let cloud = Cloud::start(&m5_large());
    let ec2 = server(|_, _| {
        thread::sleep(Duration::from_secs(120));
        None
    });
    let error = assign(&cloud, &ec2).await;
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
    assert!(error.message.contains("time"), "{error}");
}

#[tokio::test]
async fn a_creation_that_ec2_carried_out_twice_is_asked_with_one_token() {
    let cloud = Cloud::start(&m5_large());
    let ec2 = server(|_, _| Some((500, "<Response/>".to_owned())));
    let backend = backend(&cloud, &ec2);
    let mut request = vpc_ipam_core::cloud::CreateEni::new(0, AddressCount::Secondary(1));
    request.subnet = Some("subnet-1".parse().unwrap());
    assert!(backend.create_eni(&request).await.is_err());
    let requests = of_action(&ec2, "CreateNetworkInterface");
    let token = |request: &String| {
        request.split('&').find(|field| field.starts_with("ClientToken=")).unwrap().to_owned()
    };
    let tokens: Vec<_> = requests.iter().map(token).collect();
    assert_eq!(tokens.len(), 3);
    assert!(tokens.iter().all(|token| *token == tokens[0] && token.len() > 20), "{tokens:?}");
}
