//! Expressions to attributes and back.

use netlink_packet_core::DefaultNla;

use super::{
    attr::{Attrs, be32, be64, bytes, nested, text},
    expr::{Cmp, Ct, Expr, FibResult, Meta, PayloadBase, Reg, Verdict},
};

pub(super) const LIST_ELEM: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
const VERDICT_REG: u32 = 0;
const LOOKUP_INVERTED: u32 = 1;
const NFPROTO_IPV4: u32 = 2;
const NFPROTO_IPV6: u32 = 10;
const NAT_SNAT: u32 = 0;
const NAT_DNAT: u32 = 1;
/// `NF_NAT_RANGE_MAP_IPS` and `NF_NAT_RANGE_PROTO_SPECIFIED`: the kernel sets them by itself.
const NAT_IMPLIED_FLAGS: u32 = 1 | 2;
const OBJECT_COUNTER: u32 = 1;
const DYNSET_UPDATE: u32 = 1;

pub(super) fn value(kind: u16, data: &[u8]) -> DefaultNla {
    nested(kind, &[bytes(DATA_VALUE, data)])
}

pub(super) fn read_value(attrs: &Attrs<'_>, kind: u16) -> Option<Vec<u8>> {
    attrs.nested(kind)?.bytes(DATA_VALUE).map(<[u8]>::to_vec)
}

pub(super) fn verdict(kind: u16, verdict: &Verdict) -> DefaultNla {
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Continue => (-1, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Return => (-5, None),
        Verdict::Other(n) => (i32::from_ne_bytes(n.to_ne_bytes()), None),
    };
    let mut all = vec![be32(VERDICT_CODE, u32::from_ne_bytes(code.to_ne_bytes()))];
    all.extend(chain.map(|c| text(VERDICT_CHAIN, c)));
    nested(kind, &[nested(DATA_VERDICT, &all)])
}

pub(super) fn read_verdict(attrs: &Attrs<'_>, kind: u16) -> Option<Verdict> {
    let data = attrs.nested(kind)?.nested(DATA_VERDICT)?;
    let code = data.be32(VERDICT_CODE)?;
    let chain = || data.text(VERDICT_CHAIN).unwrap_or_default();
    Some(match i32::from_ne_bytes(code.to_ne_bytes()) {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        -1 => Verdict::Continue,
        -3 => Verdict::Jump(chain()),
        -4 => Verdict::Goto(chain()),
        -5 => Verdict::Return,
        _ => Verdict::Other(code),
    })
}

/// The expressions of a rule, each as a list element.
pub(super) fn encode_all(kind: u16, exprs: &[Expr]) -> DefaultNla {
    let elements: Vec<_> = exprs
        .iter()
        .map(|expr| {
            let (name, data) = encode(expr);
            nested(LIST_ELEM, &[text(EXPR_NAME, name), nested(EXPR_DATA, &data)])
        })
        .collect();
    nested(kind, &elements)
}

