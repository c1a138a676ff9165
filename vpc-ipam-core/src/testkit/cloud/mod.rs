//! The cloud port on the EC2 model.

mod convert;
mod discovery;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;

pub(super) use self::convert::cloud_eni;
use self::convert::{cloud_error, imds_eni, ipv4_request, not_launched};
use self::discovery::subnet_for;
use super::{
    ec2::{
        AssignIpv6Addresses, AssignPrivateIpAddresses, AttachNetworkInterface,
        CreateNetworkInterface, DescribeNetworkInterfaces, DetachNetworkInterface, Ec2Error, Eni,
        Filter, ModifyNetworkInterfaceAttribute, UnassignIpv6Addresses, UnassignPrivateIpAddresses,
        World, code,
    },
    lock,
};
use crate::{
    addr::Prefix,
    class::INSTANCE_TAG,
    cloud::{
        AddressCount, Authority, CloudBackend, CloudEni, CloudError, CloudErrorKind, CloudView,
        CreateEni, InstanceFacts,
    },
    config::Family,
    id::{EniId, InstanceId},
    time::Time,
};

/// Attempts of one call of which nothing was heard: what an SDK does by default.
const ATTEMPTS_MAX: u32 = 3;

/// What of the cloud a node can reach.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Reach {
    /// EC2 and instance metadata.
    #[default]
    All,
    /// Instance metadata, which may be out of date.
    Metadata,
    /// Nothing.
    Nothing,
}

/// A [`CloudBackend`] for one instance of a [`World`].
///
/// A call takes effect when its future is first polled, and is ready at once; latency is the
/// executor's business. Time comes from [`set_now`](Self::set_now).
#[derive(Debug)]
pub struct ModelCloud {
    world: Arc<Mutex<World>>,
    instance: InstanceId,
    now_ms: AtomicU64,
    reach: Mutex<Reach>,
    family: Mutex<Family>,
    /// Numbers the client tokens.
    creations: AtomicU64,
    /// ENIs whose creation or deletion failed half-way. Each later call tries to delete them,
    /// as an adapter does in the background.
    undeleted: Mutex<BTreeSet<EniId>>,
}

impl ModelCloud {
    /// The cloud as `instance` sees it.
    pub fn new(world: Arc<Mutex<World>>, instance: InstanceId) -> Self {
        let now_ms = AtomicU64::new(lock(&world).now().as_millis());
        Self {
            world,
            instance,
            now_ms,
            reach: Mutex::default(),
            family: Mutex::default(),
            creations: AtomicU64::new(0),
            undeleted: Mutex::default(),
        }
    }

    /// The time of the calls that follow.
    pub fn set_now(&self, now: Time) {
        self.now_ms.store(now.as_millis(), Ordering::Relaxed);
    }

    /// What can be reached from now on.
    pub fn set_reach(&self, reach: Reach) {
        *lock(&self.reach) = reach;
    }

    /// Family of the pods, and so of the addresses that views speak of.
    pub fn set_family(&self, family: Family) {
        *lock(&self.family) = family;
    }

    /// The world behind it.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// The instance that calls.
    pub fn instance_id(&self) -> &InstanceId {
        &self.instance
    }

    fn now(&self) -> Time {
        Time::from_millis(self.now_ms.load(Ordering::Relaxed))
    }

