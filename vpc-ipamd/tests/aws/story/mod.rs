//! What a node's day costs in calls: it starts, 50 pods come at once, all go, and an hour passes. No
//! figure may rise; `docs/ec2-calls.md` has them beside the reference's.

mod figures;
mod reference;

use std::{collections::BTreeMap, time::Duration};

use tokio::time::sleep;
use vpc_ipam_core::testkit::ec2::WorldConfig;

use self::figures::{Figures, PHASES};
use crate::support::{Scene, in_virtual_time};

const PODS: u32 = 50;
/// Time after each phase until the next one begins: longer than anything that follows from it takes.
const AFTER_START: Duration = Duration::from_secs(30);
const AFTER_UP: Duration = Duration::from_secs(120);
const AFTER_DOWN: Duration = Duration::from_secs(300);
const IDLE: Duration = Duration::from_secs(3600);

/// A node that is configured in one way.
pub(crate) struct Story {
    pub(crate) name: &'static str,
    env: &'static [(&'static str, &'static str)],
    /// What the reference would call, by action and phase.
    pub(crate) reference: reference::Calls,
}

pub(crate) const STORIES: [Story; 4] = [
    Story {
        name: "secondary, WARM_ENI_TARGET=1",
        env: &[("WARM_IP_TARGET", "0")],
        reference: reference::SECONDARY_WARM_ENI,
    },
    Story {
        name: "secondary, WARM_IP_TARGET=2",
        env: &[("WARM_IP_TARGET", "2")],
        reference: reference::SECONDARY_WARM_IP,
    },
    Story {
        name: "prefix, WARM_PREFIX_TARGET=1",
        env: &[
            ("ENABLE_PREFIX_DELEGATION", "true"),
            ("WARM_IP_TARGET", "0"),
            ("WARM_PREFIX_TARGET", "1"),
        ],
        reference: reference::PREFIX_WARM_PREFIX,
    },
    Story {
        name: "prefix, WARM_IP_TARGET=2",
        env: &[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_IP_TARGET", "2")],
        reference: reference::PREFIX_WARM_IP,
    },
];

/// Calls so far: to EC2 by action, as EC2 counts them, and reads of metadata by value.
fn so_far(scene: &Scene) -> BTreeMap<String, u64> {
    let ec2: Vec<_> = scene.world().calls().iter().map(|(a, n)| (format!("EC2 {a}"), *n)).collect();
    let imds = scene.node().backend.call_counts().imds;
    let imds = imds.into_iter().map(|(value, count)| (format!("IMDS {value}"), count.requests));
    ec2.into_iter().chain(imds).collect()
}

async fn play(story: &Story, figures: &mut Figures) {
    let vpc = WorldConfig::new("10.0.0.0/16".parse().unwrap());
    let mut scene = Scene::on(vpc.subnet("10.0.0.0/22".parse().unwrap()), "m5.xlarge");
    for (name, value) in story.env {
        scene = scene.env(name, value);
    }
    let mut before = BTreeMap::new();
    for (phase, _) in PHASES.iter().enumerate() {
        match phase {
            0 => {
                scene.start();
                sleep(AFTER_START).await;
            }
            1 => {
                scene.serve(0..PODS).await;
                sleep(AFTER_UP).await;
            }
            2 => {
                scene.end(0..PODS).await;
                sleep(AFTER_DOWN).await;
            }
            _ => sleep(IDLE).await,
        }
        let now = so_far(&scene);
        for (what, n) in &now {
            let new = n - before.get(what).copied().unwrap_or_default();
            figures.set(story.name, what, phase, new);
        }
        before = now;
    }
    // What the buckets let through is what EC2 saw.
    let sent: u64 = scene.node().backend.pace().iter().map(|report| report.sent).sum();
    assert_eq!(sent, scene.world().calls().values().sum::<u64>());
    scene.stop().await;
}

#[test]
fn no_call_of_the_story_is_made_more_often_than_before() {
    let mut measured = Figures::default();
    for story in &STORIES {
        in_virtual_time(play(story, &mut measured));
    }
    measured.compare();
}
