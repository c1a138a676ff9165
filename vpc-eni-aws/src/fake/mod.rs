//! A small EC2 in memory, for the failures that no HTTP server can be made to produce: lost
//! answers, lagging listings, lookups that miss.

mod addresses;
mod enis;
mod subnets;
mod upkeep;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard},
};

use vpc_ipam_core::{
    addr::Prefix,
    cloud::{CloudError, CloudErrorKind, EniKind},
    config::Family,
    id::{EniId, InstanceId, MacAddr, SecurityGroupId, SubnetId},
};

use crate::{
    AwsBackend, AwsConfig, AwsConfigBuilder,
    api::{Attachment, AttachmentState, Ec2Eni, Ec2Subnet, NewEni, Tracking},
    instance::Identity,
    upkeep::Unattached,
};

/// What is in store for one call.
#[derive(Debug)]
pub(crate) struct Fault {
    method: &'static str,
    /// `None`: it works.
    kind: Option<CloudErrorKind>,
    /// The call does its work all the same: only the answer is lost.
    done: bool,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) enis: BTreeMap<EniId, Ec2Eni>,
    /// ENIs that are attached to nothing, as listings for the sweep show them.
    pub(crate) leaked: BTreeMap<EniId, Unattached>,
    pub(crate) subnets: Vec<Ec2Subnet>,
    /// Subnets that refuse new ENIs, and how.
    pub(crate) refusing: BTreeMap<SubnetId, CloudErrorKind>,
    /// Tags that were written, call by call.
    pub(crate) written: Vec<BTreeMap<String, String>>,
    /// What ENIs were asked to be like, whether EC2 made them or not.
    pub(crate) asked: Vec<NewEni>,
    /// ENIs that listings do not show.
    pub(crate) unlisted: BTreeSet<EniId>,
    /// Lookups for which a new attachment is still `attaching`.
    pub(crate) attaching_polls: u32,
    /// Lookups that do not show all addresses of an ENI yet.
    pub(crate) partial_polls: u32,
    pub(crate) log: Vec<&'static str>,
    pub(crate) faults: VecDeque<Fault>,
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

pub(crate) fn attachment(device: u32, state: AttachmentState) -> Attachment {
    Attachment {
        id: format!("a-{device}"),
        instance: Some(instance()),
        device,
        card: 0,
        state,
        delete_on_termination: Some(false),
    }
}

impl Fake {
    /// A backend on this EC2, with one attached ENI, `eni-primary`, and no metadata service.
    pub(crate) fn backend() -> (Arc<AwsBackend>, Self) {
        Self::backend_of(Family::V4)
    }

    pub(crate) fn backend_of(family: Family) -> (Arc<AwsBackend>, Self) {
        Self::configured(|config| config.family(family))
    }

    pub(crate) fn configured(
        change: impl FnOnce(AwsConfigBuilder) -> AwsConfigBuilder,
    ) -> (Arc<AwsBackend>, Self) {
        let fake = Self::default();
        let primary = Ec2Eni {
            attachment: Some(attachment(0, AttachmentState::Attached)),
            ..eni("eni-primary", 1, Vec::new())
        };
        fake.state().enis.insert(primary.id.clone(), primary);
        fake.state().subnets.push(subnet("subnet-1", 200, &[]));
        // Nothing listens on port 1 of the loopback.
        let config = AwsConfig::builder().imds_endpoint("http://127.0.0.1:1").region("us-west-2");
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
        let backend =
            AwsBackend::with_api(change(config).build().unwrap(), Arc::new(fake.clone()), identity);
        (Arc::new(backend), fake)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The next call of `method` fails before it does anything.
    pub(crate) fn refuse(&self, method: &'static str, kind: CloudErrorKind) {
        self.state().faults.push_back(Fault { method, kind: Some(kind), done: false });
    }

    /// The next call of `method` does its work, but its answer is lost.
    pub(crate) fn lose_answer(&self, method: &'static str, kind: CloudErrorKind) {
        self.state().faults.push_back(Fault { method, kind: Some(kind), done: true });
    }

    /// The next call of `method` that is not spoken for works.
    pub(crate) fn pass(&self, method: &'static str) {
        self.state().faults.push_back(Fault { method, kind: None, done: true });
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
            None | Some(Fault { kind: None, .. }) => work(&mut state),
            Some(Fault { kind: Some(kind), done, .. }) => {
                if done {
                    work(&mut state)?;
                }
                Err(CloudError::new(kind, method, "injected"))
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
        tracking: Tracking::default(),
        attachment: None,
    }
}

pub(crate) fn subnet(name: &str, free: u32, tags: &[(&str, &str)]) -> Ec2Subnet {
    Ec2Subnet {
        id: SubnetId::new(name).unwrap(),
        block: Some("10.0.0.0/16".parse().unwrap()),
        ipv6_block: Some("2001:db8::/64".parse().unwrap()),
        free,
        tags: tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    }
}

fn error(kind: CloudErrorKind) -> CloudError {
    CloudError::new(kind, "fake", format!("{kind:?}"))
}

fn find<'a>(state: &'a mut State, eni: &EniId) -> Result<&'a mut Ec2Eni, CloudError> {
    state.enis.get_mut(eni).ok_or_else(|| error(CloudErrorKind::Gone))
}
