//! Whatever is called in whatever order: no address on two ENIs, no slot too many, none lost.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Assign { eni: usize, n: u32, prefixes: bool },
    Attach { eni: usize, instance: usize, device: u32 },
    Create { subnet: usize, n: u32, prefixes: bool },
    Delete { eni: usize },
    Detach { eni: usize, force: bool },
    Evict { eni: usize },
    Tag { eni: usize },
    Unassign { eni: usize, n: usize },
    Wait { ms: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let eni = 0..8usize;
    prop_oneof![
        (eni.clone(), 0..6u32, any::<bool>()).prop_map(|(eni, n, prefixes)| Op::Assign {
            eni,
            n,
            prefixes
        }),
        (eni.clone(), 0..2usize, 0..5u32).prop_map(|(eni, instance, device)| Op::Attach {
            eni,
            instance,
            device
        }),
        (0..2usize, 0..6u32, any::<bool>()).prop_map(|(subnet, n, prefixes)| Op::Create {
            subnet,
            n,
            prefixes
        }),
        eni.clone().prop_map(|eni| Op::Delete { eni }),
        (eni.clone(), any::<bool>()).prop_map(|(eni, force)| Op::Detach { eni, force }),
        eni.clone().prop_map(|eni| Op::Evict { eni }),
        eni.clone().prop_map(|eni| Op::Tag { eni }),
        (eni, 1..4usize).prop_map(|(eni, n)| Op::Unassign { eni, n }),
        (0..3_000u64).prop_map(|ms| Op::Wait { ms }),
    ]
}

fn ipv4(n: u32, prefixes: bool) -> Ipv4Request {
    if prefixes { Ipv4Request::Prefixes(n) } else { Ipv4Request::Secondary(n) }
}

/// Runs one operation. Refusals are fine; what they leave behind is checked like everything else.
fn run(w: &mut World, op: &Op) -> Result<(), Ec2Error> {
    let now = w.now();
    let nth = |w: &World, n: usize| {
        let count = w.enis().count();
        w.enis().nth(n % count).unwrap().clone()
    };
    match *op {
        Op::Assign { eni, n, prefixes } => {
            let eni = nth(w, eni).id;
            let got = assign(w, &eni, ipv4(n, prefixes))?;
            assert_eq!(got.addresses.len() + got.prefixes.len(), n as usize);
            Ok(())
        }
        Op::Attach { eni, instance, device } => {
            let eni = nth(w, eni).id;
            let instance = w.instances()[instance].id.clone();
            let request = AttachNetworkInterface { eni, instance, device, card: 0 };
            w.attach_network_interface(&request, now).map(|_| ())
        }
        Op::Create { subnet, n, prefixes } => {
            let request = CreateNetworkInterface::new(w.subnets()[subnet].id.clone());
            w.create_network_interface(&request.ipv4(ipv4(n, prefixes)), now).map(|_| ())
        }
        Op::Delete { eni } => {
            let eni = nth(w, eni).id;
            w.delete_network_interface(&eni, now)
        }
        Op::Detach { eni, force } => {
            let attachment = nth(w, eni).attachment.map(|a| a.id).unwrap_or_default();
            w.detach_network_interface(&DetachNetworkInterface { attachment, force }, now)
        }
        Op::Evict { eni } => {
            let eni = nth(w, eni).id;
            w.evict_eni(&eni, now);
            Ok(())
        }
        Op::Tag { eni } => {
            let eni = nth(w, eni).id;
            w.tag_foreign(eni.as_str(), "at", &now.to_string(), now)
        }
        Op::Unassign { eni, n } => {
            let eni = nth(w, eni);
            let ips: Vec<_> = eni.secondary_ips.iter().copied().take(n).collect();
            let prefixes: Vec<_> = eni.prefixes.iter().copied().take(n).collect();
            unassign(w, &eni.id, &ips, &prefixes)
        }
        Op::Wait { ms } => {
            w.advance(now + Duration::from_millis(ms));
            Ok(())
        }
    }
}

