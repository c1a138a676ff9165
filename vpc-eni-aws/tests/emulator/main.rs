//! The emulator over HTTP, as a client without an SDK sees it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod actions;
mod changes;
mod control;
mod docs;
mod errors;
mod faults;
mod golden;
mod http;
mod metadata;
mod strict;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use vpc_eni_aws::emulator::{Emulator, Service, serve};
use vpc_ipam_core::{
    id::InstanceId,
    testkit::ec2::{Delays, World, WorldConfig},
    time::Time,
};

use self::http::{Reply, request};

/// An emulator on loopback with a clock that the test winds.
pub(crate) struct Bed {
    pub(crate) emulator: Emulator,
    pub(crate) instance: InstanceId,
    clock: Arc<AtomicU64>,
    ec2: std::net::SocketAddr,
    imds: std::net::SocketAddr,
}

pub(crate) fn config(type_name: &str) -> WorldConfig {
    WorldConfig::new("10.0.0.0/16".parse().unwrap())
        .subnet("10.0.0.0/24".parse().unwrap())
        .instance(0, type_name)
        .start(Time::from_millis(1_700_000_000_000))
}

impl Bed {
    pub(crate) fn new(config: &WorldConfig) -> Self {
        let world = config.build().unwrap();
        let instance = world.instances()[0].id.clone();
        let clock = Arc::new(AtomicU64::new(1_700_000_000_000));
        let hand = Arc::clone(&clock);
        let emulator = Emulator::new(
            Arc::new(Mutex::new(world)),
            Arc::new(move || Time::from_millis(hand.load(Ordering::SeqCst))),
        );
        let ec2 = start(emulator.ec2_router().and(emulator.control_router()));
        let imds = start(emulator.imds_router(&instance));
        Self { emulator, instance, clock, ec2, imds }
    }

    pub(crate) fn plain() -> Self {
        Self::new(&config("m5.large"))
    }

    pub(crate) fn slow(delays: Delays) -> Self {
        Self::new(&config("m5.large").delays(delays))
    }

    pub(crate) fn wind(&self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.emulator.world().lock().unwrap()
    }

    pub(crate) fn subnet(&self) -> String {
        self.world().subnets()[0].id.to_string()
    }

    pub(crate) fn primary(&self) -> String {
        self.world().instances()[0].primary_eni.to_string()
    }

    pub(crate) fn mac(&self) -> String {
        let world = self.world();
        world.eni(&world.instances()[0].primary_eni).unwrap().mac.to_string()
    }

    /// A fresh ENI that is attached nowhere.
    pub(crate) async fn spare(&self) -> String {
        let rest = format!("SubnetId={}", self.subnet());
        text(&self.ok("CreateNetworkInterface", &rest).await, "networkInterfaceId")
    }

    pub(crate) async fn raw(&self, body: &str) -> Reply {
        self.at("POST", "/", body).await
    }

    pub(crate) async fn at(&self, method: &str, path: &str, body: &str) -> Reply {
        request(self.ec2, method, path, &[], body).await
    }

    /// Posts `Action=…&Version=…` and more.
    pub(crate) async fn ec2(&self, action: &str, rest: &str) -> Reply {
        let body = format!("Action={action}&Version=2016-11-15&{rest}");
        let body = body.trim_end_matches('&');
        self.raw(body).await
    }

    /// An action that must work.
    pub(crate) async fn ok(&self, action: &str, rest: &str) -> String {
        let reply = self.ec2(action, rest).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body
    }

    /// An action that must not.
    pub(crate) async fn refused(
        &self,
        action: &str,
        rest: &str,
        status: u16,
        code: &str,
    ) -> String {
        let reply = self.ec2(action, rest).await;
        assert_eq!(reply.status, status, "{}", reply.body);
        assert_eq!(text(&reply.body, "Code"), code, "{}", reply.body);
        text(&reply.body, "Message")
    }

    pub(crate) async fn imds(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        request(self.imds, method, path, headers, "").await
    }

    pub(crate) async fn token(&self, ttl: u64) -> String {
        let ttl = ttl.to_string();
        let headers = [("X-aws-ec2-metadata-token-ttl-seconds", ttl.as_str())];
        let reply = self.imds("PUT", "/latest/api/token", &headers).await;
        assert_eq!(reply.status, 200);
        reply.body
    }

    /// A path below `/latest/meta-data/`, with a fresh token.
    pub(crate) async fn meta(&self, path: &str) -> Option<String> {
        let token = self.token(60).await;
        let path = format!("/latest/meta-data/{path}");
        let reply = self.imds("GET", &path, &[("X-aws-ec2-metadata-token", &token)]).await;
        match reply.status {
            200 => Some(reply.body),
            404 => None,
            other => panic!("{path}: {other}"),
        }
    }
}

fn start(service: Service) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, service, std::future::pending()));
    address
}

/// Text of the first element of that name.
pub(crate) fn text(xml: &str, name: &str) -> String {
    let texts = texts(xml, name);
    assert!(!texts.is_empty(), "no <{name}> in {xml}");
    texts[0].clone()
}

/// Texts of all elements of that name.
pub(crate) fn texts(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap().to_owned()).collect()
}
