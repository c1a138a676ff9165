//! Desired state as data: what a node and its ENIs should look like, compared with what the kernel has,
//! gives the steps that are missing. The same functions set up, repair, check and explain.

mod eni;
mod node;
mod ruleset;
mod step;

pub(crate) use eni::object as eni_object;
pub use eni::{EniPlan, eni_number, plan_eni, plan_eni_removal};
pub use node::plan_node;
pub(crate) use ruleset::table as nft_table;
pub use ruleset::{ObservedTable, merge_prefixes, node_chains};
pub use step::Step;

use vpc_ipam_core::{
    datapath::{DatapathError, DatapathErrorKind},
    id::MacAddr,
};

use crate::netlink::{Address, Link, Route, Rule};

/// Reverse path filter of ENIs. The kernel's reverse lookup carries no mark, so for a pod's packet it
/// ends in the main table and names the primary ENI; strict would drop what comes by any other.
pub const RP_FILTER_LOOSE: i32 = 2;

/// What the kernel has, as far as it matters here.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// All links.
    pub links: Vec<Link>,
    /// All IPv4 addresses.
    pub addresses: Vec<Address>,
    /// All IPv4 rules.
    pub rules: Vec<Rule>,
    /// All IPv4 routes.
    pub routes: Vec<Route>,
    /// Our nftables table.
    pub table: ObservedTable,
}

/// The link of an ENI: by MAC, and of a kind that an ENI can have.
///
/// # Errors
///
/// [`DatapathErrorKind::LinkMissing`] if the kernel does not show it (yet).
pub fn find_link<'a>(
    links: &'a [Link],
    mac: MacAddr,
    object: &str,
) -> Result<&'a Link, DatapathError> {
    // VLANs, macvlans and bonds share their parent's address. Hardware has no kind at all, and veth is
    // what stands in for it where there is none.
    let mut candidates: Vec<_> = links.iter().filter(|l| l.mac == Some(mac)).collect();
    candidates.retain(|l| matches!(l.kind.as_deref(), None | Some("veth")));
    candidates.sort_by_key(|l| (l.kind.is_some(), l.index));
    candidates.into_iter().next().ok_or_else(|| {
        let message = format!(
            "no network device has the address {mac} yet; EC2 shows an attached ENI to the kernel \
             within seconds, if it never appears look at the instance's attachments"
        );
        DatapathError::new(DatapathErrorKind::LinkMissing, object, message)
    })
}
