use std::time::Duration;
use vpc_ipam_core::{config::*, testkit::sim::*};
#[test]
fn dbg() {
    let t = WarmTargets { enis: 0, ips: 0, minimum_ips: 0, prefixes: 1 };
    let mut c = SimConfig::with("t3.small", AllocationMode::Prefix, t, 0).unwrap();
    c.subnet = "10.0.0.0/26".parse().unwrap();
    c.pool.max_pods = 33;
    let mut sim = Sim::new(&c).unwrap();
    for n in 0..17 {
        sim.add(n).unwrap();
    }
    println!("{:?}", sim.quiesce(Duration::from_secs(1200)));
    for (t, a) in sim.actions() {
        let s = format!("{a:?}");
        if !s.contains("Persist") {
            println!("{t} {}", &s[..s.len().min(150)]);
        }
    }
    println!("{:#?}", sim.pool().stats().degraded);
    println!("{}", sim.pool().plan(sim.now()).reason);
}
