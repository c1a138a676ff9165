//! What the guide shows can be said.

use vpc_eni_aws::emulator::{Faults, WorldFile};
use vpc_ipam_core::time::Time;

const GUIDE: &str = include_str!("../../../docs/emulator.md");

fn toml_blocks() -> Vec<&'static str> {
    let rest = GUIDE.split("```toml\n").skip(1);
    rest.map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_files_in_the_guide_are_good() {
    let blocks = toml_blocks();
    let [world, faults] = blocks.as_slice() else { panic!("{} blocks", blocks.len()) };
    let world = WorldFile::parse("world", world).unwrap().build(Time::ZERO).unwrap();
    assert_eq!(world.enis().count(), 3);
    assert_ne!(Faults::parse("faults", faults).unwrap(), Faults::new());
}

#[test]
fn the_guide_names_every_action() {
    let named =
        |action: &&vpc_ipam_core::testkit::ec2::Ec2Action| GUIDE.contains(&format!("`{action}`"));
    let missing: Vec<_> =
        vpc_ipam_core::testkit::ec2::Ec2Action::ALL.iter().filter(|a| !named(a)).collect();
    assert!(missing.is_empty(), "docs/emulator.md does not mention {missing:?}");
}
