//! What a node should look like.

use vpc_ipam_core::datapath::{DatapathError, DatapathErrorKind, MAIN_TABLE, NodeSpec, Snat};

use super::{
    Observed, RP_FILTER_LOOSE, Step,
    eni::departed_steps,
    find_link,
    ruleset::{needs_connmark, node_transaction},
};
use crate::{
    layout::{
        ENI_MARK_MASK, POD_TABLE, PRIORITY_CONNMARK, PRIORITY_EXTERNAL, PRIORITY_POD_TABLE,
        PROTOCOL,
    },
    names::VethPrefix,
    netlink::{Link, LinkChange, Route, Rule},
};

/// What is missing on the node.
///
/// # Errors
///
/// If the primary ENI's link is not there, or `node` contradicts itself.
pub fn plan_node(node: &NodeSpec, observed: &Observed) -> Result<Vec<Step>, DatapathError> {
    check(node)?;
    let object = format!("primary ENI ({})", node.primary_mac);
    let link = find_link(&observed.links, node.primary_mac, &object)?;
    let mut steps: Vec<_> = link_steps(link, Some(node.mtu)).collect();
    let wanted = rules(node);
    let present = |rule: &Rule| observed.rules.iter().any(|r| r.is_same(rule));
    steps.extend(wanted.iter().filter(|r| !present(r)).cloned().map(Step::AddRule));
    let pods = pod_prefixes(&node.veth_prefix, observed);
    let transaction = node_transaction(node, &link.name, &pods, &observed.table);
    if !transaction.is_empty() {
        steps.push(Step::Nft(transaction));
    }
    // Last, so that no packet is marked for a rule that has gone.
    let stale =
        observed.rules.iter().filter(|r| is_ours(r) && !wanted.iter().any(|w| w.is_same(r)));
    steps.extend(stale.cloned().map(Step::DeleteRule));
    steps.extend(departed_steps(observed));
    Ok(steps)
}

/// Beginnings of the host ends of pods: the one that pods get now, and those of running pods that were
/// wired when the setting was another.
fn pod_prefixes(configured: &str, observed: &Observed) -> Vec<String> {
    let of_pod = |route: &Route| {
        let dev = route.dev.filter(|_| route.table == POD_TABLE)?;
        let link = observed.links.iter().find(|l| l.index == dev)?;
        let prefix = VethPrefix::of_host_name(&link.name)?;
        Some(prefix.as_str().to_owned())
    };
    let mut others: Vec<_> = observed.routes.iter().filter_map(of_pod).collect();
    others.sort();
    others.dedup();
    others.retain(|other| !other.starts_with(configured));
    others.insert(0, configured.to_owned());
    others
}

fn check(node: &NodeSpec) -> Result<(), DatapathError> {
    let wrong = |kind, message: String| Err(DatapathError::new(kind, "node", message));
    if let Err(e) = VethPrefix::new(&node.veth_prefix) {
        return wrong(DatapathErrorKind::Other, e.to_string());
    }
    if node.connmark == 0 || node.connmark & ENI_MARK_MASK != 0 {
        let message = format!(
            "connection mark {:#x} overlaps the bits {ENI_MARK_MASK:#x} that hold ENI numbers; set \
             AWS_VPC_K8S_CNI_CONNMARK to a bit above them, such as 0x80",
            node.connmark
        );
        return wrong(DatapathErrorKind::NotSupported, message);
    }
    if matches!(node.snat, Snat::Node { .. }) && !node.vpc_cidrs.iter().any(|p| p.is_v4()) {
        let message = "no VPC block is known, and without one all traffic would be translated";
        return wrong(DatapathErrorKind::Other, message.to_owned());
    }
    Ok(())
}

/// The one or no change that an ENI's link needs.
pub(super) fn link_steps(link: &Link, mtu: Option<u32>) -> impl Iterator<Item = Step> {
    let mut change = LinkChange::of_index(link.index);
    let mtu = mtu.filter(|mtu| *mtu != link.mtu);
    let loose = link.rp_filter != Some(RP_FILTER_LOOSE);
    if let Some(mtu) = mtu {
        change = change.mtu(mtu);
    }
    if loose {
        change = change.rp_filter(RP_FILTER_LOOSE);
    }
    if !link.up {
        change = change.up();
    }
    (mtu.is_some() || loose || !link.up).then_some(Step::Link(change)).into_iter()
}

fn rules(node: &NodeSpec) -> Vec<Rule> {
    let mut all = vec![Rule::lookup(PRIORITY_POD_TABLE, POD_TABLE).protocol(PROTOCOL)];
    if needs_connmark(node) {
        let rule = Rule::lookup(PRIORITY_CONNMARK, MAIN_TABLE).fwmark(node.connmark, node.connmark);
        all.push(rule.protocol(PROTOCOL));
    }
    let mut external: Vec<_> =
        node.external_service_cidrs.iter().copied().filter(|p| p.is_v4()).collect();
    external.sort();
    external.dedup();
    all.extend(
        external
            .into_iter()
            .map(|p| Rule::lookup(PRIORITY_EXTERNAL, MAIN_TABLE).to(p).protocol(PROTOCOL)),
    );
    all
}

/// True for node rules that we or the reference made, whatever the settings were then.
fn is_ours(rule: &Rule) -> bool {
    match rule.priority {
        PRIORITY_POD_TABLE => rule.protocol == PROTOCOL,
        PRIORITY_CONNMARK => {
            rule.table == MAIN_TABLE && rule.fwmark.is_some_and(|(mark, mask)| mark == mask)
        }
        PRIORITY_EXTERNAL => rule.table == MAIN_TABLE && rule.dst.is_some(),
        _ => false,
    }
}
