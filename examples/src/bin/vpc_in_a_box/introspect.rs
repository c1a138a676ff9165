//! What a daemon says about itself: its introspection endpoint, read over plain HTTP.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;

/// Where the daemon listens, in its node's network namespace.
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 61_679);
/// The daemon answers from memory; slower than this is as bad as no answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A node of 4,000 addresses answers with about a megabyte.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// Why the daemon could not be asked.
#[derive(Debug, Error)]
pub(crate) enum IntrospectError {
    #[error("cannot ask the daemon at {ADDRESS}: {0}")]
    Io(#[from] io::Error),

    #[error("the daemon answered {path} with {status:?}")]
    Status { path: &'static str, status: String },

    #[error("the daemon's answer to {path} makes no sense: {source}")]
    Json { path: &'static str, source: serde_json::Error },
}

/// One ENI in the daemon's pool.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PoolEni {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "AvailableIPv4Cidrs", default)]
    cidrs: BTreeMap<String, PoolCidr>,
}

#[derive(Clone, Debug, Deserialize)]
struct PoolCidr {
    #[serde(rename = "IPAddresses", default)]
    addresses: BTreeMap<String, PoolAddress>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PoolAddress {
    address: Ipv4Addr,
    /// Blank but for the network; entirely blank while the address rests.
    #[serde(rename = "IPAMKey", default)]
    key: PoolKey,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PoolKey {
    #[serde(default)]
    network_name: String,
}

impl PoolAddress {
    fn is_assigned(&self) -> bool {
        !self.key.network_name.is_empty()
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PoolCard {
    #[serde(rename = "ENIs", default)]
    enis: BTreeMap<String, PoolEni>,
    #[serde(rename = "AssignedIPs", default)]
    assigned: u64,
}

/// A node's pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    pub(crate) enis: Vec<PoolEni>,
    /// Addresses that pods have, as the daemon counts them.
    pub(crate) assigned: u64,
}

impl Pool {
    /// The ENI that `ip` is assigned on.
    pub(crate) fn owner(&self, ip: Ipv4Addr) -> Option<&PoolEni> {
        self.enis.iter().find(|eni| eni.assigned().any(|assigned| assigned == ip))
    }

    /// All addresses that pods have.
    pub(crate) fn assigned_addresses(&self) -> Vec<Ipv4Addr> {
        self.enis.iter().flat_map(PoolEni::assigned).collect()
    }
}

impl PoolEni {
    fn assigned(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.cidrs
            .values()
            .flat_map(|c| c.addresses.values())
            .filter(|a| a.is_assigned())
            .map(|a| a.address)
    }
}

/// State of a daemon's health.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Health {
    #[serde(default)]
    pub(crate) ready: bool,
    #[serde(default)]
    pub(crate) degraded: Vec<String>,
}

/// The pool. To be called in the node's network namespace.
pub(crate) fn pool() -> Result<Pool, IntrospectError> {
    let cards: BTreeMap<String, PoolCard> = fetch("/v1/enis", &["200"])?;
    let mut pool = Pool::default();
    for card in cards.into_values() {
        pool.assigned += card.assigned;
        pool.enis.extend(card.enis.into_values());
    }
    Ok(pool)
}

/// The health. To be called in the node's network namespace.
pub(crate) fn health() -> Result<Health, IntrospectError> {
    fetch("/healthz", &["200", "503"])
}

fn fetch<T: DeserializeOwned>(path: &'static str, ok: &[&str]) -> Result<T, IntrospectError> {
    let mut stream = TcpStream::connect_timeout(&ADDRESS, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // Version 1.0: the answer comes in one piece and ends with the connection.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(BODY_BYTES_MAX).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if !ok.contains(&status.split(' ').nth(1).unwrap_or_default()) {
        return Err(IntrospectError::Status { path, status: status.to_owned() });
    }
    serde_json::from_str(body).map_err(|source| IntrospectError::Json { path, source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn assigned_addresses_and_their_eni_are_found() {
        let card: PoolCard = serde_json::from_str(
            r#"{"TotalIPs":2,"AssignedIPs":1,"ENIs":{"eni-0a1":{
               "ID":"eni-0a1","IsPrimary":true,"AvailableIPv4Cidrs":{
                 "10.1.4.16/28":{"Cidr":{"IP":"10.1.4.16","Mask":"////8A=="},"IPAddresses":{
                   "10.1.4.16":{"Address":"10.1.4.16","IPAMKey":{"networkName":"aws-cni","containerID":"","ifName":""}},
                   "10.1.4.17":{"Address":"10.1.4.17","IPAMKey":{"networkName":"","containerID":"","ifName":""}}},
                 "IsPrefix":true,"AddressFamily":""}}}}}"#,
        )
        .unwrap();
        let pool = Pool { assigned: card.assigned, enis: card.enis.into_values().collect() };
        assert_eq!(pool.assigned_addresses(), [Ipv4Addr::new(10, 1, 4, 16)]);
        assert_eq!(pool.owner(Ipv4Addr::new(10, 1, 4, 16)).unwrap().id, "eni-0a1");
        assert!(pool.owner(Ipv4Addr::new(10, 1, 4, 17)).is_none());
    }
}
