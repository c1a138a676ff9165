//! The cloud port on the EC2 model.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;

use super::{
    ec2::{
        AssignIpv6Addresses, AssignPrivateIpAddresses, AttachNetworkInterface, AttachmentStatus,
        CreateNetworkInterface, DescribeNetworkInterfaces, DetachNetworkInterface, Ec2Error, Eni,
        Filter, ImdsEni, InterfaceType, Ipv4Request, ModifyNetworkInterfaceAttribute,
        UnassignIpv6Addresses, UnassignPrivateIpAddresses, World, code,
    },
    lock,
};
use crate::{
    addr::Prefix,
    class::INSTANCE_TAG,
    cloud::{
        AddressCount, Authority, CloudBackend, CloudEni, CloudError, CloudErrorKind, CloudView,
        CreateEni, EniKind, InstanceFacts,
    },
    config::Family,
    id::{EniId, InstanceId},
    subnet::is_excluded,
    time::Time,
};

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
}

impl ModelCloud {
    /// The cloud as `instance` sees it.
    pub fn new(world: Arc<Mutex<World>>, instance: InstanceId) -> Self {
        let now_ms = AtomicU64::new(lock(&world).now().as_millis());
        Self { world, instance, now_ms, reach: Mutex::default(), family: Mutex::default() }
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
            return Ok(self.world());
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
        let view = world.imds_view(&self.instance, self.now())?;
        let family = *lock(&self.family);
        let enis = view.enis.iter().filter_map(|eni| imds_eni(eni, family)).collect();
        Some(CloudView { enis, authority: Authority::Imds })
    }

    fn create(&self, world: &mut World, request: &CreateEni) -> Result<CloudEni, Ec2Error> {
        let now = self.now();
        let instance = world.instance(&self.instance).ok_or_else(not_launched)?;
        let subnet = request.subnet.clone().unwrap_or_else(|| instance.subnet.clone());
        let mut create = CreateNetworkInterface::new(subnet);
        create.ipv4 = ipv4_request(request.count);
        // The ENI's own; a prefix instead of it would leave the ENI without one.
        create.ipv6_addresses = u32::from(create.ipv4.is_none());
        create.groups.clone_from(&request.groups);
        create.tags.insert(INSTANCE_TAG.to_owned(), self.instance.to_string());
        let eni = world.create_network_interface(&create, now)?;
        let attached = self.attach(world, &eni.id, request.card);
        if let Err(error) = attached {
            // The one way to leave nothing behind; its own failure leaks the ENI, as in EC2.
            let _ = world.delete_network_interface(&eni.id, now);
            return Err(error);
        }
        let eni = world.eni(&eni.id).cloned().ok_or_else(not_launched)?;
        self.cloud_eni(world, &eni).ok_or_else(not_launched)
    }

