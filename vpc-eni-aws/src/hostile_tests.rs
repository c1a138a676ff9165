//! Answers of EC2 that somebody has tampered with, read by the real SDK and by us: never a panic, and either an error or
//! something that could be true.
//!
//! Each action is carried out once against the emulator and its answer recorded. Then the calls are made again and again,
//! and each is given a recorded answer that was changed at random. `VPC_CNI_MUTATE_SECONDS` is for how long, in place of
//! a fixed number; `VPC_CNI_MUTATE_SEED` begins elsewhere.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    env, fs,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use aws_sdk_ec2::config::{
    HttpClient, RuntimeComponents, SharedHttpClient,
    http::{HttpRequest, HttpResponse},
};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use vpc_ipam_core::{
    cloud::{AddressCount, CloudBackend as _, CloudError, CreateEni},
    id::{EniId, InstanceId, VpcId},
    testkit::ec2::WorldConfig,
};

use crate::{
    AwsBackend, AwsConfig,
    api::{Ec2Api, NewEni, Tracking},
    emulator::{Emulator, tokio_clock},
    upkeep::Scope,
};

/// Changed answers, unless told for how long.
const ROUNDS: u32 = 1000;
/// The process may grow by this much, in kB: the largest answer has 200 kB, and other tests run beside this one.
const GROWTH_MAX_KB: u64 = 256 * 1024;
/// Longest message of an error; several texts of the answer may be in it, each of which is cut.
const MESSAGE_LEN_MAX: usize = 4096;

/// As Marsaglia has it.
struct XorShift(u64);

impl XorShift {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (n.max(1) as u64)).unwrap()
    }
}

/// A status and a body.
type Answer = (u16, Vec<u8>);

/// Hands requests on and keeps the answers; or answers itself.
#[derive(Clone, Debug)]
struct Tape {
    inner: SharedHttpClient,
    recorded: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    next: Arc<Mutex<Option<Answer>>>,
}

impl HttpClient for Tape {
    fn http_connector(
        &self,
        s: &HttpConnectorSettings,
        c: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(s, c);
        SharedHttpConnector::new(TapeConnector { tape: self.clone(), inner })
    }
}

#[derive(Debug)]
struct TapeConnector {
    tape: Tape,
    inner: SharedHttpConnector,
}

impl HttpConnector for TapeConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if let Some((status, body)) = self.tape.next.lock().unwrap().clone() {
            let answer = HttpResponse::new(status.try_into().unwrap(), body.into());
            return HttpConnectorFuture::ready(Ok(answer));
        }
        let form = String::from_utf8_lossy(request.body().bytes().unwrap()).into_owned();
        let (answer, recorded) = (self.inner.call(request), Arc::clone(&self.tape.recorded));
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            let action = form.split('&').find_map(|field| field.strip_prefix("Action=")).unwrap();
            let body = answer.body().bytes().unwrap().to_vec();
            // Of several answers to one action, the longest.
            let mut recorded = recorded.lock().unwrap();
            let kept = recorded.entry(action.to_owned()).or_default();
            if kept.len() < body.len() {
                *kept = body;
            }
            Ok(answer)
        })
    }
}

