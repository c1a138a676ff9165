//! Leaked ENIs.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, sleep};
use vpc_eni_aws::UpkeepConfig;
use vpc_ipam_core::{
    cloud::CloudBackend as _,
    id::EniId,
    testkit::ec2::{CreateNetworkInterface, Ec2Action, Ec2Error},
};

use super::Region;
use crate::{
    in_process::in_virtual_time,
    support::{m5_large, one, secondary},
};

const INSTANCE: &str = "node.k8s.amazonaws.com/instance_id";
const CLUSTER: &str = "cluster.k8s.amazonaws.com/name";
const CREATED: &str = "node.k8s.amazonaws.com/createdAt";
const LONG_AGO: &str = "2020-01-01T00:00:00Z";

impl Region {
    /// An ENI that is attached to nothing.
    fn leak(&self, description: &str, tags: &[(&str, &str)]) -> EniId {
        let mut world = self.world();
        let request = CreateNetworkInterface {
            description: description.to_owned(),
            tags: tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..CreateNetworkInterface::new(world.subnets()[0].id.clone())
        };
        world.create_network_interface(&request, self.emulator.now()).unwrap().id
    }

    fn tags_of(&self, eni: &EniId) -> Option<BTreeMap<String, String>> {
        self.world().eni(eni).map(|eni| eni.tags.clone())
    }
}

#[test]
fn of_leaked_enis_the_old_are_deleted_the_unstamped_are_stamped_and_the_rest_is_left() {
    in_virtual_time(async {
        let region = Region::with(m5_large(), None, |config| config.cluster_name("blue"));
        let blue = [(INSTANCE, "i-0123"), (CLUSTER, "blue")];
        let leak = |description, born: Option<&str>| {
            let tags: Vec<_> = blue.into_iter().chain(born.map(|born| (CREATED, born))).collect();
            region.leak(description, &tags)
        };
        let ours = "aws-K8S-i-0123";
        let (old, unstamped) = (leak(ours, Some(LONG_AGO)), leak(ours, None));
        let (odd, foreign) = (leak(ours, Some("yesterday")), leak("mine", Some(LONG_AGO)));
        let green = [(INSTANCE, "i-0123"), (CLUSTER, "green"), (CREATED, LONG_AGO)];
        let green = region.leak(ours, &green);
        let untagged = region.leak(ours, &[]);
        // Attached, tagged and described as ours.
        let used = region.backend.create_eni(&secondary(1)).await.unwrap().id;

        let upkeep = region.backend.upkeep(UpkeepConfig::default());
        let swept = upkeep.sweep().await.unwrap();
        assert_eq!((swept.listed, swept.deleted, swept.stamped), (4, 1, 2));
        assert_eq!(region.tags_of(&old), None);
        for stamped in [&unstamped, &odd] {
            let tags = region.tags_of(stamped).unwrap();
            assert!(tags[CREATED].starts_with("20") && tags[CREATED] != LONG_AGO, "{tags:?}");
        }
        // Too young now; five minutes later they are not.
        assert_eq!(upkeep.sweep().await.unwrap().deleted, 0);
        sleep(Duration::from_secs(300)).await;
        assert_eq!(upkeep.sweep().await.unwrap().deleted, 2);
        for left in [&foreign, &green, &untagged, &used] {
            assert!(region.tags_of(left).is_some(), "{left}");
        }
    });
}

#[test]
fn what_another_node_was_quicker_to_delete_is_no_failure() {
    in_virtual_time(async {
        let region = Region::start(m5_large());
        let eni = region.leak("aws-K8S-i-1", &[(INSTANCE, "i-1"), (CREATED, LONG_AGO)]);
        let gone =
            Ec2Error::new("InvalidNetworkInterfaceID.NotFound", format!("{eni} does not exist"));
        region.world().faults_mut().fail(Ec2Action::DeleteNetworkInterface, gone, 1);
        let upkeep = region.backend.upkeep(UpkeepConfig::default());
        let swept = upkeep.sweep().await.unwrap();
        assert_eq!((swept.gone, swept.failed), (1, 0));
        assert!(upkeep.status().troubles.is_empty());
    });
}

#[test]
fn an_eni_that_ec2_lets_go_at_the_twelfth_try_is_deleted() {
    in_virtual_time(async {
        let region = Region::start(m5_large());
        region.leak("aws-K8S-i-1", &[(INSTANCE, "i-1"), (CREATED, LONG_AGO)]);
        let busy = Ec2Error::new("InvalidParameterValue", "The network interface is in use.");
        region.world().faults_mut().fail(Ec2Action::DeleteNetworkInterface, busy, 11);
        let upkeep = region.backend.upkeep(UpkeepConfig::default());
        assert_eq!(upkeep.sweep().await.unwrap().deleted, 1);
        assert_eq!(region.requests("DeleteNetworkInterface"), 12);
    });
}

#[test]
fn a_thousand_leaked_enis_cost_one_call_each_and_a_page() {
    in_virtual_time(async {
        let region = Region::start(one("m5.large", "10.0.0.0/20"));
        for n in 0..1200 {
            let description = if n % 6 == 0 { "mine" } else { "aws-K8S-i-1" };
            region.leak(description, &[(INSTANCE, "i-1"), (CREATED, LONG_AGO)]);
        }
        let upkeep = region.backend.upkeep(UpkeepConfig::default());
        let start = Instant::now();
        let swept = upkeep.sweep().await.unwrap();
        assert_eq!((swept.listed, swept.deleted, swept.left), (1200, 1000, 0));
        assert_eq!(region.requests("DescribeNetworkInterfaces"), 2);
        assert_eq!(region.requests("DeleteNetworkInterface"), 1000);
        // Half of what this node may send, a tenth of what the account may.
        assert!(start.elapsed() >= Duration::from_secs(1998), "{:?}", start.elapsed());
        assert_eq!(region.world().enis().count(), 201);
    });
}
