//! How a result remembers what was wired, so that DEL can undo it without the daemon.
//!
//! The encoding is that of the reference, in all its eras, so that either plugin can remove the
//! other's pods: the container interface carries the routing table's number as its `mac`, and a
//! marker interface that never exists, `dummy` and the hash of the host veth's name, carries a VLAN
//! (0 for a normal pod) as `mac` and the device number as `sandbox`.

use ipnetwork::IpNetwork;
use vpc_ipam_core::datapath::{PodAddress, PodWiring, route_table};

use super::allocation::main_if_old;
use crate::{
    protocol::{CniResult, Interface, IpConfig},
    rpc::IpAllocationMetadata,
};

const MARKER_PREFIX: &str = "dummy";

/// Digits of the hash in the names of host veths and markers.
const HASH_LEN: usize = 11;

/// Interfaces that are looked for in a previous result: no instance has more network cards.
const CARDS_MAX: usize = 16;

/// The result of wiring one address.
pub(super) fn result(
    if_name: &str,
    netns: &str,
    veth_prefix: &str,
    wiring: &PodWiring,
    allocation: &IpAllocationMetadata,
    address: &PodAddress,
) -> CniResult {
    let hash = wiring.host_if.strip_prefix(veth_prefix).unwrap_or(&wiring.host_if);
    CniResult {
        interfaces: vec![
            Interface::host(&wiring.host_if),
            Interface::new(if_name, allocation.route_table_id.to_string(), netns),
            Interface::new(
                format!("{MARKER_PREFIX}{hash}"),
                "0",
                allocation.device_number.to_string(),
            ),
        ],
        ips: vec![IpConfig {
            address: IpNetwork::from(address.ip),
            interface: Some(1),
            gateway: None,
        }],
        ..CniResult::default()
    }
}

/// What a previous result says of a pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Wired {
    /// A pod with addresses of the node's ENIs.
    Normal(Vec<PodAddress>),
    /// A pod with a branch ENI.
    Branch {
        /// Its VLAN, never 0.
        vlan: u32,
    },
    /// Nothing that can be relied on; the reason is for the log.
    Unknown(&'static str),
}

impl Wired {
    /// Reads the result of an ADD for `if_name`.
    pub(super) fn read(result: &CniResult, if_name: &str) -> Self {
        let Some(marker) = result.interfaces.iter().find(|i| is_marker(&i.name)) else {
            return Self::Unknown("no marker interface: the pod was wired by a very old plugin");
        };
        let vlan = marker.mac.as_deref().and_then(|text| text.parse().ok());
        match vlan {
            None => return Self::Unknown("the marker's mac is not a VLAN number"),
            Some(0) => {}
            Some(vlan) => return Self::Branch { vlan },
        }
        let device = marker.sandbox.as_deref().and_then(|text| text.parse().ok());
        let Some(device) = device else {
            return Self::Unknown("the marker's sandbox is not a device number");
        };
        let mut addresses = Vec::new();
        let cards = (result.interfaces.len().saturating_sub(1) / 2).min(CARDS_MAX);
        for card in 0..cards {
            let name = if card == 0 { if_name.to_owned() } else { format!("mNicIf{card}") };
            match addresses_of(result, &name, device) {
                Ok(found) => addresses.extend(found),
                Err(reason) => return Self::Unknown(reason),
            }
        }
        Self::Normal(addresses)
    }
}