    fn cloud_eni(&self, world: &World, eni: &Eni) -> Option<CloudEni> {
        cloud_eni(world, eni, *lock(&self.family))
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
        let attachment = world.attach_network_interface(&attach, now)?;
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
            Reach::All => self.describe_ec2(&mut world).map_err(|e| cloud_error(ACTION, &e)),
            Reach::Metadata => self.describe_imds(&world).ok_or_else(|| {
                CloudError::new(CloudErrorKind::Malformed, ACTION, "no such instance")
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

/// `None` for IPv6.
fn ipv4_request(count: AddressCount) -> Option<Ipv4Request> {
    match count {
        AddressCount::Ipv6Prefixes(_) => None,
        AddressCount::Prefixes(n) => Some(Ipv4Request::Prefixes(n)),
        AddressCount::Secondary(n) => Some(Ipv4Request::Secondary(n)),
    }
}

fn not_launched() -> Ec2Error {
    Ec2Error::new(code::INVALID_INSTANCE_NOT_FOUND, "The instance does not exist")
}

/// One attached ENI as EC2 describes it; `None` for one that is on its way out or has no address.
fn cloud_eni(world: &World, eni: &Eni, family: Family) -> Option<CloudEni> {
    let attachment = eni.attachment.as_ref()?;
    if attachment.status == AttachmentStatus::Detaching {
        return None;
    }
    let subnet = world.subnet(&eni.subnet)?;
    let ipv4 = eni.primary_ip.map_or_else(|| [0, 0, 0, 0].into(), Into::into);
    let ipv6 = eni.ipv6_addresses.first().copied().zip(subnet.ipv6_cidr);
    let (primary_ip, subnet_cidr) = own(family, (ipv4, subnet.cidr), ipv6);
    Some(CloudEni {
        id: eni.id.clone(),
        mac: eni.mac,
        device: attachment.device,
        card: attachment.card,
        kind: match eni.kind {
            InterfaceType::Efa => EniKind::Efa,
            InterfaceType::EfaOnly => EniKind::EfaOnly,
            InterfaceType::Interface => EniKind::Interface,
            InterfaceType::Trunk => EniKind::Trunk,
        },
        primary: eni.is_primary(),
        excluded: is_excluded(&subnet.tags, None),
        subnet: eni.subnet.clone(),
        subnet_cidr,
        primary_ip,
        cidrs: eni.owned(),
        tags: eni.tags.clone(),
    })
}

/// What the ENI has for itself, in the node's family if it has that.
fn own(
    family: Family,
    ipv4: (IpAddr, Prefix),
    ipv6: Option<(Ipv6Addr, Prefix)>,
) -> (IpAddr, Prefix) {
    match (family, ipv6) {
        (Family::V6, Some((ip, block))) => (ip.into(), block),
        _ => ipv4,
    }
}

fn imds_eni(eni: &ImdsEni, family: Family) -> Option<CloudEni> {
    let (primary_ip, secondary) = eni.local_ipv4s.split_first()?;
    let ipv6 = eni.ipv6s.first().copied().zip(eni.subnet_ipv6_cidr);
    let (primary_ip, subnet_cidr) = own(family, ((*primary_ip).into(), eni.subnet_cidr), ipv6);
    let hosts = secondary.iter().map(|ip| Prefix::host((*ip).into()));
    let card = eni.card.unwrap_or(0);
    Some(CloudEni {
        id: eni.id.clone(),
        mac: eni.mac,
        device: eni.device,
        card,
        kind: EniKind::Interface,
        primary: card == 0 && eni.device == 0,
        excluded: false,
        subnet: eni.subnet.clone(),
        subnet_cidr,
        primary_ip,
        cidrs: hosts.chain(eni.ipv4_prefixes.iter().chain(&eni.ipv6_prefixes).copied()).collect(),
        tags: BTreeMap::new(),
    })
}

fn cloud_error(action: &str, error: &Ec2Error) -> CloudError {
    let kind = match error.code.as_ref() {
        code::PRIVATE_IP_ADDRESS_LIMIT_EXCEEDED => CloudErrorKind::AddressLimit,
        code::ATTACHMENT_LIMIT_EXCEEDED => CloudErrorKind::AttachmentLimit,
        code::INVALID_INTERFACE_NOT_FOUND | code::INVALID_ATTACHMENT_NOT_FOUND => {
            CloudErrorKind::Gone
        }
        code::INCORRECT_STATE | code::INVALID_INTERFACE_IN_USE => CloudErrorKind::InUse,
        code::INSUFFICIENT_FREE_ADDRESSES => CloudErrorKind::InsufficientAddresses,
        code::INSUFFICIENT_CIDR_BLOCKS => CloudErrorKind::InsufficientPrefixes,
        code::UNAUTHORIZED_OPERATION => CloudErrorKind::PermissionDenied,
        code::REQUEST_LIMIT_EXCEEDED => CloudErrorKind::Throttled,
        _ => CloudErrorKind::Other,
    };
    CloudError::new(kind, action, error.to_string())
}
