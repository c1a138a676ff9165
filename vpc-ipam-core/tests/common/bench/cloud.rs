//! A cloud of one node that is made of lists. Other than the EC2 model it has no behaviour of its own:
//! what it answers is what the commands say.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{
        AddressCount, Authority, CloudBackend, CloudEni, CloudError, CloudErrorKind, CloudView,
        CreateEni, EniKind, InstanceFacts,
    },
    id::{EniId, MacAddr},
};

/// How the next call that asks for addresses ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Script {
    /// With no more than so many.
    Fewer(u32),
    Fails(CloudErrorKind),
}

#[derive(Debug)]
pub(crate) struct Subnet {
    pub(crate) enis: Vec<CloudEni>,
    /// How the next growths end.
    pub(crate) growths: VecDeque<Script>,
    /// Other calls that fail.
    pub(crate) failures: u32,
    next_eni: u8,
    max_enis: usize,
    slots: usize,
    /// Addresses of the subnet, from 10.0.0.0 on.
    size: u32,
}

#[derive(Debug)]
pub(crate) struct Cloud(Mutex<Subnet>);

impl Cloud {
    pub(crate) fn new(max_enis: u32, slots: u32, size: u32) -> Self {
        let mut subnet = Subnet {
            enis: Vec::new(),
            growths: VecDeque::new(),
            failures: 0,
            next_eni: 0,
            max_enis: max_enis as usize,
            slots: slots as usize,
            size,
        };
        subnet.attach(IpAddr::from([10, 0, 0, 0]));
        Self(Mutex::new(subnet))
    }

    pub(crate) fn subnet(&self) -> MutexGuard<'_, Subnet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, action: &str) -> Result<(), CloudError> {
        let mut subnet = self.subnet();
        if subnet.failures == 0 {
            return Ok(());
        }
        subnet.failures -= 1;
        Err(CloudError::new(CloudErrorKind::Unreachable, action, "as the test wants"))
    }
}

impl Subnet {
    /// An ENI, which takes an address of the subnet for itself.
    fn attach(&mut self, primary_ip: IpAddr) -> &mut CloudEni {
        let n = self.next_eni;
        self.next_eni += 1;
        let device = (0..).find(|d| self.enis.iter().all(|eni| eni.device != *d)).unwrap();
        self.enis.push(CloudEni {
            id: EniId::new(&format!("eni-{n}")).unwrap(),
            mac: MacAddr([2, 0, 0, 0, 0, n]),
            device,
            card: 0,
            kind: EniKind::Interface,
            primary: n == 0,
            excluded: false,
            subnet: "subnet-1".parse().unwrap(),
            subnet_cidr: "10.0.0.0/16".parse().unwrap(),
            primary_ip,
            cidrs: Vec::new(),
            tags: BTreeMap::new(),
        });
        self.enis.last_mut().unwrap()
    }

    /// The lowest free blocks, as many as there are.
    fn free_blocks(&self, count: AddressCount) -> Vec<Prefix> {
        let (len, size) = match count {
            AddressCount::Prefixes(_) => (28, 16),
            AddressCount::Secondary(_) => (32, 1),
            AddressCount::Ipv6Prefixes(_) => panic!("{count} on an IPv4 node"),
        };
        let taken: Vec<Prefix> = self.enis.iter().flat_map(|eni| eni.cidrs.clone()).collect();
        let blocks = (0..self.size / size).map(|n| {
            let base = std::net::Ipv4Addr::from_bits((10 << 24) + n * size);
            Prefix::new(base.into(), len).unwrap()
        });
        let own: Vec<IpAddr> = self.enis.iter().map(|eni| eni.primary_ip).collect();
        let free = |block: &Prefix| {
            !own.iter().any(|ip| block.contains(*ip))
                && !taken.iter().any(|t| t.covers(block) || block.covers(t))
        };
        blocks.filter(free).take(count.slots() as usize).collect()
    }

    /// What the next growth gets: nothing but whole answers.
    fn grow(&mut self, action: &str, count: AddressCount) -> Result<Vec<Prefix>, CloudError> {
        let fails = |kind| Err(CloudError::new(kind, action, "as the test wants"));
        let most = match self.growths.pop_front() {
            Some(Script::Fails(kind)) => return fails(kind),
            Some(Script::Fewer(n)) => n as usize,
            None => usize::MAX,
        };
        let mut blocks = self.free_blocks(count);
        if blocks.len() < count.slots() as usize {
            return fails(match count {
                AddressCount::Secondary(_) => CloudErrorKind::InsufficientAddresses,
                _ => CloudErrorKind::InsufficientPrefixes,
            });
        }
        blocks.truncate(most);
        Ok(blocks)
    }

