//! Security groups.

use std::time::Duration;

use tokio::time::sleep;
use vpc_eni_aws::UpkeepConfig;
use vpc_ipam_core::{
    cloud::CloudBackend as _,
    id::{EniId, SecurityGroupId},
    testkit::ec2::{Ec2Action, Ec2Error, ModifyNetworkInterfaceAttribute},
};

use super::Region;
use crate::{
    in_process::in_virtual_time,
    support::{m5_large, secondary},
};

const MODIFY: &str = "ModifyNetworkInterfaceAttribute";

impl Region {
    fn new_group(&self, name: &str) -> SecurityGroupId {
        let mut world = self.world();
        let vpc = world.vpcs()[0].id.clone();
        world.add_security_group(&vpc, name).unwrap()
    }

    /// Somebody sets the groups of the primary ENI.
    fn set_primary_groups(&self, groups: &[SecurityGroupId]) {
        let (eni, groups) = (self.primary(), groups.to_vec());
        let change = ModifyNetworkInterfaceAttribute::Groups { eni, groups };
        let now = self.emulator.now();
        self.world().modify_network_interface_attribute(&change, now).unwrap();
    }

    fn groups_of(&self, eni: &EniId) -> Vec<SecurityGroupId> {
        self.world().eni(eni).unwrap().groups.clone()
    }
}

fn only_groups() -> UpkeepConfig {
    let mut config = UpkeepConfig::default();
    config.leaked_enis = false;
    config
}

#[test]
fn a_change_on_the_primary_eni_is_pushed_within_half_a_minute() {
    in_virtual_time(async {
        let region = Region::start(m5_large());
        let eni = region.backend.create_eni(&secondary(1)).await.unwrap().id;
        let upkeep = region.backend.upkeep(only_groups());
        let running = tokio::spawn(upkeep.clone().run());
        region.backend.describe().await.unwrap();
        sleep(Duration::from_secs(100)).await;
        // It was made with the right ones; only that it goes with the instance had to be set.
        assert_eq!(region.requests(MODIFY), 1);
        assert_eq!(upkeep.status().group_pushes, 0);

        let (one, other) = (region.new_group("one"), region.new_group("other"));
        region.set_primary_groups(&[other.clone(), one.clone()]);
        // Metadata shows it five seconds later.
        sleep(Duration::from_secs(36)).await;
        let mut sorted = vec![one, other];
        sorted.sort();
        assert_eq!(region.groups_of(&eni), sorted);
        assert_eq!(region.requests(MODIFY), 2);

        let calls = region.backend.call_counts().ec2_requests();
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(region.backend.call_counts().ec2_requests(), calls, "an idle hour costs calls");
        running.abort();
    });
}

#[test]
fn a_group_that_is_deleted_is_a_trouble_and_not_a_missing_eni() {
    in_virtual_time(async {
        let region = Region::start(m5_large());
        region.backend.create_eni(&secondary(1)).await.unwrap();
        region.backend.describe().await.unwrap();
        let new = region.new_group("new");
        region.set_primary_groups(&[new]);
        sleep(Duration::from_secs(6)).await;
        let gone =
            Ec2Error::new("InvalidGroup.NotFound", "The security group 'sg-9' does not exist");
        region.world().faults_mut().fail(Ec2Action::ModifyNetworkInterfaceAttribute, gone, 1);
        let upkeep = region.backend.upkeep(only_groups());
        let result = upkeep.sync_security_groups().await.unwrap();
        assert_eq!((result.pushed, result.failed), (0, 1));
        let trouble = upkeep.status().troubles["security_groups"].clone();
        assert!(trouble.contains("InvalidGroup.NotFound"), "{trouble}");
        assert_eq!(upkeep.sync_security_groups().await.unwrap().pushed, 1);
        assert!(upkeep.status().troubles.is_empty());
    });
}

#[test]
fn without_metadata_no_group_is_pushed_and_that_is_said() {
    in_virtual_time(async {
        let region = Region::start(m5_large());
        region.backend.create_eni(&secondary(1)).await.unwrap();
        region.backend.describe().await.unwrap();
        let instance = region.world().instances()[0].id.clone();
        let fault = vpc_ipam_core::testkit::ec2::ImdsFault::Status(500);
        let now = region.emulator.now();
        region.world().break_imds(&instance, fault, now);
        let upkeep = region.backend.upkeep(only_groups());
        let running = tokio::spawn(upkeep.clone().run());
        sleep(Duration::from_secs(90)).await;
        assert!(upkeep.status().troubles.contains_key("security_groups"));
        region.world().heal_imds(&instance);
        sleep(Duration::from_secs(60)).await;
        assert!(upkeep.status().troubles.is_empty());
        assert_eq!(region.requests(MODIFY), 1);
        running.abort();
    });
}
