//! What an ENI should look like on the host.

use std::net::IpAddr;

use vpc_ipam_core::{
    addr::Prefix,
    datapath::{DatapathError, DatapathErrorKind, EniSpec, MAIN_TABLE},
};

use super::{
    Observed, Step, find_link,
    node::link_steps,
    ruleset::{eni_removal, eni_transaction, merge_prefixes},
};
use crate::{
    layout::{
        ENI_MARK_MASK, ENI_NUMBER_MAX, ENI_NUMBER_OTHER_CARDS, METRIC_VACANT, POD_TABLE,
        PRIORITY_ENI, PRIORITY_ENI_ADDRESS, PROTOCOL,
    },
    netlink::{Address, Link, Route, RouteScope, RouteType, Rule},
};

/// What is missing for an ENI.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EniPlan {
    /// The ENI's number, 0 for the primary.
    pub number: u32,
    /// What is missing, in order.
    pub steps: Vec<Step>,
}

/// Words that name an ENI in errors.
pub(crate) fn object(eni: &EniSpec) -> String {
    format!("{} ({})", eni.id, eni.mac)
}

/// Number of a secondary ENI: its device index on card 0; on other cards the one that its rule has
/// already, or the lowest that is free.
///
/// # Errors
///
/// If no number is left.
pub fn eni_number(eni: &EniSpec, rules: &[Rule]) -> Result<u32, DatapathError> {
    let number = if eni.card == 0 {
        (1..=ENI_NUMBER_MAX).contains(&eni.device).then_some(eni.device)
    } else {
        let taken: Vec<_> = rules.iter().filter_map(number_of).collect();
        let own = taken.iter().find(|(_, table)| *table == eni.table).map(|(n, _)| *n);
        let is_free = |n: &u32| !taken.iter().any(|(t, _)| t == n);
        own.or_else(|| (ENI_NUMBER_OTHER_CARDS..=ENI_NUMBER_MAX).find(is_free))
    };
    number.ok_or_else(|| {
        let message = format!(
            "no ENI number between 1 and {ENI_NUMBER_MAX} is free for card {} device {}",
            eni.card, eni.device
        );
        DatapathError::new(DatapathErrorKind::NotSupported, object(eni), message)
    })
}

/// Number and table of an ENI's mark rule.
fn number_of(rule: &Rule) -> Option<(u32, u32)> {
    let (mark, mask) = rule.fwmark?;
    let ours = mask == ENI_MARK_MASK
        && (1..=ENI_NUMBER_MAX).contains(&mark)
        && rule.priority == PRIORITY_ENI + mark;
    ours.then_some((mark, rule.table))
}

/// What is missing for `eni`; `mtu` is that of all ENIs in bytes, if known.
///
/// # Errors
///
/// If its link is not there yet, or `eni` contradicts itself.
pub fn plan_eni(
    eni: &EniSpec,
    mtu: Option<u32>,
    observed: &Observed,
) -> Result<EniPlan, DatapathError> {
    let link = find_link(&observed.links, eni.mac, &object(eni))?;
    let mut steps: Vec<_> = link_steps(link, mtu).collect();
    if eni.primary {
        vacancy_steps(0, &eni.sources, observed, &mut steps);
        return Ok(EniPlan { number: 0, steps });
    }
    let gateway = check(eni)?;
    let number = eni_number(eni, &observed.rules)?;
    let keeps_routes = address_steps(eni, link, observed, &mut steps);
    route_steps(eni, link, gateway, observed, keeps_routes, &mut steps);
    rule_steps(eni, number, observed, &mut steps);
    vacancy_steps(number, &eni.sources, observed, &mut steps);
    let transaction = eni_transaction(number, &eni.sources, &observed.table);
    if !transaction.is_empty() {
        steps.push(Step::Nft(transaction));
    }
    Ok(EniPlan { number, steps })
}

/// The gateway: the subnet's first address.
fn check(eni: &EniSpec) -> Result<IpAddr, DatapathError> {
    let wrong = |kind, message: &str| Err(DatapathError::new(kind, object(eni), message));
    if !eni.primary_ip.is_ipv4() || !eni.subnet_cidr.is_v4() {
        return wrong(DatapathErrorKind::NotSupported, "IPv6 ENIs are not supported yet");
    }
    if eni.table == MAIN_TABLE {
        let message = "a secondary ENI cannot use the main table; its routes belong to the node";
        return wrong(DatapathErrorKind::Other, message);
    }
    match eni.subnet_cidr.nth(1) {
        Some(gateway) => Ok(gateway),
        None => wrong(DatapathErrorKind::Other, "its subnet has no room for a gateway"),
    }
}