    /// Somebody else adds `count` to the ENI of that number.
    pub(crate) fn add_foreign(&mut self, n: usize, count: AddressCount) {
        let blocks = self.free_blocks(count);
        let n = n % self.enis.len();
        let eni = &mut self.enis[n];
        eni.cidrs.extend(blocks);
        eni.cidrs.truncate(self.slots);
    }

    /// Somebody else takes the block of that number, pods or no pods.
    pub(crate) fn lose_cidr(&mut self, n: usize) {
        let all = self.enis.iter().map(|eni| eni.cidrs.len()).sum::<usize>();
        let Some(mut n) = n.checked_rem(all) else { return };
        for eni in &mut self.enis {
            if n < eni.cidrs.len() {
                eni.cidrs.remove(n);
                return;
            }
            n -= eni.cidrs.len();
        }
    }

    /// Somebody else deletes the secondary ENI of that number, pods or no pods.
    pub(crate) fn lose_eni(&mut self, n: usize) {
        if let Some(n) = n.checked_rem(self.enis.len() - 1) {
            self.enis.remove(n + 1);
        }
    }
}

fn gone(action: &str) -> CloudError {
    CloudError::new(CloudErrorKind::Gone, action, "no such ENI")
}

#[async_trait]
impl CloudBackend for Cloud {
    async fn instance(&self) -> Result<InstanceFacts, CloudError> {
        Err(CloudError::new(CloudErrorKind::Other, "/latest/meta-data", "nobody asks"))
    }

    async fn describe(&self) -> Result<CloudView, CloudError> {
        self.check("DescribeNetworkInterfaces")?;
        Ok(CloudView { enis: self.subnet().enis.clone(), authority: Authority::Ec2 })
    }

    async fn create_eni(&self, request: &CreateEni) -> Result<CloudEni, CloudError> {
        const ACTION: &str = "CreateNetworkInterface";
        let mut subnet = self.subnet();
        if subnet.enis.len() >= subnet.max_enis {
            return Err(CloudError::new(CloudErrorKind::AttachmentLimit, ACTION, "no place"));
        }
        let cidrs = subnet.grow(ACTION, request.count)?;
        let mut left = subnet.free_blocks(AddressCount::Secondary(u32::MAX));
        left.retain(|ip| !cidrs.iter().any(|cidr| cidr.covers(ip)));
        let Some(primary_ip) = left.first().map(Prefix::base) else {
            let kind = CloudErrorKind::InsufficientAddresses;
            return Err(CloudError::new(kind, ACTION, "no address for the ENI itself"));
        };
        let eni = subnet.attach(primary_ip);
        eni.cidrs = cidrs;
        Ok(eni.clone())
    }

    async fn delete_eni(&self, id: &EniId) -> Result<(), CloudError> {
        self.check("DeleteNetworkInterface")?;
        self.subnet().enis.retain(|eni| eni.id != *id);
        Ok(())
    }

    async fn assign_addresses(
        &self,
        id: &EniId,
        count: AddressCount,
    ) -> Result<Vec<Prefix>, CloudError> {
        const ACTION: &str = "AssignPrivateIpAddresses";
        let mut subnet = self.subnet();
        let n = subnet.enis.iter().position(|eni| eni.id == *id).ok_or_else(|| gone(ACTION))?;
        if subnet.enis[n].cidrs.len() + count.slots() as usize > subnet.slots {
            return Err(CloudError::new(CloudErrorKind::AddressLimit, ACTION, "no slot"));
        }
        let cidrs = subnet.grow(ACTION, count)?;
        subnet.enis[n].cidrs.extend(&cidrs);
        Ok(cidrs)
    }

    async fn unassign_addresses(&self, id: &EniId, cidrs: &[Prefix]) -> Result<(), CloudError> {
        const ACTION: &str = "UnassignPrivateIpAddresses";
        self.check(ACTION)?;
        let mut subnet = self.subnet();
        let eni = subnet.enis.iter_mut().find(|eni| eni.id == *id).ok_or_else(|| gone(ACTION))?;
        eni.cidrs.retain(|cidr| !cidrs.contains(cidr));
        Ok(())
    }
}