fn encode(expr: &Expr) -> (&str, Vec<DefaultNla>) {
    match expr {
        Expr::Payload { base, offset, len, reg } => {
            let all = vec![be32(1, reg.0), be32(2, base.number()), be32(3, *offset), be32(4, *len)];
            ("payload", all)
        }
        Expr::Meta { key, reg } => ("meta", vec![be32(2, key.number()), be32(1, reg.0)]),
        Expr::SetMeta { key, reg } => ("meta", vec![be32(2, key.number()), be32(3, reg.0)]),
        Expr::Ct { key, reg } => ("ct", vec![be32(2, key.number()), be32(1, reg.0)]),
        Expr::SetCt { key, reg } => ("ct", vec![be32(2, key.number()), be32(4, reg.0)]),
        Expr::Fib { result, flags, reg } => {
            ("fib", vec![be32(1, reg.0), be32(2, result.number()), be32(3, *flags)])
        }
        Expr::Cmp { op, reg, data } => {
            ("cmp", vec![be32(1, reg.0), be32(2, op.number()), value(3, data)])
        }
        Expr::Bitwise { reg, mask, xor } => {
            let len = u32::try_from(mask.len()).unwrap_or(0);
            let regs = [be32(1, reg.0), be32(2, reg.0), be32(3, len)];
            ("bitwise", regs.into_iter().chain([value(4, mask), value(5, xor)]).collect())
        }
        Expr::Lookup { set, reg, inverted } => {
            let mut all = vec![text(1, set), be32(2, reg.0)];
            if *inverted {
                all.push(be32(5, LOOKUP_INVERTED));
            }
            ("lookup", all)
        }
        Expr::Vmap { map, reg } => {
            ("lookup", vec![text(1, map), be32(2, reg.0), be32(3, VERDICT_REG)])
        }
        Expr::AddToSet { set, reg, timeout_ms } => {
            let mut all = vec![text(1, set), be32(3, DYNSET_UPDATE), be32(4, reg.0)];
            if *timeout_ms > 0 {
                all.push(be64(6, *timeout_ms));
            }
            ("dynset", all)
        }
        Expr::Immediate { reg, data } => ("immediate", vec![be32(1, reg.0), value(2, data)]),
        Expr::Verdict(v) => ("immediate", vec![be32(1, VERDICT_REG), verdict(2, v)]),
        Expr::Snat { v4, addr, flags } => ("nat", nat(NAT_SNAT, *v4, *addr, None, *flags)),
        Expr::Dnat { v4, addr, port, flags } => ("nat", nat(NAT_DNAT, *v4, *addr, *port, *flags)),
        Expr::Masquerade { flags } => ("masq", vec![be32(1, *flags)]),
        Expr::Counter { packets, bytes } => ("counter", vec![be64(1, *bytes), be64(2, *packets)]),
        Expr::NamedCounter(name) => ("objref", vec![be32(1, OBJECT_COUNTER), text(2, name)]),
        Expr::Other(name) => (name, Vec::new()),
    }
}

fn nat(kind: u32, v4: bool, addr: Reg, port: Option<Reg>, flags: u32) -> Vec<DefaultNla> {
    let family = if v4 { NFPROTO_IPV4 } else { NFPROTO_IPV6 };
    let mut all = vec![be32(1, kind), be32(2, family), be32(3, addr.0)];
    all.extend(port.map(|reg| be32(5, reg.0)));
    if flags != 0 {
        all.push(be32(7, flags));
    }
    all
}

/// The expressions of a rule as the kernel shows them.
pub(super) fn decode_all(list: &Attrs<'_>) -> Vec<Expr> {
    list.values()
        .filter(|(kind, _)| *kind == LIST_ELEM)
        .map(|(_, element)| {
            let element = Attrs::parse(element);
            let name = element.text(EXPR_NAME).unwrap_or_default();
            let data = element.nested(EXPR_DATA).unwrap_or_default();
            decode(&name, &data).unwrap_or(Expr::Other(name))
        })
        .collect()
}

