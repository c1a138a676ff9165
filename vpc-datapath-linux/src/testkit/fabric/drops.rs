//! What the router has dropped, and whose it was.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr, ops::AddAssign};

use super::{Fabric, FabricError, ruleset};
use crate::nft;

/// Packets dropped.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DropCount {
    /// How many.
    pub packets: u64,
    /// How many bytes, IP headers included.
    pub bytes: u64,
}

impl AddAssign for DropCount {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// Packets between the VPC and the internet that were dropped since they would not have had a public
/// address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct InternetRefused {
    /// To the internet, from anything but the primary address of a node's first ENI.
    pub outbound: DropCount,
    /// From the internet, to anything but such an address.
    pub inbound: DropCount,
}

/// A source address that failed the check.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct DroppedSource {
    /// ENI that the packets came by.
    pub eni_id: String,
    /// Node that the ENI is or was attached to.
    pub node: String,
    /// What the node calls the ENI's link.
    pub if_name: String,
    /// The address.
    pub source: Ipv4Addr,
    /// ENI that owns it now, if any does.
    pub owner: Option<String>,
}

impl fmt::Display for DroppedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { eni_id, node, if_name, source, owner } = self;
        write!(f, "{if_name} of {node} sent from {source}, which {eni_id} does not own")?;
        match owner {
            Some(owner) if owner == eni_id => write!(f, " (it does now)"),
            Some(owner) => write!(f, " ({owner} does)"),
            None => Ok(()),
        }
    }
}

impl Fabric {
    /// Packets that failed the source check, by the ENI they came by; detached ENIs included.
    ///
    /// # Errors
    ///
    /// If the counters cannot be read.
    pub fn drops(&mut self) -> Result<BTreeMap<String, DropCount>, FabricError> {
        let mut all = self.retired_drops.clone();
        let counters = self.counters()?;
        for (eni_id, port) in &self.ports {
            let count = counters.get(&ruleset::counter(port)).copied().unwrap_or_default();
            *all.entry(eni_id.clone()).or_default() += count;
        }
        Ok(all)
    }

    /// Packets that failed the source check, all ENIs together.
    ///
    /// # Errors
    ///
    /// If the counters cannot be read.
    pub fn total_drops(&mut self) -> Result<DropCount, FabricError> {
        let mut total = DropCount::default();
        for count in self.drops()?.into_values() {
            total += count;
        }
        Ok(total)
    }

    /// Source addresses that failed the check in the last ten minutes, in order. Print them to explain
    /// a count that should be zero.
    ///
    /// # Errors
    ///
    /// If the router's memory cannot be read.
    pub fn dropped_sources(&mut self) -> Result<Vec<DroppedSource>, FabricError> {
        let elements = self.nft.elements(&ruleset::table(), ruleset::DROPPED)?;
        let mut all: Vec<_> = elements.iter().filter_map(|e| self.dropped_source(e)).collect();
        all.sort();
        Ok(all)
    }

    fn dropped_source(&self, element: &nft::Element) -> Option<DroppedSource> {
        let index = u32::from_ne_bytes(*element.key.first_chunk()?);
        let source = Ipv4Addr::from(*element.key.get(4..)?.first_chunk::<4>()?);
        let port = self
            .ports
            .values()
            .find(|port| port.index == index)
            .or_else(|| self.retired.get(&index))?;
        Some(DroppedSource {
            eni_id: port.eni.eni_id.clone(),
            node: port.node.clone(),
            if_name: port.eni.if_name.clone(),
            source,
            owner: self.owner_of(&vpc_ipam_core::addr::Prefix::host(source.into())),
        })
    }

    /// Packets to and from the internet that were refused.
    ///
    /// # Errors
    ///
    /// If the counters cannot be read.
    pub fn internet_refused(&mut self) -> Result<InternetRefused, FabricError> {
        let counters = self.counters()?;
        let of = |name: &str| counters.get(name).copied().unwrap_or_default();
        Ok(InternetRefused { outbound: of(ruleset::OUTBOUND), inbound: of(ruleset::INBOUND) })
    }

    fn counters(&mut self) -> Result<BTreeMap<String, DropCount>, FabricError> {
        let counters = self.nft.counters(&ruleset::table())?;
        Ok(counters
            .into_iter()
            .map(|(name, packets, bytes)| (name, DropCount { packets, bytes }))
            .collect())
    }
}
