//! A small EC2 in memory, for the failures that no HTTP server can be made to produce: lost
//! answers, lagging listings, lookups that miss.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{AddressCount, CloudError, CloudErrorKind, EniKind, InstanceLimits},
    config::Family,
    id::{EniId, InstanceId, MacAddr, SecurityGroupId, SubnetId},
};

use crate::{
    AwsBackend, AwsConfig,
    api::{Attachment, AttachmentState, Ec2Api, Ec2Eni, NewEni},
    instance::Identity,
};

/// A failure in store for one call.
#[derive(Debug)]
struct Fault {
    method: &'static str,
    kind: CloudErrorKind,
    /// The call does its work all the same: only the answer is lost.
    done: bool,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) enis: BTreeMap<EniId, Ec2Eni>,
    /// ENIs that listings do not show.
    pub(crate) unlisted: BTreeSet<EniId>,
    /// Lookups for which a new attachment is still `attaching`.
    pub(crate) attaching_polls: u32,
    /// Lookups that do not show all addresses of an ENI yet.
    pub(crate) partial_polls: u32,
    pub(crate) log: Vec<&'static str>,
    faults: VecDeque<Fault>,
    created: u8,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

pub(crate) fn id(text: &str) -> EniId {
    EniId::new(text).unwrap()
}

pub(crate) fn instance() -> InstanceId {
    InstanceId::new("i-1").unwrap()
}

fn attachment(device: u32, state: AttachmentState) -> Attachment {
    Attachment { id: format!("a-{device}"), instance: Some(instance()), device, card: 0, state }
}

impl Fake {
    /// A backend on this EC2, with one attached ENI, `eni-primary`, and no metadata service.
    pub(crate) fn backend() -> (Arc<AwsBackend>, Self) {
        Self::backend_of(Family::V4)
    }

    pub(crate) fn backend_of(family: Family) -> (Arc<AwsBackend>, Self) {
        let fake = Self::default();
        let primary = Ec2Eni {
            attachment: Some(attachment(0, AttachmentState::Attached)),
            ..eni("eni-primary", 1, Vec::new())
        };
        fake.state().enis.insert(primary.id.clone(), primary);
        // Nothing listens on port 1 of the loopback.
        let config = AwsConfig::builder()
            .imds_endpoint("http://127.0.0.1:1")
            .region("us-west-2")
            .family(family)
            .build();
        let identity = Identity {
            instance: instance(),
            instance_type: "m5.large".into(),
            region: "us-west-2".into(),
            availability_zone: "us-west-2a".into(),
            vpc: "vpc-1".parse().unwrap(),
            primary_eni: id("eni-primary"),
            primary_mac: MacAddr([2, 0, 0, 0, 0, 1]),
            primary_ip: "10.0.0.1".parse().unwrap(),
            subnet: SubnetId::new("subnet-1").unwrap(),
        };
        let backend = AwsBackend::with_api(config.unwrap(), Arc::new(fake.clone()), identity);
        (Arc::new(backend), fake)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The next call of `method` fails before it does anything.
    pub(crate) fn refuse(&self, method: &'static str, kind: CloudErrorKind) {
        self.state().faults.push_back(Fault { method, kind, done: false });
    }

    /// The next call of `method` does its work, but its answer is lost.
    pub(crate) fn lose_answer(&self, method: &'static str, kind: CloudErrorKind) {
        self.state().faults.push_back(Fault { method, kind, done: true });
    }

    fn call<T>(
        &self,
        method: &'static str,
        work: impl FnOnce(&mut State) -> Result<T, CloudError>,
    ) -> Result<T, CloudError> {
        let mut state = self.state();
        state.log.push(method);
        let at = state.faults.iter().position(|fault| fault.method == method);
        match at.and_then(|at| state.faults.remove(at)) {
            None => work(&mut state),
            Some(fault) => {
                if fault.done {
                    work(&mut state)?;
                }
                Err(CloudError::new(fault.kind, method, "injected"))
            }
        }
    }
}

/// The ENI's own IPv6 address.
fn own_ipv6(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into())
}

pub(crate) fn eni(name: &str, n: u8, cidrs: Vec<Prefix>) -> Ec2Eni {
    Ec2Eni {
        id: id(name),
        mac: MacAddr([2, 0, 0, 0, 0, n]),
        subnet: SubnetId::new("subnet-1").unwrap(),
        kind: EniKind::Interface,
        primary_ip: Some(IpAddr::from([10, 0, 0, n])),
        ipv6: Some(own_ipv6(n)),
        cidrs,
        groups: vec![SecurityGroupId::new("sg-1").unwrap()],
        tags: BTreeMap::new(),
        attachment: None,
    }
}

fn error(kind: CloudErrorKind) -> CloudError {
    CloudError::new(kind, "fake", format!("{kind:?}"))
}

fn find<'a>(state: &'a mut State, eni: &EniId) -> Result<&'a mut Ec2Eni, CloudError> {
    state.enis.get_mut(eni).ok_or_else(|| error(CloudErrorKind::Gone))
}

#[async_trait]
impl Ec2Api for Fake {
    async fn enis_of(&self, instance: &InstanceId) -> Result<Vec<Ec2Eni>, CloudError> {
        self.call("enis_of", |state| {
            let listed = |eni: &&Ec2Eni| {
                eni.attached_to(instance).is_some() && !state.unlisted.contains(&eni.id)
            };
            Ok(state.enis.values().filter(listed).cloned().collect())
        })
    }