fn decode(name: &str, a: &Attrs<'_>) -> Option<Expr> {
    let reg = |kind| a.be32(kind).map(Reg::from_number);
    Some(match name {
        "payload" => Expr::Payload {
            base: PayloadBase::from_number(a.be32(2)?)?,
            offset: a.be32(3)?,
            len: a.be32(4)?,
            reg: reg(1)?,
        },
        "meta" => match reg(1) {
            Some(reg) => Expr::Meta { key: Meta::from_number(a.be32(2)?), reg },
            None => Expr::SetMeta { key: Meta::from_number(a.be32(2)?), reg: reg(3)? },
        },
        // A direction argument means a key that we never use.
        "ct" if a.bytes(3).is_some() => return None,
        "ct" => match reg(1) {
            Some(reg) => Expr::Ct { key: Ct::from_number(a.be32(2)?), reg },
            None => Expr::SetCt { key: Ct::from_number(a.be32(2)?), reg: reg(4)? },
        },
        "fib" => Expr::Fib {
            result: FibResult::from_number(a.be32(2)?),
            flags: a.be32(3).unwrap_or(0),
            reg: reg(1)?,
        },
        "cmp" => {
            Expr::Cmp { op: Cmp::from_number(a.be32(2)?)?, reg: reg(1)?, data: read_value(a, 3)? }
        }
        "bitwise" if a.be32(6).unwrap_or(0) == 0 && reg(1) == reg(2) => {
            Expr::Bitwise { reg: reg(1)?, mask: read_value(a, 4)?, xor: read_value(a, 5)? }
        }
        "lookup" => decode_lookup(a)?,
        "dynset" => {
            Expr::AddToSet { set: a.text(1)?, reg: reg(4)?, timeout_ms: a.be64(6).unwrap_or(0) }
        }
        "immediate" if a.be32(1)? == VERDICT_REG => Expr::Verdict(read_verdict(a, 2)?),
        "immediate" => Expr::Immediate { reg: reg(1)?, data: read_value(a, 2)? },
        "nat" => decode_nat(a)?,
        "masq" => Expr::Masquerade { flags: a.be32(1).unwrap_or(0) },
        "counter" => Expr::Counter { packets: a.be64(2)?, bytes: a.be64(1)? },
        "objref" if a.be32(1) == Some(OBJECT_COUNTER) => Expr::NamedCounter(a.text(2)?),
        _ => return None,
    })
}

fn decode_lookup(a: &Attrs<'_>) -> Option<Expr> {
    let (set, reg) = (a.text(1)?, Reg::from_number(a.be32(2)?));
    match a.be32(3) {
        None => {
            let inverted = a.be32(5).unwrap_or(0) & LOOKUP_INVERTED != 0;
            Some(Expr::Lookup { set, reg, inverted })
        }
        Some(VERDICT_REG) => Some(Expr::Vmap { map: set, reg }),
        Some(_) => None,
    }
}

fn decode_nat(a: &Attrs<'_>) -> Option<Expr> {
    let v4 = a.be32(2)? == NFPROTO_IPV4;
    let addr = Reg::from_number(a.be32(3)?);
    let flags = a.be32(7).unwrap_or(0) & !NAT_IMPLIED_FLAGS;
    match a.be32(1)? {
        NAT_SNAT => Some(Expr::Snat { v4, addr, flags }),
        NAT_DNAT => Some(Expr::Dnat { v4, addr, port: a.be32(5).map(Reg::from_number), flags }),
        _ => None,
    }
}

impl PayloadBase {
    fn number(self) -> u32 {
        match self {
            Self::Link => 0,
            Self::Network => 1,
            Self::Transport => 2,
        }
    }

    fn from_number(n: u32) -> Option<Self> {
        Some(match n {
            0 => Self::Link,
            1 => Self::Network,
            2 => Self::Transport,
            _ => return None,
        })
    }
}

impl Cmp {
    fn number(self) -> u32 {
        match self {
            Self::Eq => 0,
            Self::Ne => 1,
            Self::Lt => 2,
            Self::Le => 3,
            Self::Gt => 4,
            Self::Ge => 5,
        }
    }

    fn from_number(n: u32) -> Option<Self> {
        [Self::Eq, Self::Ne, Self::Lt, Self::Le, Self::Gt, Self::Ge]
            .into_iter()
            .find(|op| op.number() == n)
    }
}

/// Numbers of an open enumeration, both ways.
macro_rules! numbers {
    ($name:ident { $($variant:ident = $n:literal),* $(,)? }) => {
        impl $name {
            fn number(self) -> u32 {
                match self {
                    $(Self::$variant => $n,)*
                    Self::Other(n) => n,
                }
            }

            fn from_number(n: u32) -> Self {
                match n {
                    $($n => Self::$variant,)*
                    n => Self::Other(n),
                }
            }
        }
    };
}

numbers!(Meta {
    Len = 0, Mark = 3, Iif = 4, Oif = 5, IifName = 6, OifName = 7, NfProto = 15, L4Proto = 16,
});
numbers!(Ct { State = 0, Direction = 1, Status = 2, Mark = 3 });
numbers!(FibResult { Oif = 1, OifName = 2, AddrType = 3 });
