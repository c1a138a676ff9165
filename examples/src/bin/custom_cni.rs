//! A CNI for a cloud of your own. The pool decides, and asks your cloud by five functions; here the
//! cloud is a rack whose switch gives a host up to three ports with four addresses each for pods.
//!
//! A real node has `vpc-datapath-linux` where this one has a fake, and a file for its state.

#![forbid(unsafe_code)]

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::Mutex;
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{
        AddressCount, Authority, CloudBackend, CloudEni, CloudError, CloudErrorKind, CloudView,
        CreateEni, EniKind, InstanceFacts,
    },
    config::{AllocationMode, PoolConfig, WarmTargets},
    driver::{Driver, Job},
    id::{EniId, MacAddr, PodRef, SandboxKey},
    pool::{Event, Pool},
    testkit::{FakeDatapath, MemoryStore},
    time::Time,
};

const PORTS: u8 = 3;
const ADDRESSES: u8 = 4;
type Result<T> = std::result::Result<T, CloudError>;

/// The host's ports on the switch. To the pool, a port is an ENI.
#[derive(Default)]
struct Rack(Mutex<Vec<CloudEni>>);

impl Rack {
    async fn plug(&self, number: u8) -> anyhow::Result<CloudEni> {
        let port = CloudEni {
            id: format!("eni-port{number}").parse()?,
            mac: MacAddr([2, 0, 0, 0, 0, number]),
            device: number.into(),
            card: 0,
            kind: EniKind::Interface,
            primary: number == 0,
            excluded: false,
            subnet: "subnet-rack7".parse()?,
            subnet_cidr: "10.7.0.0/16".parse()?,
            primary_ip: [10, 7, number, 1].into(),
            cidrs: Vec::new(),
            tags: [].into(),
        };
        self.0.lock().await.push(port.clone());
        Ok(port)
    }
}

#[async_trait::async_trait]
impl CloudBackend for Rack {
    async fn describe(&self) -> Result<CloudView> {
        // The switch itself answers, and not a cache: what it does not show is gone.
        Ok(CloudView { enis: self.0.lock().await.clone(), authority: Authority::Ec2 })
    }

    async fn create_eni(&self, request: &CreateEni) -> Result<CloudEni> {
        let taken: Vec<u8> = self.0.lock().await.iter().map(|port| port.device as u8).collect();
        let free = (0..PORTS).find(|n| !taken.contains(n)).ok_or_else(|| refused("no port"))?;
        let mut port = self.plug(free).await.map_err(|e| refused(&e.to_string()))?;
        println!("rack: {} plugged in", port.id);
        port.cidrs = self.assign_addresses(&port.id, request.count).await?;
        Ok(port)
    }

    async fn delete_eni(&self, eni: &EniId) -> Result<()> {
        println!("rack: {eni} pulled out");
        self.0.lock().await.retain(|port| port.id != *eni);
        Ok(())
    }

    async fn assign_addresses(&self, eni: &EniId, count: AddressCount) -> Result<Vec<Prefix>> {
        let mut ports = self.0.lock().await;
        let port = ports.iter_mut().find(|port| port.id == *eni);
        let port = port.ok_or_else(|| refused("no such port"))?;
        let ip = |n| Prefix::host([10, 7, port.device as u8, 10 + n].into());
        let free = (0..ADDRESSES).map(ip).filter(|ip| !port.cidrs.contains(ip));
        let new: Vec<_> = free.take(count.slots() as usize).collect();
        port.cidrs.extend(&new);
        println!("rack: {} address(es) for {eni}", new.len());
        Ok(new)
    }

    async fn unassign_addresses(&self, eni: &EniId, cidrs: &[Prefix]) -> Result<()> {
        println!("rack: {} address(es) back from {eni}", cidrs.len());
        let mut ports = self.0.lock().await;
        ports.iter_mut().for_each(|port| port.cidrs.retain(|cidr| !cidrs.contains(cidr)));
        Ok(())
    }

    async fn instance(&self) -> Result<InstanceFacts> {
        Err(refused("nobody asks: this program knows where it runs"))
    }
}

fn refused(why: &str) -> CloudError {
    CloudError::new(CloudErrorKind::Other, "rack", why)
}

/// Does all that the pool wants done now, one after the other; a daemon spawns it.
async fn work(driver: &mut Driver, now: Time) {
    while let Some((_, job)) = driver.next_job(now) {
        let event = match job {
            Job::Cloud(call) => call.await,
            Job::Blocking(call) => call(),
        };
        driver.handle(event, now);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let targets = WarmTargets { ips: 1, ..WarmTargets::default() };
    let mode = AllocationMode::Secondary;
    let config = PoolConfig::new(mode, targets, PORTS.into(), ADDRESSES.into())?;
    let rack = Arc::new(Rack::default());
    rack.plug(0).await?;
    let (datapath, store) = (Arc::new(FakeDatapath::new()), Arc::new(MemoryStore::new()));
    // Time is what you say it is. A daemon asks a clock; this program jumps.
    let mut now = Time::ZERO;
    let mut driver = Driver::new(Pool::new(config, now), rack, datapath, store);
    let key = |pod: u8| SandboxKey::new("rack-net", &format!("sandbox-{pod}"), "eth0");

    for pod in 1..=6 {
        let name = PodRef { namespace: "demo".to_owned(), name: format!("pod-{pod}") };
        driver.pool_mut().assign(key(pod)?, name, now)?;
        // The pool may have to ask the rack first: the answer comes when that is done.
        work(&mut driver, now).await;
        let answer = driver.pool_mut().poll_reply().context("no answer")?.result?;
        println!("ADD pod-{pod}: {}, table {}", answer.ip, answer.table);
    }
    for pod in 2..=6 {
        driver.pool_mut().release(&key(pod)?, now)?;
        println!("DEL pod-{pod}");
    }
    while now < Time::from_millis(300_000) {
        work(&mut driver, now).await;
        now = driver.poll_timeout().context("the pool has no more plans")?;
        driver.handle(Event::Timeout, now);
    }
    let pool = driver.pool().stats();
    println!("{} of {} addresses in use on {} port(s)", pool.assigned, pool.total, pool.enis.len());
    Ok(())
}