fn is_marker(name: &str) -> bool {
    name.strip_prefix(MARKER_PREFIX)
        .is_some_and(|hash| hash.len() == HASH_LEN && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Addresses of the interface called `name` in a sandbox. That there is none is normal: chained plugins
/// add interfaces, so the count of cards is an upper bound.
fn addresses_of(
    result: &CniResult,
    name: &str,
    device: u32,
) -> Result<Vec<PodAddress>, &'static str> {
    let in_sandbox =
        |i: &Interface| i.name == name && i.sandbox.as_ref().is_some_and(|s| !s.is_empty());
    let Some(index) = result.interfaces.iter().position(in_sandbox) else {
        return Ok(Vec::new());
    };
    let mac = result.interfaces.get(index).and_then(|i| i.mac.as_deref());
    let table = match mac.filter(|m| !m.is_empty()) {
        Some(text) => text.parse().map_err(|_| "the interface's mac is not a routing table")?,
        None => route_table(0, device),
    };
    let addresses = result.ips.iter().filter(|ip| ip.interface == Some(index));
    Ok(addresses
        .map(|ip| PodAddress { ip: ip.address.ip(), table: main_if_old(table), device })
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use vpc_ipam_core::{datapath::MAIN_TABLE, id::MacAddr};

    use super::*;
    use crate::protocol::SpecVersion;

    fn read(json: Value) -> Wired {
        Wired::read(&CniResult::from_json(SpecVersion::V0_4_0, json).unwrap(), "eth0")
    }

    fn pod(mac: Value, marker: Value) -> Value {
        let mut eth0 = json!({"name":"eth0","sandbox":"/ns"});
        if let (Some(eth0), false) = (eth0.as_object_mut(), mac.is_null()) {
            eth0.insert("mac".into(), mac);
        }
        let mut interfaces = vec![json!({"name":"enicc21c2d7785"}), eth0];
        interfaces.extend((!marker.is_null()).then_some(marker));
        json!({
            "interfaces": interfaces,
            "ips": [{"version":"4","interface":1,"address":"10.0.50.5/32"}],
        })
    }

    fn one(table: u32, device: u32) -> Wired {
        Wired::Normal(vec![PodAddress { ip: "10.0.50.5".parse().unwrap(), table, device }])
    }

    #[test]
    fn what_is_written_is_read_back() {
        let wiring = PodWiring {
            host_if: "enicc21c2d7785".into(),
            host_mac: MacAddr([2; 6]),
            container_mac: MacAddr([6; 6]),
        };
        let allocation = IpAllocationMetadata {
            ipv4_addr: "10.0.50.5".into(),
            ipv6_addr: String::new(),
            device_number: 2,
            route_table_id: 3,
        };
        let address = super::super::allocation::address(&allocation).unwrap();
        let result = result("eth0", "/ns", "eni", &wiring, &allocation, &address);
        assert_eq!(Wired::read(&result, "eth0"), one(3, 2));
        assert_eq!(Wired::read(&result, "eth1"), Wired::Normal(vec![]));
    }

    #[test]
    fn every_era_is_read() {
        let marker = |device: &str| json!({"name":"dummycc21c2d7785","mac":"0","sandbox":device});
        assert_eq!(read(pod("3".into(), marker("2"))), one(3, 2));
        assert_eq!(read(pod(Value::Null, marker("2"))), one(3, 2));
        assert_eq!(read(pod(Value::Null, marker("0"))), one(MAIN_TABLE, 0));
        assert_eq!(read(pod("1".into(), marker("0"))), one(MAIN_TABLE, 0));
        assert!(matches!(read(pod(Value::Null, Value::Null)), Wired::Unknown(_)));
    }

    #[test]
    fn branch_pods_are_told_apart() {
        let marker = json!({"name":"dummycc21c2d7785","mac":"7"});
        assert_eq!(read(pod("0".into(), marker)), Wired::Branch { vlan: 7 });
    }

    #[test]
    fn nothing_is_guessed() {
        for marker in [
            json!({"name":"dummycc21c2d7785","sandbox":"2"}),
            json!({"name":"dummycc21c2d7785","mac":"x","sandbox":"2"}),
            json!({"name":"dummycc21c2d7785","mac":"0","sandbox":"/ns"}),
            json!({"name":"dummy0","mac":"0","sandbox":"2"}),
        ] {
            assert!(matches!(read(pod("3".into(), marker.clone())), Wired::Unknown(_)), "{marker}");
        }
        let marker = json!({"name":"dummycc21c2d7785","mac":"0","sandbox":"2"});
        assert!(matches!(read(pod("02:00:00:00:00:01".into(), marker)), Wired::Unknown(_)));
    }

    #[test]
    fn interfaces_of_chained_plugins_do_no_harm() {
        let marker = json!({"name":"dummycc21c2d7785","mac":"0","sandbox":"2"});
        let mut chained = pod("3".into(), marker);
        let interfaces = chained.get_mut("interfaces").unwrap().as_array_mut().unwrap();
        interfaces.push(json!({"name":"v4if0","sandbox":"/ns","mac":"02:00:00:00:00:01"}));
        interfaces.push(json!({"name":"vethx","mac":"02:00:00:00:00:02"}));
        assert_eq!(read(chained), one(3, 2));
    }

    fn any_interface() -> impl Strategy<Value = Interface> {
        let name = prop_oneof!["(eth0|mNicIf1|dummycc21c2d7785|dummy)", ".{0,15}"];
        let text = || prop::option::of(prop_oneof!["-?[0-9]{0,11}", "/ns", ".{0,4}"]);
        (name, text(), text()).prop_map(|(name, mac, sandbox)| {
            let mut interface = Interface::host(name);
            (interface.mac, interface.sandbox) = (mac, sandbox);
            interface
        })
    }

    proptest! {
        /// Whatever a result says, only addresses that it holds are ever removed.
        #[test]
        fn any_result_is_read_without_invention(
            interfaces in prop::collection::vec(any_interface(), 0..40),
            ips in prop::collection::vec((any::<u32>(), prop::option::of(0usize..50)), 0..40),
        ) {
            let ips = ips.into_iter().map(|(ip, interface)| IpConfig {
                address: IpNetwork::from(std::net::IpAddr::from(ip.to_be_bytes())),
                interface,
                gateway: None,
            });
            let result = CniResult { interfaces, ips: ips.collect(), ..CniResult::default() };
            if let Wired::Normal(addresses) = Wired::read(&result, "eth0") {
                for address in addresses {
                    prop_assert!(result.ips.iter().any(|ip| ip.address.ip() == address.ip));
                    prop_assert!(address.table > 1);
                }
            }
        }
    }
}
