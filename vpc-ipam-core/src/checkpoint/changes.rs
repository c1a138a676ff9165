//! The state file in small steps: what one write changes, and addresses claimed ahead of it.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Checkpoint, CheckpointError, Lease, Unknown, put_lease, raw, read};
use crate::id::{PodRef, SandboxKey};

/// Network name of entries that claim an address before a pod has it: see [`Changes`].
pub const RESERVED_NETWORK: &str = "_reserved";
/// Interface name of such entries.
const IF_NAME: &str = "unknown";

/// What one write of the state file changes.
///
/// A store that appends changes lets the state file lag behind, and someone else may read it at any
/// moment: the reference, when a node goes back to it. So the file claims addresses ahead, each for
/// nobody, under [`RESERVED_NETWORK`]; a pod is given one of these without a write of the file, and any
/// other address with one. A reader that knows nothing of this keeps such an entry, since it names no pod
/// whose link could be looked for, and gives its address to nobody.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// New leases, and those that have changed.
    pub put: Vec<Lease>,
    /// Sandboxes that have nothing any more.
    pub removed: Vec<SandboxKey>,
}

impl Changes {
    /// The changes as one line of JSON without a newline.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = b"{\"put\":[".to_vec();
        for lease in &self.put {
            put_lease(&mut text, lease);
            text.push(b',');
        }
        text.pop_if(|last| *last == b',');
        text.extend_from_slice(b"],\"removed\":");
        let removed: Vec<_> =
            self.removed.iter().map(|k| [k.network(), k.container_id(), k.if_name()]).collect();
        // Strings only: serialisation into memory has no way to fail.
        let _ = serde_json::to_writer(&mut text, &removed);
        text.push(b'}');
        text
    }

    /// The inverse of [`encode`](Self::encode).
    ///
    /// # Errors
    ///
    /// If `content` is something else.
    pub fn decode(content: &[u8]) -> Result<Self, CheckpointError> {
        let malformed = |text: &dyn ToString| CheckpointError::Malformed(text.to_string());
        let text = std::str::from_utf8(content).map_err(|e| malformed(&e))?;
        let text = raw::compact(text).map_err(|e| malformed(&e))?;
        let (put, removed) = read::changes(&text).map_err(|e| malformed(&e))?;
        let removed = removed.iter().map(|[network, id, name]| SandboxKey::new(network, id, name));
        let removed = removed.collect::<Result<_, _>>().map_err(|e| malformed(&e))?;
        Ok(Self { put, removed })
    }

    /// True if every new lease has an address that is claimed already.
    pub fn within(&self, reserved: &BTreeSet<IpAddr>) -> bool {
        self.put.iter().all(|lease| reserved.contains(&lease.ip))
    }
}

impl Checkpoint {
    /// Makes the changes.
    pub fn apply(&mut self, changes: Changes) {
        let Changes { mut put, removed } = changes;
        let gone: BTreeSet<SandboxKey> = removed.into_iter().collect();
        let new: BTreeSet<IpAddr> = put.iter().map(|lease| lease.ip).collect();
        let moved: BTreeSet<SandboxKey> = put.iter().map(|lease| lease.key.clone()).collect();
        self.leases.retain(|lease| {
            !gone.contains(&lease.key) && !moved.contains(&lease.key) && !new.contains(&lease.ip)
        });
        self.kept.retain(|kept| kept.owner.as_ref().is_none_or(|owner| !gone.contains(owner)));
        self.leases.append(&mut put);
        self.leases.sort_by_key(|lease| lease.ip);
    }

    /// Claims addresses that nobody has yet.
    pub fn reserve(&mut self, ips: impl IntoIterator<Item = IpAddr>) {
        let taken: BTreeSet<IpAddr> = self.leases.iter().map(|lease| lease.ip).collect();
        let new = ips.into_iter().filter(|ip| !taken.contains(ip));
        self.leases.extend(new.filter_map(|ip| {
            Some(Lease {
                key: SandboxKey::new(RESERVED_NETWORK, &ip.to_string(), IF_NAME).ok()?,
                ip,
                allocated_ns: 0,
                pod: PodRef::default(),
                interfaces: 1,
                unknown: Unknown::default(),
            })
        }));
        self.leases.sort_by_key(|lease| lease.ip);
    }

    /// Gives up what was claimed ahead: what of it is in use is known.
    pub fn unreserve(&mut self) {
        self.leases.retain(|lease| !lease.is_reserved());
    }
}

impl Lease {
    /// True for an address that was claimed ahead, and of which the file alone does not tell whether a
    /// pod has it.
    pub fn is_reserved(&self) -> bool {
        self.key.network() == RESERVED_NETWORK
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::checkpoint::{decode, encode};

    fn lease(id: &str, ip: &str) -> Lease {
        Lease {
            key: SandboxKey::new("aws-cni", id, "eth0").unwrap(),
            ip: ip.parse().unwrap(),
            allocated_ns: 7,
            pod: PodRef { namespace: "shop \"1\"".to_owned(), name: id.to_owned() },
            interfaces: 1,
            unknown: Unknown::default(),
        }
    }

    #[test]
    fn changes_read_back_and_damage_is_refused() {
        let changes = Changes {
            put: vec![lease("a", "10.0.0.1"), lease("b", "2001:db8::1")],
            removed: vec![SandboxKey::new("n", "c,\"", "i").unwrap()],
        };
        let text = changes.encode();
        assert_eq!(Changes::decode(&text), Ok(changes));
        assert_eq!(Changes::decode(&Changes::default().encode()), Ok(Changes::default()));
        for len in 0..text.len() {
            assert!(Changes::decode(&text[..len]).is_err());
        }
        for text in [r#"{"put":[7],"removed":[]}"#, r#"{"put":[],"removed":[["","a","b"]]}"#, "[]"]
        {
            assert!(Changes::decode(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_claim_becomes_a_lease_and_the_others_are_given_up() {
        let mut checkpoint = Checkpoint::new(vec![lease("a", "10.0.0.1")]);
        let ips = ["10.0.0.0", "10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        checkpoint.reserve(ips);
        let entry = r#"{"networkName":"_reserved","containerID":"10.0.0.0","ifName":"unknown","ipv4":"10.0.0.0","allocationTimestamp":0,"metadata":{"interfacesCount":1}}"#;
        assert!(String::from_utf8(encode(&checkpoint)).unwrap().contains(entry));
        assert_eq!(decode(&encode(&checkpoint)).unwrap(), checkpoint);
        assert_eq!(checkpoint.leases.iter().filter(|l| l.is_reserved()).count(), 2);
        let removed = vec![lease("a", "10.0.0.1").key];
        let changes = Changes { put: vec![lease("b", "10.0.0.2")], removed };
        assert!(changes.within(&ips.into()));
        assert!(!changes.within(&BTreeSet::new()));
        checkpoint.apply(changes);
        checkpoint.unreserve();
        assert_eq!(checkpoint, Checkpoint::new(vec![lease("b", "10.0.0.2")]));
    }
}
