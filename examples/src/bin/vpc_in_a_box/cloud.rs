//! The far side: EC2 and metadata as servers, the VPC as a router, and the wire between the two: what
//! EC2 attaches is plugged, and what EC2 says an ENI owns is what the router lets through.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context as _, anyhow};
use vpc_datapath_linux::testkit::{
    fabric::{EniPort, Fabric},
    ns::NodeNs,
};
use vpc_eni_aws::emulator::{Emulator, Faults, Service, serve, wall_clock};
use vpc_ipam_core::{
    id::{EniId, InstanceId},
    testkit::ec2::{AttachedEni, World, WorldChange},
};

/// MTU of every ENI: EC2's jumbo frames.
pub(crate) const ENI_MTU: u32 = 9001;

/// EC2 and the VPC.
#[derive(Debug)]
pub(crate) struct Cloud {
    emulator: Emulator,
    plugs: Arc<Plugs>,
}

/// One server that is to run: where, and what.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) service: Service,
}

/// Carries EC2's changes over to the router.
#[derive(Debug)]
struct Plugs {
    fabric: Mutex<Fabric>,
    nodes: BTreeMap<InstanceId, NodeNs>,
    /// What could not be carried over: the run is worthless then, and says so.
    failures: Mutex<Vec<String>>,
}

impl Cloud {
    /// Joins a world and a fabric whose nodes exist, and plugs the nodes' primary ENIs.
    pub(crate) fn new(
        world: World,
        fabric: Fabric,
        nodes: BTreeMap<InstanceId, NodeNs>,
    ) -> anyhow::Result<Self> {
        let plugs =
            Arc::new(Plugs { fabric: Mutex::new(fabric), nodes, failures: Mutex::new(Vec::new()) });
        let emulator = Emulator::new(Arc::new(Mutex::new(world)), wall_clock());
        let hook = Arc::clone(&plugs);
        emulator.on_change(move |change| hook.carry(change));
        let cloud = Self { emulator, plugs };
        match cloud.failures().pop() {
            Some(failure) => Err(anyhow!(failure)),
            None => Ok(cloud),
        }
    }

    /// Lets these things go wrong from now on.
    pub(crate) fn inject(&self, faults: &Faults) {
        self.emulator.inject(faults);
    }

    /// EC2's service, the same for all nodes.
    pub(crate) fn ec2(&self) -> Service {
        self.emulator.ec2_router()
    }

    /// Metadata of one instance.
    pub(crate) fn imds(&self, instance: &InstanceId) -> Service {
        self.emulator.imds_router(instance)
    }

    /// Runs the servers, on one thread, until the process ends.
    pub(crate) fn serve(&self, servers: Vec<Server>) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the EC2 and metadata servers")?;
        let run = move || {
            runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                for Server { listener, service } in servers {
                    tasks.spawn(serve(listener, service, std::future::pending()));
                }
                while let Some(ended) = tasks.join_next().await {
                    eprintln!("an EC2 or metadata server ended: {ended:?}");
                }
            });
        };
        thread::Builder::new()
            .name("cloud".to_owned())
            .spawn(run)
            .context("start the EC2 and metadata servers")?;
        Ok(())
    }

    /// The world as EC2 knows it.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        lock(self.emulator.world())
    }

    /// The VPC's router.
    pub(crate) fn fabric(&self) -> MutexGuard<'_, Fabric> {
        lock(&self.plugs.fabric)
    }

    /// What could not be carried from EC2 to the router.
    pub(crate) fn failures(&self) -> Vec<String> {
        lock(&self.plugs.failures).clone()
    }

    /// EC2 calls so far, by action.
    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        self.world().calls().iter().map(|(action, n)| (action.to_string(), *n)).collect()
    }
}

impl Plugs {
    fn carry(&self, change: WorldChange) {
        let mut fabric = lock(&self.fabric);
        let outcome = match &change {
            WorldChange::EniAttached(eni) => self.plug(&mut fabric, eni),
            WorldChange::EniDetached { eni, .. } => {
                fabric.detach_eni(eni.as_str()).map_err(anyhow::Error::from)
            }
            WorldChange::AddressesChanged { eni, owned, .. } => {
                fabric.set_owned(eni.as_str(), owned).map_err(anyhow::Error::from)
            }
            other => Err(anyhow!("a change that the router knows nothing of: {other:?}")),
        };
        if let Err(e) = outcome {
            let what = subject(&change);
            lock(&self.failures)
                .push(format!("the VPC's router and EC2 disagree on {what}: {e:#}"));
        }
    }

    fn plug(&self, fabric: &mut Fabric, eni: &AttachedEni) -> anyhow::Result<()> {
        let node = self
            .nodes
            .get(&eni.instance)
            .ok_or_else(|| anyhow!("{} is no node of the box", eni.instance))?;
        // As the kernel names them where udev does not.
        let if_name = format!("eth{}", eni.device);
        let id = eni.eni.as_str();
        let port =
            EniPort::new(id, eni.mac, &if_name, eni.primary_ip, eni.subnet_cidr).mtu(ENI_MTU);
        let port = if eni.primary { port.primary() } else { port };
        Ok(fabric.attach_eni(node, &port)?)
    }
}

fn subject(change: &WorldChange) -> String {
    match change {
        WorldChange::EniAttached(AttachedEni { eni, .. })
        | WorldChange::EniDetached { eni, .. }
        | WorldChange::AddressesChanged { eni, .. } => EniId::to_string(eni),
        other => format!("{other:?}"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The primary address of an instance.
pub(crate) fn primary_ip(world: &World, instance: &InstanceId) -> Option<Ipv4Addr> {
    let instance = world.instance(instance)?;
    world.eni(&instance.primary_eni)?.primary_ip
}