/// The bounds of the elements of a document: from one `<` to the next.
fn pieces(body: &[u8]) -> Vec<(usize, usize)> {
    let starts: Vec<usize> = (0..body.len()).filter(|at| body[*at] == b'<').collect();
    starts.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// Changes a document a little: bytes, elements, values, its length.
fn tamper(body: &[u8], random: &mut XorShift) -> Vec<u8> {
    const VALUES: [&str; 14] = [
        "",
        "-1",
        "4294967296",
        "99999999999999999999",
        "true",
        "NaN",
        "10.0.0.256",
        "::",
        "fd00::/129",
        "0.0.0.0/0",
        "&#0;",
        "&lt;&amp;&unknown;",
        "eni-\u{1F600}",
        "2026-13-45T99:99:99Z",
    ];
    let mut body = body.to_vec();
    for _ in 0..=random.below(4) {
        let pieces = pieces(&body);
        let Some(&(start, end)) = pieces.get(random.below(pieces.len())) else { return body };
        match random.below(9) {
            0 => drop(body.splice(start..end, [])),
            1 => {
                let piece = body[start..end].to_vec();
                for _ in 0..random.below(50) {
                    body.splice(end..end, piece.iter().copied());
                }
            }
            2 => body.truncate(start),
            3 | 4 => {
                let value = body[start..end].iter().position(|byte| *byte == b'>');
                let value = start + value.unwrap_or_default() + 1;
                let new = VALUES[random.below(VALUES.len())].as_bytes();
                body.splice(value.min(end)..end, new.iter().copied());
            }
            5 => {
                let (other, other_end) = pieces[random.below(pieces.len())];
                let piece = body[other..other_end].to_vec();
                body.splice(start..end, piece);
            }
            6 => {
                let long = vec![b'A'; random.below(100_000)];
                body.splice(end..end, long);
            }
            _ => {
                for _ in 0..=random.below(8) {
                    let at = random.below(body.len());
                    if let Some(byte) = body.get_mut(at) {
                        *byte ^= 1 << random.below(8);
                    }
                }
            }
        }
    }
    body
}

/// Everything that the calls take.
struct Subject {
    backend: AwsBackend,
    instance: InstanceId,
    vpc: VpcId,
    zone: String,
    eni: EniId,
    new: NewEni,
}

/// The actions of the calls, in order.
const ACTIONS: [&str; 18] = [
    "DescribeNetworkInterfaces",
    "DescribeNetworkInterfaces",
    "DescribeNetworkInterfaces",
    "DescribeSubnets",
    "DescribeSubnets",
    "DescribeSubnets",
    "DescribeInstanceTypes",
    "CreateNetworkInterface",
    "AttachNetworkInterface",
    "ModifyNetworkInterfaceAttribute",
    "ModifyNetworkInterfaceAttribute",
    "AssignPrivateIpAddresses",
    "AssignIpv6Addresses",
    "UnassignPrivateIpAddresses",
    "UnassignIpv6Addresses",
    "CreateTags",
    "DetachNetworkInterface",
    "DeleteNetworkInterface",
];

impl Subject {
    async fn call(&self, which: usize) -> Result<String, CloudError> {
        let api: &dyn Ec2Api = self.backend.api().await.unwrap();
        let (eni, new) = (&self.eni, &self.new);
        let block = "10.0.0.16/28".parse().unwrap();
        let block_v6 = "2001:db8::/80".parse().unwrap();
        let scope = Scope { vpc: self.vpc.clone(), cluster: None };
        match which {
            0 => api.enis_of(&self.instance).await.map(|v| format!("{v:?}")),
            1 => {
                let found = api.eni(eni).await;
                assert!(!matches!(&found, Ok(Some(found)) if found.id != *eni), "{found:?}");
                found.map(|v| format!("{v:?}"))
            }
            2 => api.unattached(&scope, None).await.map(|v| format!("{v:?}")),
            3 => api.subnets(&self.vpc, &self.zone).await.map(|v| format!("{v:?}")),
            4 => api.subnet_block(&new.subnet).await.map(|v| v.to_string()),
            5 => api.subnet_ipv6_block(&new.subnet).await.map(|v| format!("{v:?}")),
            6 => api.type_limits("m5.24xlarge").await.map(|v| format!("{v:?}")),
            7 => api.create(new).await.map(|v| v.to_string()),
            8 => api.attach(eni, &self.instance, 1, 0).await,
            9 => api.delete_on_termination(eni, "eni-attach-1").await.map(done),
            10 => api.set_groups(eni, &new.groups).await.map(|v| v.to_string()),
            11 => api.assign(eni, AddressCount::Secondary(2)).await.map(|v| format!("{v:?}")),
            12 => api.assign(eni, AddressCount::Ipv6Prefixes(1)).await.map(|v| format!("{v:?}")),
            13 => api.unassign_prefixes(eni, &[block]).await.map(done),
            14 => api.unassign_ipv6_prefixes(eni, &[block_v6]).await.map(done),
            15 => api.create_tags(eni, &new.tags).await.map(done),
            16 => api.detach("eni-attach-1").await.map(done),
            _ => api.delete(eni).await.map(done),
        }
    }
}

fn done((): ()) -> String {
    String::new()
}

/// A node with large answers to give, and a tape in its way.
async fn subject() -> (Subject, Tape) {
    let clock = tokio_clock();
    let world = WorldConfig::new("10.0.0.0/16".parse().unwrap())
        .subnet("10.0.0.0/20".parse().unwrap())
        .ipv6(0, "2001:db8::/64".parse().unwrap())
        .instance(0, "m5.24xlarge")
        .start(clock())
        .build()
        .unwrap();
    let instance = world.instances()[0].id.clone();
    let emulator = Emulator::new(Arc::new(Mutex::new(world)), clock);
    let mut config = AwsConfig::builder().in_process(&emulator, &instance).build().unwrap();
    let transport = config.transport.as_mut().unwrap();
    let (recorded, next) = (Arc::default(), Arc::default());
    let tape = Tape { inner: transport.ec2.clone(), recorded, next };
    transport.ec2 = SharedHttpClient::new(tape.clone());
    let backend = AwsBackend::new(config).unwrap();
    let facts = backend.instance().await.unwrap();
    let mut eni = facts.primary_eni.clone();
    for n in 0..6 {
        let count = if n == 0 { AddressCount::Prefixes(10) } else { AddressCount::Secondary(49) };
        eni = backend.create_eni(&CreateEni::new(0, count)).await.unwrap().id;
    }
    let new = NewEni {
        subnet: facts.subnet.clone(),
        groups: vec!["sg-1".parse().unwrap()],
        description: "tampered with".to_owned(),
        tags: [("team".to_owned(), "net".to_owned())].into(),
        tracking: Tracking::default(),
        count: AddressCount::Secondary(3),
    };
    let zone = facts.availability_zone.clone();
    (Subject { backend, instance, vpc: facts.vpc, zone, eni, new }, tape)
}

fn peak_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[tokio::test(start_paused = true)]
async fn answers_that_were_tampered_with_are_errors_or_could_be_true() {
    let (subject, tape) = subject().await;
    for which in 0..ACTIONS.len() {
        // Some fail, for the ENI is not what they want: answers too.
        let _ = subject.call(which).await;
    }
    let recorded = tape.recorded.lock().unwrap().clone();
    let seed = number("VPC_CNI_MUTATE_SEED").unwrap_or(1);
    let mut random = XorShift(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let until = number("VPC_CNI_MUTATE_SECONDS").map(|s| Instant::now() + Duration::from_secs(s));
    let (before, began) = (peak_kb(), SystemTime::now());
    let (mut rounds, mut refused, mut largest) = (0u32, 0u32, 0);
    while until.map_or(rounds < ROUNDS, |until| Instant::now() < until) {
        let which = random.below(ACTIONS.len());
        let action = ACTIONS[which];
        let body = tamper(&recorded[action], &mut random);
        largest = largest.max(body.len());
        let status = [200, 200, 200, 200, 400, 403, 503, 204][random.below(8)];
        *tape.next.lock().unwrap() = Some((status, body));
        if let Err(error) = subject.call(which).await {
            refused += 1;
            assert!(!error.action.is_empty());
            assert!(
                error.message.len() < MESSAGE_LEN_MAX,
                "{} bytes: {error}",
                error.message.len()
            );
            assert!(!error.message.chars().any(char::is_control), "{error:?}");
        }
        rounds += 1;
    }
    assert!(refused > rounds / 10 && refused < rounds, "{refused} of {rounds}");
    let growth = peak_kb() - before;
    println!(
        "seed {seed}: {rounds} answers, {refused} refused, the largest of {largest} bytes, {growth} kB more, {:?}",
        began.elapsed().unwrap_or_default()
    );
    assert!(growth < GROWTH_MAX_KB, "{growth} kB");
}