    /// The world, if EC2 can be reached.
    fn ec2(&self, action: &str) -> Result<MutexGuard<'_, World>, CloudError> {
        if *lock(&self.reach) == Reach::All {
            let mut world = self.world();
            self.clean_up(&mut world);
            return Ok(world);
        }
        Err(CloudError::new(CloudErrorKind::Unreachable, action, "EC2 did not answer in time"))
    }

    fn describe_ec2(&self, world: &mut World) -> Result<CloudView, Ec2Error> {
        let request = DescribeNetworkInterfaces {
            filters: vec![Filter::new("attachment.instance-id", self.instance.as_str())],
            ..DescribeNetworkInterfaces::default()
        };
        let page = world.describe_network_interfaces(&request, self.now())?;
        let enis = page.items.iter().filter_map(|eni| self.cloud_eni(world, eni)).collect();
        Ok(CloudView { enis, authority: Authority::Ec2 })
    }

    fn describe_imds(&self, world: &World) -> Option<CloudView> {
        if world.imds_status(&self.instance).is_some() {
            return None;
        }
        let view = world.imds_view(&self.instance, self.now())?;
        let family = *lock(&self.family);
        let enis = view.enis.iter().filter_map(|eni| imds_eni(eni, family)).collect();
        Some(CloudView { enis, authority: Authority::Imds })
    }

    fn create(&self, world: &mut World, request: &CreateEni) -> Result<CloudEni, Ec2Error> {
        let now = self.now();
        let instance = world.instance(&self.instance).ok_or_else(not_launched)?;
        let subnet = match &request.subnet {
            Some(subnet) => subnet.clone(),
            None => subnet_for(world, instance)?,
        };
        let mut create = CreateNetworkInterface::new(subnet);
        create.ipv4 = ipv4_request(request.count);
        // The ENI's own; a prefix instead of it would leave the ENI without one.
        create.ipv6_addresses = u32::from(create.ipv4.is_none());
        create.groups.clone_from(&request.groups);
        create.tags.insert(INSTANCE_TAG.to_owned(), self.instance.to_string());
        let number = self.creations.fetch_add(1, Ordering::Relaxed);
        create.client_token = Some(format!("{}-{number}", self.instance));
        let eni = repeated(|| world.create_network_interface(&create, now))?;
        let attached = self.attach(world, &eni.id, request.card);
        if let Err(error) = attached {
            lock(&self.undeleted).insert(eni.id.clone());
            self.clean_up(world);
            return Err(error);
        }
        let eni = world.eni(&eni.id).cloned().ok_or_else(not_launched)?;
        self.cloud_eni(world, &eni).ok_or_else(not_launched)
    }

    fn cloud_eni(&self, world: &World, eni: &Eni) -> Option<CloudEni> {
        cloud_eni(world, eni, *lock(&self.family))
    }

    fn clean_up(&self, world: &mut World) {
        let now = self.now();
        lock(&self.undeleted).retain(|eni| {
            // Others may have made use of it meanwhile.
            let loose = world.eni(eni).is_some_and(|eni| eni.attachment.is_none());
            world.reveal_eni(eni);
            loose && world.delete_network_interface(eni, now).is_err()
        });
    }

    fn attach(&self, world: &mut World, eni: &EniId, card: u32) -> Result<(), Ec2Error> {
        let now = self.now();
        let used: Vec<u32> = world
            .enis_of(&self.instance)
            .iter()
            .filter_map(|eni| eni.attachment.as_ref())
            .filter(|a| a.card == card)
            .map(|a| a.device)
            .collect();
        let device = (0..u32::MAX).find(|d| !used.contains(d)).unwrap_or(u32::MAX);
        let attach = AttachNetworkInterface {
            eni: eni.clone(),
            instance: self.instance.clone(),
            device,
            card,
        };
        let mut attached = world.attach_network_interface(&attach, now);
        if attached.as_ref().is_err_and(|e| e.code == code::INVALID_INTERFACE_NOT_FOUND) {
            // An adapter waits until EC2 knows what it has made; here waiting takes no time.
            world.reveal_eni(eni);
            attached = world.attach_network_interface(&attach, now);
        }
        let attachment = attached?;
        let modify = ModifyNetworkInterfaceAttribute::DeleteOnTermination {
            eni: eni.clone(),
            attachment: attachment.clone(),
            value: true,
        };
        if let Err(error) = world.modify_network_interface_attribute(&modify, now) {
            let _ = world
                .detach_network_interface(&DetachNetworkInterface { attachment, force: true }, now);
            return Err(error);
        }
        Ok(())
    }

    fn assign_ipv6(&self, eni: &EniId, prefixes: u32) -> Result<Vec<Prefix>, CloudError> {
        const ACTION: &str = "AssignIpv6Addresses";
        let request = AssignIpv6Addresses { eni: eni.clone(), prefixes };
        let assigned = self.ec2(ACTION)?.assign_ipv6_addresses(&request, self.now());
        assigned.map_err(|e| cloud_error(ACTION, &e))
    }

    fn unassign_ipv6(&self, eni: &EniId, cidrs: &[Prefix]) -> Result<(), CloudError> {
        const ACTION: &str = "UnassignIpv6Addresses";
        let request = UnassignIpv6Addresses { eni: eni.clone(), prefixes: cidrs.to_vec() };
        let taken = self.ec2(ACTION)?.unassign_ipv6_addresses(&request, self.now());
        taken.map_err(|e| cloud_error(ACTION, &e))
    }

    fn delete(&self, world: &mut World, eni: &EniId) -> Result<(), Ec2Error> {
        let result = self.try_delete(world, eni);
        if result.is_err() {
            // Once it is detached, nobody who asks what is attached will see it again.
            lock(&self.undeleted).insert(eni.clone());
            self.clean_up(world);
        }
        result
    }

    fn try_delete(&self, world: &mut World, eni: &EniId) -> Result<(), Ec2Error> {
        let now = self.now();
        let Some(found) = world.eni(eni) else { return Ok(()) };
        if let Some(attachment) = found.attachment.as_ref().map(|a| a.id.clone()) {
            let detach = DetachNetworkInterface { attachment, force: true };
            world.detach_network_interface(&detach, now)?;
        }
        world.delete_network_interface(eni, now)
    }
}

