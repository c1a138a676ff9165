//! From text to leases, and to what only can be kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::de::DeserializeOwned;

use super::{
    Checkpoint, CheckpointError, Kept, Lease, SIZE_MAX, Unexplained, Unknown, VERSION, raw,
};
use crate::id::{PodRef, SandboxKey};

/// Decodes a state file. The order of the entries carries no meaning; unknown members are kept.
///
/// An entry that is no lease, or contradicts another one, is [kept](Checkpoint::kept) as it is. Two
/// entries of one sandbox with one address are one lease, the later of them.
///
/// # Errors
///
/// If the file is torn or of another version, so that nothing in it can be relied upon.
pub fn decode(content: &[u8]) -> Result<Checkpoint, CheckpointError> {
    if content.len() > SIZE_MAX {
        let text = format!("{} bytes are more than the {SIZE_MAX} allowed", content.len());
        return Err(CheckpointError::Malformed(text));
    }
    let malformed = |text: &dyn ToString| CheckpointError::Malformed(text.to_string());
    let text = std::str::from_utf8(content).map_err(|e| malformed(&e))?;
    let text = raw::compact(text).map_err(|e| malformed(&e))?;
    let file = Fields::of(&text, &["version", "allocations"]).map_err(|e| malformed(&e))?;
    let version: String = file.read("version").map_err(|e| malformed(&e))?.unwrap_or_default();
    if version != VERSION {
        return Err(CheckpointError::Version(version.chars().take(64).collect()));
    }
    // The reference writes `[]`, other Go programs may write `null` for an empty list.
    let entries = match file.text("allocations") {
        None | Some("null") => Vec::new(),
        Some(text) => {
            raw::elements(text).ok_or_else(|| malformed(&"the allocations are no list"))?
        }
    };
    let (leases, kept) = resolve(entries.into_iter().map(Entry::read).collect());
    let unknown = Unknown { own: file.unknown.into(), metadata: "".into() };
    Ok(Checkpoint { leases, kept, unknown })
}

/// Reads what [`Changes`](super::Changes) writes: leases, and the parts of sandboxes' keys.
pub(super) fn changes(text: &str) -> Result<(Vec<Lease>, Vec<[String; 3]>), String> {
    let fields = Fields::of(text, &["put", "removed"])?;
    let put = raw::elements(fields.text("put").unwrap_or("[]")).ok_or("`put` is no list")?;
    let put = put.into_iter().map(|text| Entry::read(text).lease).collect::<Result<_, _>>()?;
    Ok((put, fields.read("removed")?.unwrap_or_default()))
}

/// One entry, as far as it can be read.
struct Entry<'a> {
    text: &'a str,
    owner: Option<SandboxKey>,
    addresses: Vec<IpAddr>,
    lease: Result<Lease, String>,
}

impl<'a> Entry<'a> {
    fn read(text: &'a str) -> Self {
        const NAMES: [&str; 7] = [
            "networkName",
            "containerID",
            "ifName",
            "ipv4",
            "ipv6",
            "allocationTimestamp",
            "metadata",
        ];
        match Fields::of(text, &NAMES) {
            Ok(fields) => {
                let owner = owner(&fields);
                let lease = owner.clone().and_then(|key| lease(&fields, key));
                Self { text, owner: owner.ok(), addresses: addresses(text), lease }
            }
            Err(why) => {
                Self { text, owner: None, addresses: addresses(text), lease: Err(why.to_owned()) }
            }
        }
    }

    fn keep(&self, why: Unexplained) -> Kept {
        Kept {
            addresses: self.addresses.clone(),
            owner: self.owner.clone(),
            why,
            text: self.text.into(),
        }
    }
}

fn owner(fields: &Fields<'_>) -> Result<SandboxKey, String> {
    let part = |name| fields.read::<String>(name).map(Option::unwrap_or_default);
    SandboxKey::new(&part("networkName")?, &part("containerID")?, &part("ifName")?)
        .map_err(|e| e.to_string())
}

/// Every address that the entry names, wherever it stands and however often.
fn addresses(text: &str) -> Vec<IpAddr> {
    // Readers in Go ignore the case of names.
    let is_address = |m: &&raw::Member<'_>| {
        serde_json::from_str::<String>(m.name)
            .is_ok_and(|name| ["ipv4", "ipv6"].iter().any(|known| name.eq_ignore_ascii_case(known)))
    };
    let members = raw::members(text).unwrap_or_default();
    let mut addresses: Vec<IpAddr> = members
        .iter()
        .filter(is_address)
        .filter_map(|m| serde_json::from_str::<String>(m.value).ok()?.trim().parse().ok())
        .map(|ip: IpAddr| ip.to_canonical())
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

