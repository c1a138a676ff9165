//! Policy rules.

use std::fmt;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::RouteProtocol,
    rule::{RuleAction as RawAction, RuleAttribute, RuleMessage},
};
use vpc_ipam_core::addr::Prefix;

use super::{NetlinkError, Request, Socket, family};

/// What a rule does with a packet that matches.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum RuleAction {
    /// Looks its table up.
    #[default]
    Lookup,
    /// Drops.
    Blackhole,
    /// Another value.
    Other(u8),
}

/// A policy rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Family of the packets.
    pub v4: bool,
    /// Position; lower is first.
    pub priority: u32,
    /// Table to look up.
    pub table: u32,
    /// What it does.
    pub action: RuleAction,
    /// Source of the packets.
    pub src: Option<Prefix>,
    /// Destination of the packets.
    pub dst: Option<Prefix>,
    /// Mark and mask of the packets.
    pub fwmark: Option<(u32, u32)>,
    /// Link they came by.
    pub iif: Option<String>,
    /// Link of the socket they leave from.
    pub oif: Option<String>,
    /// Who made it; 0 unknown, 2 the kernel.
    pub protocol: u8,
    /// True if it matches what the other selectors do not.
    pub inverted: bool,
}

/// `FIB_RULE_INVERT` of `linux/fib_rules.h`.
const FLAG_INVERT: u32 = 2;

impl Rule {
    /// A rule for all IPv4 packets.
    pub fn lookup(priority: u32, table: u32) -> Self {
        Self {
            v4: true,
            priority,
            table,
            action: RuleAction::Lookup,
            src: None,
            dst: None,
            fwmark: None,
            iif: None,
            oif: None,
            protocol: 0,
            inverted: false,
        }
    }

    /// Only packets from here.
    #[must_use]
    pub fn from(mut self, src: Prefix) -> Self {
        self.v4 = src.is_v4();
        self.src = Some(src);
        self
    }

    /// Only packets to here.
    #[must_use]
    pub fn to(mut self, dst: Prefix) -> Self {
        self.v4 = dst.is_v4();
        self.dst = Some(dst);
        self
    }

    /// Only packets with this mark under this mask.
    #[must_use]
    pub fn fwmark(mut self, mark: u32, mask: u32) -> Self {
        self.fwmark = Some((mark, mask));
        self
    }

    /// Made by `protocol`.
    #[must_use]
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.protocol = protocol;
        self
    }

    /// True if both match the same packets, at the same place, to the same end. The kernel ignores who
    /// made a rule when it looks for a duplicate, and so does this.
    pub fn is_same(&self, other: &Self) -> bool {
        let anonymous = |rule: &Self| Self { protocol: 0, ..rule.clone() };
        anonymous(self) == anonymous(other)
    }

    fn message(&self) -> RuleMessage {
        let mut message = RuleMessage::default();
        let header = &mut message.header;
        header.family = family(self.v4);
        header.src_len = self.src.map_or(0, |p| p.len());
        header.dst_len = self.dst.map_or(0, |p| p.len());
        header.table = u8::try_from(self.table).unwrap_or(0);
        header.action = match self.action {
            RuleAction::Lookup => RawAction::ToTable,
            RuleAction::Blackhole => RawAction::Blackhole,
            RuleAction::Other(n) => n.into(),
        };
        if self.inverted {
            header.flags = netlink_packet_route::rule::RuleFlags::from_bits_retain(FLAG_INVERT);
        }
        let attributes = &mut message.attributes;
        attributes.push(RuleAttribute::Priority(self.priority));
        attributes.push(RuleAttribute::Table(self.table));
        attributes.extend(self.src.map(|p| RuleAttribute::Source(p.base())));
        attributes.extend(self.dst.map(|p| RuleAttribute::Destination(p.base())));
        if let Some((mark, mask)) = self.fwmark {
            attributes.push(RuleAttribute::FwMark(mark));
            attributes.push(RuleAttribute::FwMask(mask));
        }
        attributes.extend(self.iif.clone().map(RuleAttribute::Iifname));
        attributes.extend(self.oif.clone().map(RuleAttribute::Oifname));
        if self.protocol != 0 {
            attributes.push(RuleAttribute::Protocol(RouteProtocol::from(self.protocol)));
        }
        message
    }

    /// Adds it; `EEXIST` if there is the same one.
    pub fn add(&self) -> Request {
        let message = RouteNetlinkMessage::NewRule(self.message());
        Request::new(format!("add rule {self}"), message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Deletes the first rule that has all that is set here; `ENOENT` if there is none.
    pub fn delete(&self) -> Request {
        let message = RouteNetlinkMessage::DelRule(self.message());
        Request::new(format!("delete rule {self}"), message, 0)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.priority)?;
        if self.inverted {
            write!(f, " not")?;
        }
        match self.src {
            Some(src) => write!(f, " from {src}")?,
            None => write!(f, " from all")?,
        }
        if let Some(dst) = self.dst {
            write!(f, " to {dst}")?;
        }
        if let Some((mark, mask)) = self.fwmark {
            write!(f, " fwmark {mark:#x}/{mask:#x}")?;
        }
        if let Some(iif) = &self.iif {
            write!(f, " iif {iif}")?;
        }
        if let Some(oif) = &self.oif {
            write!(f, " oif {oif}")?;
        }
        match self.action {
            RuleAction::Lookup => write!(f, " lookup {}", self.table)?,
            RuleAction::Blackhole => write!(f, " blackhole")?,
            RuleAction::Other(n) => write!(f, " action {n}")?,
        }
        if self.protocol != 0 {
            write!(f, " proto {}", self.protocol)?;
        }
        Ok(())
    }
}

impl Socket {
    /// All rules of one family, in the order the kernel walks them.
    ///
    /// # Errors
    ///
    /// If the dump fails or cannot be read.
    pub fn rules(&mut self, v4: bool) -> Result<Vec<Rule>, NetlinkError> {
        let mut message = RuleMessage::default();
        message.header.family = family(v4);
        self.dump("rules", &RouteNetlinkMessage::GetRule(message), pick)
    }
}

fn pick(message: RouteNetlinkMessage) -> Option<Rule> {
    let RouteNetlinkMessage::NewRule(msg) = message else { return None };
    let header = &msg.header;
    let mut rule = Rule::lookup(0, u32::from(header.table));
    rule.v4 = header.family == AddressFamily::Inet;
    rule.inverted = header.flags.bits() & FLAG_INVERT != 0;
    rule.action = match header.action {
        RawAction::ToTable => RuleAction::Lookup,
        RawAction::Blackhole => RuleAction::Blackhole,
        other => RuleAction::Other(other.into()),
    };
    let (mut mark, mut mask) = (None, None);
    for attribute in msg.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = priority,
            RuleAttribute::Table(table) => rule.table = table,
            RuleAttribute::Source(ip) => rule.src = Prefix::new(ip, header.src_len).ok(),
            RuleAttribute::Destination(ip) => rule.dst = Prefix::new(ip, header.dst_len).ok(),
            RuleAttribute::FwMark(n) => mark = Some(n),
            RuleAttribute::FwMask(n) => mask = Some(n),
            RuleAttribute::Iifname(name) => rule.iif = Some(name),
            RuleAttribute::Oifname(name) => rule.oif = Some(name),
            RuleAttribute::Protocol(protocol) => rule.protocol = protocol.into(),
            _ => {}
        }
    }
    rule.fwmark = match (mark, mask) {
        (None, None) => None,
        (mark, mask) => Some((mark.unwrap_or(0), mask.unwrap_or(u32::MAX))),
    };
    Some(rule)
}