/// False if the link may lose its routes by these steps.
fn address_steps(eni: &EniSpec, link: &Link, observed: &Observed, steps: &mut Vec<Step>) -> bool {
    // Without the prefix route there is no moment in which the main table sends the subnet's packets
    // out of this ENI.
    let wanted = Address::new(link.index, eni.primary_ip, eni.subnet_cidr.len());
    let wanted = wanted.without_prefix_route();
    let (same, foreign): (Vec<_>, Vec<_>) = observed
        .addresses
        .iter()
        .filter(|a| a.dev == link.index && a.global)
        .partition(|a| (a.ip, a.len) == (wanted.ip, wanted.len));
    // First, since a link loses all its routes with its last address.
    if same.is_empty() {
        steps.push(Step::AddAddress(wanted.clone()));
    }
    steps.extend(foreign.iter().map(|a| Step::DeleteAddress((*a).clone())));
    // Removing the first address of a subnet takes its other ones along.
    if !foreign.is_empty() {
        steps.push(Step::AddAddress(wanted));
    }
    foreign.is_empty()
}

fn route_steps(
    eni: &EniSpec,
    link: &Link,
    gateway: IpAddr,
    observed: &Observed,
    keeps_routes: bool,
    steps: &mut Vec<Step>,
) {
    let route = |dst: Prefix| Route::to(dst).dev(link.index).table(eni.table).protocol(PROTOCOL);
    let default = Route { dst: Route::default_route(true).dst, ..route(Prefix::host(gateway)) };
    let wanted = [route(Prefix::host(gateway)).on_link(), default.via(gateway)];
    let leads_there = |have: &Route, want: &Route| {
        (have.dst, have.table, have.dev, have.gateway, have.scope)
            == (want.dst, want.table, want.dev, want.gateway, want.scope)
    };
    for want in &wanted {
        if !(keeps_routes && observed.routes.iter().any(|have| leads_there(have, want))) {
            steps.push(Step::ReplaceRoute(want.clone()));
        }
    }
    // Whatever else is in the table, such as a default route by another name, stays: it may be an
    // operator's. The connected route in main is the kernel's or a DHCP client's.
    let connected = |r: &&Route| {
        r.table == MAIN_TABLE
            && r.dev == Some(link.index)
            && r.dst == eni.subnet_cidr
            && r.scope == RouteScope::Link
    };
    steps.extend(observed.routes.iter().filter(connected).cloned().map(Step::DeleteRoute));
}

/// Ways to nowhere for what ENI `number` owns, see [`METRIC_VACANT`].
fn vacancy_steps(number: u32, sources: &[Prefix], observed: &Observed, steps: &mut Vec<Step>) {
    let wanted = merge_prefixes(sources.iter().copied());
    let present: Vec<_> = observed.routes.iter().filter(|r| is_vacancy(r, number)).collect();
    let missing = wanted.iter().filter(|p| !present.iter().any(|r| r.dst == **p));
    steps.extend(missing.map(|p| Step::ReplaceRoute(vacancy(*p, number))));
    let stale = present.iter().filter(|r| !wanted.contains(&r.dst));
    steps.extend(stale.map(|r| Step::DeleteRoute((*r).clone())));
}

fn vacancy(prefix: Prefix, number: u32) -> Route {
    Route::to(prefix)
        .kind(RouteType::Blackhole)
        .table(POD_TABLE)
        .metric(METRIC_VACANT + number)
        .protocol(PROTOCOL)
}

fn is_vacancy(route: &Route, number: u32) -> bool {
    route.table == POD_TABLE
        && route.kind == RouteType::Blackhole
        && route.metric == Some(METRIC_VACANT + number)
}

fn rule_steps(eni: &EniSpec, number: u32, observed: &Observed, steps: &mut Vec<Step>) {
    let own = Prefix::host(eni.primary_ip);
    let wanted = [
        Rule::lookup(PRIORITY_ENI_ADDRESS, eni.table).from(own).protocol(PROTOCOL),
        Rule::lookup(PRIORITY_ENI + number, eni.table)
            .fwmark(number, ENI_MARK_MASK)
            .protocol(PROTOCOL),
    ];
    let is_wanted = |rule: &Rule| wanted.iter().any(|w| w.is_same(rule));
    for rule in &wanted {
        if !observed.rules.iter().any(|r| r.is_same(rule)) {
            steps.push(Step::AddRule(rule.clone()));
        }
    }
    let stale = |rule: &&Rule| {
        let of_address = rule.priority == PRIORITY_ENI_ADDRESS && rule.src == Some(own);
        // An ENI that was in this one's place before.
        let of_address = of_address || own_address(rule).is_some_and(|(_, t)| t == eni.table);
        let of_number = number_of(rule).is_some_and(|(n, table)| n == number || table == eni.table);
        (of_address || of_number) && !is_wanted(rule)
    };
    steps.extend(observed.rules.iter().filter(stale).cloned().map(Step::DeleteRule));
}