fn lease(fields: &Fields<'_>, key: SandboxKey) -> Result<Lease, String> {
    let address =
        |name| fields.read::<String>(name).map(|text| text.filter(|text| !text.is_empty()));
    let bad =
        |text: &str| format!("its address is {:?}", text.chars().take(64).collect::<String>());
    let ip = match (address("ipv4")?, address("ipv6")?) {
        (Some(text), None) => text.parse().map(IpAddr::V4).map_err(|_| bad(&text)),
        (None, Some(text)) => match text.parse().map(IpAddr::V6) {
            // The same address under two names could be given twice.
            Ok(ip) if ip.to_canonical() == ip => Ok(ip),
            _ => Err(bad(&text)),
        },
        (None, None) => Err("it has no address".to_owned()),
        (Some(v4), Some(v6)) => Err(bad(&format!("{v4} and {v6}"))),
    }?;
    let metadata = fields.text("metadata").filter(|text| *text != "null").unwrap_or("{}");
    let metadata = Fields::of(metadata, &["k8sPodNamespace", "k8sPodName", "interfacesCount"])?;
    Ok(Lease {
        key,
        ip,
        allocated_ns: fields.read("allocationTimestamp")?.unwrap_or(0),
        pod: PodRef {
            namespace: metadata.read("k8sPodNamespace")?.unwrap_or_default(),
            name: metadata.read("k8sPodName")?.unwrap_or_default(),
        },
        interfaces: metadata.read("interfacesCount")?.unwrap_or(1).max(1),
        unknown: Unknown { own: fields.unknown.as_str().into(), metadata: metadata.unknown.into() },
    })
}

/// An object: the members of known names, and the text of the others.
struct Fields<'a> {
    known: BTreeMap<&'static str, &'a str>,
    unknown: String,
}

impl<'a> Fields<'a> {
    fn of(text: &'a str, names: &[&'static str]) -> Result<Self, &'static str> {
        let mut fields = Self { known: BTreeMap::new(), unknown: String::new() };
        for member in raw::members(text).ok_or("it is no object")? {
            let name = serde_json::from_str::<String>(member.name).ok();
            match names.iter().find(|known| name.as_deref() == Some(**known)) {
                Some(known) => {
                    if fields.known.insert(known, member.value).is_some() {
                        return Err("it says something twice");
                    }
                }
                None => {
                    let comma = if fields.unknown.is_empty() { "" } else { "," };
                    fields.unknown += &format!("{comma}{}:{}", member.name, member.value);
                }
            }
        }
        Ok(fields)
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.known.get(name).copied()
    }

    /// A member's value; `None` if it is absent or null.
    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        // Positions in a piece of text would mislead.
        serde_json::from_str(text).map_err(|_| {
            let text: String = text.chars().take(64).collect();
            format!("its {name} is {text}")
        })
    }
}

/// Separates leases from claims that contradict each other.
fn resolve(entries: Vec<Entry<'_>>) -> (Vec<Lease>, Vec<Kept>) {
    let mut claimants: BTreeMap<IpAddr, BTreeSet<Result<SandboxKey, usize>>> = BTreeMap::new();
    for (n, entry) in entries.iter().enumerate() {
        for ip in &entry.addresses {
            let claimant = entry.owner.clone().ok_or(n);
            claimants.entry(*ip).or_default().insert(claimant);
        }
    }
    let mut kept = BTreeMap::new();
    let mut by_owner: BTreeMap<SandboxKey, Vec<(usize, Lease)>> = BTreeMap::new();
    for (n, entry) in entries.iter().enumerate() {
        match &entry.lease {
            Err(why) => {
                kept.insert(n, entry.keep(Unexplained::NotUnderstood(why.clone())));
            }
            Ok(lease) if claimants.get(&lease.ip).is_some_and(|c| c.len() > 1) => {
                kept.insert(n, entry.keep(Unexplained::SharedAddress));
            }
            Ok(lease) => by_owner.entry(lease.key.clone()).or_default().push((n, lease.clone())),
        }
    }
    let mut leases = Vec::new();
    for mut owned in by_owner.into_values() {
        owned.sort_by_key(|(n, lease)| (lease.allocated_ns, lease.ip, *n));
        let Some((_, last)) = owned.pop() else { continue };
        for (n, lease) in owned {
            if lease.ip != last.ip
                && let Some(entry) = entries.get(n)
            {
                kept.insert(n, entry.keep(Unexplained::SecondLease));
            }
        }
        leases.push(last);
    }
    leases.sort_by_key(|lease| lease.ip);
    (leases, kept.into_values().collect())
}