#[async_trait]
impl CloudBackend for ModelCloud {
    async fn instance(&self) -> Result<InstanceFacts, CloudError> {
        if *lock(&self.reach) == Reach::Nothing {
            let message = "instance metadata did not answer in time";
            return Err(CloudError::new(CloudErrorKind::Unreachable, "/latest/meta-data", message));
        }
        let world = self.world();
        let missing =
            || CloudError::new(CloudErrorKind::Malformed, "/latest/meta-data", "no such instance");
        if let Some(status) = world.imds_status(&self.instance) {
            let message = format!("instance metadata answered with status {status}");
            return Err(CloudError::new(CloudErrorKind::Malformed, "/latest/meta-data", message));
        }
        let view = world.imds_view(&self.instance, self.now()).ok_or_else(missing)?;
        let instance = world.instance(&self.instance).ok_or_else(missing)?;
        Ok(InstanceFacts {
            instance: view.instance,
            instance_type: view.instance_type,
            region: view.region,
            availability_zone: view.availability_zone,
            vpc: instance.vpc.clone(),
            primary_eni: instance.primary_eni.clone(),
            primary_mac: view.primary_mac,
            primary_ip: view.primary_ip,
            subnet: instance.subnet.clone(),
            vpc_cidrs: view.vpc_cidrs,
            limits: instance.instance_type.limits(),
        })
    }

    async fn describe(&self) -> Result<CloudView, CloudError> {
        const ACTION: &str = "DescribeNetworkInterfaces";
        let reach = *lock(&self.reach);
        let mut world = self.world();
        match reach {
            Reach::All => {
                self.clean_up(&mut world);
                self.describe_ec2(&mut world).map_err(|e| cloud_error(ACTION, &e))
            }
            Reach::Metadata => self.describe_imds(&world).ok_or_else(|| {
                CloudError::new(CloudErrorKind::Malformed, ACTION, "metadata is broken")
            }),
            Reach::Nothing => Err(CloudError::new(
                CloudErrorKind::Unreachable,
                ACTION,
                "neither EC2 nor instance metadata answered in time",
            )),
        }
    }

    async fn create_eni(&self, request: &CreateEni) -> Result<CloudEni, CloudError> {
        const ACTION: &str = "CreateNetworkInterface";
        let mut world = self.ec2(ACTION)?;
        self.create(&mut world, request).map_err(|e| cloud_error(ACTION, &e))
    }

    async fn delete_eni(&self, eni: &EniId) -> Result<(), CloudError> {
        const ACTION: &str = "DeleteNetworkInterface";
        let mut world = self.ec2(ACTION)?;
        self.delete(&mut world, eni).map_err(|e| cloud_error(ACTION, &e))
    }

    async fn assign_addresses(
        &self,
        eni: &EniId,
        count: AddressCount,
    ) -> Result<Vec<Prefix>, CloudError> {
        const ACTION: &str = "AssignPrivateIpAddresses";
        let Some(ipv4) = ipv4_request(count) else {
            return self.assign_ipv6(eni, count.slots());
        };
        let mut world = self.ec2(ACTION)?;
        let request = AssignPrivateIpAddresses { eni: eni.clone(), ipv4 };
        let assigned = world
            .assign_private_ip_addresses(&request, self.now())
            .map_err(|e| cloud_error(ACTION, &e))?;
        let hosts = assigned.addresses.iter().map(|ip| Prefix::host((*ip).into()));
        Ok(hosts.chain(assigned.prefixes.iter().copied()).collect())
    }

    async fn unassign_addresses(&self, eni: &EniId, cidrs: &[Prefix]) -> Result<(), CloudError> {
        const ACTION: &str = "UnassignPrivateIpAddresses";
        if cidrs.iter().any(|cidr| !cidr.is_v4()) {
            return self.unassign_ipv6(eni, cidrs);
        }
        let mut world = self.ec2(ACTION)?;
        let mut request = UnassignPrivateIpAddresses {
            eni: eni.clone(),
            addresses: Vec::new(),
            prefixes: Vec::new(),
        };
        for cidr in cidrs {
            match cidr.base() {
                std::net::IpAddr::V4(ip) if cidr.is_host() => request.addresses.push(ip),
                _ => request.prefixes.push(*cidr),
            }
        }
        world
            .unassign_private_ip_addresses(&request, self.now())
            .map_err(|e| cloud_error(ACTION, &e))
    }
}

/// A call that its client token makes harmless to repeat.
fn repeated<T>(mut call: impl FnMut() -> Result<T, Ec2Error>) -> Result<T, Ec2Error> {
    let mut result = call();
    for _ in 1..ATTEMPTS_MAX {
        if !result.as_ref().is_err_and(|e| e.code == code::NO_ANSWER) {
            break;
        }
        result = call();
    }
    result
}