fn check(w: &World, told: &Told) {
    let mut seen: BTreeSet<IpAddr> = BTreeSet::new();
    for eni in w.enis() {
        let subnet = w.subnet(&eni.subnet).unwrap();
        let primary = eni.primary_ip.map(|ip| crate::addr::Prefix::host(ip.into()));
        for cidr in primary.into_iter().chain(eni.owned()) {
            assert!(subnet.cidr.covers(&cidr));
            for n in 0..cidr.size() {
                assert!(seen.insert(cidr.nth(n).unwrap()), "{cidr} of {} is held twice", eni.id);
            }
        }
        let instance = eni.attachment.as_ref().and_then(|a| w.instance(&a.instance));
        if let Some(instance) = instance {
            assert!(eni.slots_used() <= instance.instance_type.slots() as usize);
        }
    }
    for subnet in w.subnets() {
        let size = u32::try_from(subnet.cidr.size()).unwrap();
        let held = seen.iter().filter(|ip| subnet.cidr.contains(**ip)).count();
        assert_eq!(subnet.available_ips() + u32::try_from(held).unwrap(), size - 5);
        assert!(subnet.free_prefixes() as u32 * 16 <= subnet.available_ips());
    }
    for instance in w.instances() {
        let enis = w.enis_of(&instance.id);
        assert!(enis.len() <= instance.instance_type.enis() as usize);
        let devices: BTreeSet<_> =
            enis.iter().map(|e| e.attachment.as_ref().unwrap().device).collect();
        assert_eq!(devices.len(), enis.len());
    }
    told.check(w);
    assert!(w.remembers_the_present());
}

/// What somebody believes who only listens to the changes.
#[derive(Default)]
struct Told {
    links: std::collections::BTreeMap<EniId, Vec<crate::addr::Prefix>>,
}

impl Told {
    fn listen(&mut self, changes: Vec<WorldChange>) {
        for change in changes {
            match change {
                WorldChange::EniAttached(link) => {
                    assert!(self.links.insert(link.eni, Vec::new()).is_none(), "plugged twice");
                }
                WorldChange::EniDetached { eni, .. } => {
                    assert!(self.links.remove(&eni).is_some(), "pulled without a link");
                }
                WorldChange::AddressesChanged { eni, owned, .. } => {
                    *self.links.get_mut(&eni).unwrap() = owned;
                }
            }
        }
    }

    fn check(&self, w: &World) {
        let links = w.enis().filter(|e| e.attachment.as_ref().is_some_and(|a| a.link));
        let links = links.map(|e| (e.id.clone(), e.owned())).collect();
        assert_eq!(self.links, links);
    }
}

proptest! {
    #[test]
    fn no_history_breaks_the_books(
        seed in any::<u64>(),
        scattered in any::<bool>(),
        slow in any::<bool>(),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let allocation = if scattered { Allocation::Scattered } else { Allocation::LowestFree };
        let mut w = config("10.0.0.0/26", "t3.small")
            .subnet("10.0.1.0/25".parse().unwrap())
            .instance(1, "m5.large")
            .allocation(allocation)
            .delays(if slow { Delays::USUAL } else { Delays::NONE })
            .seed(seed)
            .build()
            .unwrap();
        w.set_consistency(Consistency { lag: Duration::from_secs(1), ..Consistency::STRONG });
        let mut told = Told::default();
        for op in &ops {
            let _refused_or_not = run(&mut w, op);
            told.listen(w.take_changes());
            check(&w, &told);
        }
        // Once everything is given back, everything is free again.
        w.advance(w.now() + Duration::from_secs(60));
        let all: Vec<EniId> = w.enis().filter(|e| !e.is_primary()).map(|e| e.id.clone()).collect();
        all.iter().for_each(|eni| w.evict_eni(eni, w.now()));
        for eni in w.enis().cloned().collect::<Vec<_>>() {
            let _ = unassign(&mut w, &eni.id, &eni.secondary_ips, &eni.prefixes);
        }
        told.listen(w.take_changes());
        check(&w, &told);
        prop_assert_eq!(w.subnets()[0].available_ips(), 64 - 5 - 1);
        prop_assert_eq!(w.subnets()[1].available_ips(), 128 - 5 - 1);
        prop_assert_eq!(w.changes_lost(), 0);
        // Metadata catches up, and shows what EC2 has.
        w.advance(w.now() + Duration::from_secs(60));
        for instance in w.instances() {
            let view = w.imds_view(&instance.id, w.now()).unwrap();
            prop_assert_eq!(view.enis.len(), 1);
            prop_assert_eq!(view.enis[0].local_ipv4s.len(), 1);
        }
    }
}