/// Address and table of the rule that we made for an ENI's own address.
fn own_address(rule: &Rule) -> Option<(IpAddr, u32)> {
    let ours = rule.priority == PRIORITY_ENI_ADDRESS && rule.protocol == PROTOCOL;
    let src = rule.src.filter(|src| ours && src.is_host())?;
    Some((src.base(), rule.table))
}

/// Table of a rule that we made for an ENI.
fn table_of(rule: &Rule) -> Option<u32> {
    let marked = number_of(rule).filter(|_| rule.protocol == PROTOCOL).map(|(_, table)| table);
    marked.or_else(|| own_address(rule).map(|(_, table)| table))
}

/// Removes what is left of ENIs that were detached while nobody ran who would have torn them down: no
/// link has their address, and nothing is in their table. EC2 gives what they owned to other nodes,
/// which could not be reached as long as it leads nowhere here.
pub(super) fn departed_steps(observed: &Observed) -> Vec<Step> {
    let mut tables: Vec<_> = observed.rules.iter().filter_map(table_of).collect();
    tables.sort_unstable();
    tables.dedup();
    tables.retain(|table| is_departed(*table, observed));
    let mut steps = Vec::new();
    for table in tables {
        let rules: Vec<_> =
            observed.rules.iter().filter(|r| table_of(r) == Some(table)).cloned().collect();
        let numbers: Vec<_> = rules.iter().filter_map(number_of).map(|(n, _)| n).collect();
        steps.extend(removal_steps(table, &numbers, rules, observed));
    }
    let orphans = observed.routes.iter().filter(|r| is_orphan(r, &observed.rules));
    steps.extend(orphans.cloned().map(Step::DeleteRoute));
    steps
}

/// True for a way to nowhere of a number that no ENI has.
fn is_orphan(route: &Route, rules: &[Rule]) -> bool {
    let is_taken = |n: u32| rules.iter().filter_map(number_of).any(|(taken, _)| taken == n);
    (1..=ENI_NUMBER_MAX).any(|n| is_vacancy(route, n) && !is_taken(n))
}

fn is_departed(table: u32, observed: &Observed) -> bool {
    let has_link = observed.routes.iter().any(|r| r.table == table && r.dev.is_some());
    let has_address = observed
        .rules
        .iter()
        .filter_map(own_address)
        .any(|(ip, of)| of == table && observed.addresses.iter().any(|a| a.ip == ip));
    table != MAIN_TABLE && !has_link && !has_address
}

/// What there is of an ENI, to be removed. Tolerates that its link is gone.
pub fn plan_eni_removal(eni: &EniSpec, observed: &Observed) -> Vec<Step> {
    if eni.primary || eni.table == MAIN_TABLE {
        return Vec::new();
    }
    let own = Prefix::host(eni.primary_ip);
    let marks: Vec<_> = observed
        .rules
        .iter()
        .filter_map(number_of)
        .filter(|(_, table)| *table == eni.table)
        .map(|(n, _)| n)
        .collect();
    let fallback = if eni.card == 0 { Some(eni.device) } else { None };
    let mut numbers = marks.clone();
    // Without its rule, the number on card 0 is still known; but only if no other ENI has it by now.
    numbers.extend(fallback.filter(|n| {
        !marks.contains(n) && !observed.rules.iter().filter_map(number_of).any(|(t, _)| t == *n)
    }));
    let is_own = |rule: &&Rule| {
        rule.src == Some(own) || number_of(rule).is_some_and(|(_, table)| table == eni.table)
    };
    let rules = observed.rules.iter().filter(is_own).cloned().collect();
    removal_steps(eni.table, &numbers, rules, observed)
}

fn removal_steps(table: u32, numbers: &[u32], rules: Vec<Rule>, observed: &Observed) -> Vec<Step> {
    // Packets are no longer marked before the rule for the mark goes.
    let mut steps: Vec<_> = numbers
        .iter()
        .map(|n| eni_removal(*n, &observed.table))
        .filter(|tx| !tx.is_empty())
        .map(Step::Nft)
        .collect();
    steps.extend(rules.into_iter().map(Step::DeleteRule));
    let is_own =
        |r: &&Route| r.table == table || numbers.iter().any(|number| is_vacancy(r, *number));
    steps.extend(observed.routes.iter().filter(is_own).cloned().map(Step::DeleteRoute));
    steps
}
