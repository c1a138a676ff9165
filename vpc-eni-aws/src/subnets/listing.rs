//! What EC2 has said of the subnets, and what they have refused since.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use vpc_ipam_core::{
    cloud::{AddressCount, CloudError},
    id::SubnetId,
    subnet,
};

use super::addresses;
use crate::api::Ec2Subnet;

/// How long a listing serves that a refusal has shown to be out of date: requests for addresses come in
/// bursts, each half as large as the one before.
const STALE_FOR: Duration = Duration::from_secs(10);
/// After a failure EC2 is not asked again for this part of the time that an answer would have served.
const FAILURE_PAUSE_PART: u32 = 6;
/// How long a subnet that had too little to give is tried after the others. The reference's pause.
const REFUSED_FOR: Duration = Duration::from_secs(120);

/// The last listing and what became of it.
#[derive(Debug, Default)]
pub(crate) struct Subnets {
    listed: Option<Listed>,
    /// The last attempt to list them, if it failed.
    failure: Option<(Instant, CloudError)>,
    /// Subnets that could not give what was asked for, by whether that were prefixes.
    refused: BTreeMap<(SubnetId, bool), Instant>,
}

#[derive(Debug)]
struct Listed {
    at: Instant,
    /// It has turned out to be out of date.
    stale: bool,
    subnets: Vec<Ec2Subnet>,
}

impl Subnets {
    /// What can be said without asking EC2: a listing that is young enough, or, shortly after a failure,
    /// what is left.
    pub(super) fn known(&self, age_max: Duration) -> Option<Result<Vec<Ec2Subnet>, CloudError>> {
        let fresh = self.listed.as_ref().is_some_and(|listed| {
            let age_max = if listed.stale { age_max.min(STALE_FOR) } else { age_max };
            listed.at.elapsed() < age_max
        });
        let pause = age_max / FAILURE_PAUSE_PART;
        let pausing = self.failure.as_ref().is_some_and(|(at, _)| at.elapsed() < pause);
        (fresh || pausing).then(|| self.last())
    }

    /// The last listing, however old.
    pub(super) fn last(&self) -> Result<Vec<Ec2Subnet>, CloudError> {
        match (&self.listed, &self.failure) {
            (Some(listed), _) => Ok(listed.subnets.clone()),
            (None, Some((_, error))) => Err(error.clone()),
            (None, None) => Ok(Vec::new()),
        }
    }

    pub(super) fn learn(&mut self, subnets: Vec<Ec2Subnet>) {
        self.listed = Some(Listed { at: Instant::now(), stale: false, subnets });
        self.failure = None;
        self.refused.retain(|_, at| at.elapsed() < REFUSED_FOR);
    }

    pub(super) fn failed(&mut self, error: CloudError) {
        self.failure = Some((Instant::now(), error));
    }

    /// Why the subnets could not be looked up, the last time that was tried.
    pub(crate) fn failure(&self) -> Option<&CloudError> {
        self.failure.as_ref().map(|(_, error)| error)
    }

    /// A subnet that the listing shows.
    pub(crate) fn find(&self, subnet: &SubnetId) -> Option<&Ec2Subnet> {
        self.listed.as_ref()?.subnets.iter().find(|listed| listed.id == *subnet)
    }

    pub(super) fn is_excluded(&self, subnet: &SubnetId, cluster: Option<&str>) -> bool {
        self.find(subnet).is_some_and(|listed| subnet::is_excluded(&listed.tags, cluster))
    }

    /// An ENI has been made there: it holds less now than was listed.
    pub(super) fn gave(&mut self, subnet: &SubnetId, count: AddressCount) {
        self.refused.remove(&(subnet.clone(), is_prefixes(count)));
        let subnets = self.listed.iter_mut().flat_map(|listed| &mut listed.subnets);
        if let Some(listed) = subnets.into_iter().find(|listed| listed.id == *subnet) {
            listed.free = listed.free.saturating_sub(addresses(count));
        }
    }

    /// It had too little to give.
    pub(super) fn refused(&mut self, subnet: &SubnetId, count: AddressCount) {
        self.refused.insert((subnet.clone(), is_prefixes(count)), Instant::now());
        if let Some(listed) = &mut self.listed {
            listed.stale = true;
        }
    }

    /// True if it lately had too little to give of what is asked for.
    pub(super) fn has_refused(&self, subnet: &SubnetId, count: AddressCount) -> bool {
        let at = self.refused.get(&(subnet.clone(), is_prefixes(count)));
        at.is_some_and(|at| at.elapsed() < REFUSED_FOR)
    }
}

fn is_prefixes(count: AddressCount) -> bool {
    !matches!(count, AddressCount::Secondary(_))
}