    async fn eni(&self, eni: &EniId) -> Result<Option<Ec2Eni>, CloudError> {
        self.call("eni", |state| {
            let mut found = state.enis.get(eni).cloned();
            if let Some(attachment) = found.as_mut().and_then(|eni| eni.attachment.as_mut())
                && attachment.device != 0
                && state.attaching_polls > 0
            {
                state.attaching_polls -= 1;
                attachment.state = AttachmentState::Attaching;
            }
            if let Some(eni) = found.as_mut()
                && !eni.cidrs.is_empty()
                && state.partial_polls > 0
            {
                state.partial_polls -= 1;
                eni.cidrs.truncate(1);
            }
            Ok(found)
        })
    }

    async fn create(&self, new: &NewEni) -> Result<EniId, CloudError> {
        self.call("create", |state| {
            state.created += 1;
            let n = state.created;
            // As in EC2: IPv6 prefixes come later.
            let born_with = match new.count {
                AddressCount::Ipv6Prefixes(_) => 0,
                count => count.slots(),
            };
            let cidrs = (0..born_with)
                .map(|k| Prefix::host(IpAddr::from([10, 0, n, u8::try_from(k).unwrap()])))
                .collect();
            let eni = Ec2Eni {
                subnet: new.subnet.clone(),
                groups: new.groups.clone(),
                tags: new.tags.clone(),
                ..eni(&format!("eni-{n}"), n + 1, cidrs)
            };
            let id = eni.id.clone();
            state.enis.insert(id.clone(), eni);
            Ok(id)
        })
    }

    async fn attach(
        &self,
        eni: &EniId,
        _instance: &InstanceId,
        device: u32,
        _card: u32,
    ) -> Result<String, CloudError> {
        self.call("attach", |state| {
            let taken = |eni: &Ec2Eni| eni.attachment.as_ref().is_some_and(|a| a.device == device);
            if state.enis.values().any(taken) {
                return Err(error(CloudErrorKind::AttachmentLimit));
            }
            let new = attachment(device, AttachmentState::Attached);
            let attachment_id = new.id.clone();
            find(state, eni)?.attachment = Some(new);
            Ok(attachment_id)
        })
    }

    async fn delete_on_termination(&self, eni: &EniId, _: &str) -> Result<(), CloudError> {
        self.call("delete_on_termination", |state| find(state, eni).map(drop))
    }

    async fn detach(&self, attachment: &str) -> Result<(), CloudError> {
        self.call("detach", |state| {
            let holds =
                |eni: &&mut Ec2Eni| eni.attachment.as_ref().is_some_and(|a| a.id == attachment);
            let eni = state.enis.values_mut().find(holds);
            eni.ok_or_else(|| error(CloudErrorKind::Gone))?.attachment = None;
            Ok(())
        })
    }

    async fn delete(&self, eni: &EniId) -> Result<(), CloudError> {
        self.call("delete", |state| {
            if find(state, eni)?.attachment.is_some() {
                return Err(error(CloudErrorKind::InUse));
            }
            state.enis.remove(eni);
            Ok(())
        })
    }

    async fn assign(&self, eni: &EniId, count: AddressCount) -> Result<Vec<Prefix>, CloudError> {
        self.call("assign", |state| {
            let eni = find(state, eni)?;
            let at = u8::try_from(100 + eni.cidrs.len()).unwrap();
            let address = |k| match count {
                AddressCount::Ipv6Prefixes(_) => Prefix::new(
                    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, u16::from(at + k), 0, 0, 0).into(),
                    80,
                )
                .unwrap(),
                _ => Prefix::host(IpAddr::from([10, 9, 9, at + k])),
            };
            let new: Vec<_> = (0..u8::try_from(count.slots()).unwrap()).map(address).collect();
            eni.cidrs.extend(&new);
            Ok(new)
        })
    }

    async fn unassign_addresses(&self, eni: &EniId, ips: &[IpAddr]) -> Result<(), CloudError> {
        let cidrs: Vec<_> = ips.iter().map(|ip| Prefix::host(*ip)).collect();
        self.unassign_prefixes(eni, &cidrs).await
    }

    async fn unassign_prefixes(&self, eni: &EniId, prefixes: &[Prefix]) -> Result<(), CloudError> {
        self.call("unassign", |state| {
            let eni = find(state, eni)?;
            if prefixes.iter().any(|prefix| !eni.cidrs.contains(prefix)) {
                return Err(error(CloudErrorKind::Other));
            }
            eni.cidrs.retain(|cidr| !prefixes.contains(cidr));
            Ok(())
        })
    }

    async fn unassign_ipv6_prefixes(
        &self,
        eni: &EniId,
        prefixes: &[Prefix],
    ) -> Result<(), CloudError> {
        self.unassign_prefixes(eni, prefixes).await
    }

    async fn subnet_ipv6_block(&self, _: &SubnetId) -> Result<Option<Prefix>, CloudError> {
        self.call("subnet_ipv6_block", |_| Ok(Some("2001:db8::/64".parse().unwrap())))
    }

    async fn subnet_block(&self, _: &SubnetId) -> Result<Prefix, CloudError> {
        self.call("subnet_block", |_| Ok("10.0.0.0/16".parse().unwrap()))
    }

    async fn type_limits(&self, _: &str) -> Result<Option<InstanceLimits>, CloudError> {
        self.call("type_limits", |_| Ok(None))
    }
}
