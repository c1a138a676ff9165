//! Features in a `CNINode`, the object by which a node tells the VPC resource controller what it wants.
//!
//! `CNINode` is of `vpcresources.k8s.aws/v1alpha1`, cluster scoped and named after the node. The
//! daemon reads `spec.features`, [merges](merge) what it [wants](Wishes::features), and patches the
//! object if that changed anything.

use serde::{Deserialize, Serialize};

use super::eni_config;
use crate::config::Family;

/// Feature by which the controller attaches a trunk; its value is empty.
pub const SECURITY_GROUPS_FOR_PODS: &str = "SecurityGroupsForPods";
/// Feature that names the node's `ENIConfig`.
pub const CUSTOM_NETWORKING: &str = "CustomNetworking";

/// An element of `spec.features`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Feature {
    /// Name; at most once per node.
    pub name: String,
    /// Value, often empty.
    pub value: String,
}

/// What decides which features a node wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wishes<'a> {
    /// `ENABLE_POD_ENI`.
    pub pod_eni: bool,
    /// Family of the node's pods.
    pub family: Family,
    /// A trunk is attached to card 0.
    pub trunk: bool,
    /// ENIs on card 0 that the pool has.
    pub enis: u32,
    /// ENIs on card 0 that are somebody else's.
    pub unmanaged: u32,
    /// ENIs that the node may have on card 0.
    pub max_enis: u32,
    /// Name of the node's [`ENIConfig`](eni_config), with custom networking on.
    pub eni_config: Option<&'a str>,
}

impl Wishes<'_> {
    /// Features to have now. To be asked at every turn until a trunk is there, since an ENI slot may
    /// become free.
    pub fn features(&self) -> Vec<Feature> {
        let mut features = Vec::new();
        if !self.pod_eni {
            return features;
        }
        if self.trunk_fits() {
            let name = SECURITY_GROUPS_FOR_PODS.to_owned();
            features.push(Feature { name, value: String::new() });
        }
        if let Some(config) = self.eni_config.filter(|name| *name != eni_config::DEFAULT_NAME) {
            let name = CUSTOM_NETWORKING.to_owned();
            features.push(Feature { name, value: config.to_owned() });
        }
        features
    }

    /// False if a trunk is wanted, is not there, and could not be attached: worth a warning. An IPv6
    /// node has one ENI for all pods, so there is always room.
    pub fn trunk_fits(&self) -> bool {
        let room = self.enis < self.max_enis.saturating_sub(self.unmanaged);
        self.trunk || room || self.family == Family::V6
    }
}

/// `features` with the `wanted` one in it, or `None` if it is there already and nothing needs to be
/// written. Another value of the same name is replaced in its place; other features stay as they are.
pub fn merge(features: &[Feature], wanted: &Feature) -> Option<Vec<Feature>> {
    if features.contains(wanted) {
        return None;
    }
    let mut merged = features.to_vec();
    match merged.iter_mut().find(|feature| feature.name == wanted.name) {
        Some(found) => found.value.clone_from(&wanted.value),
        None => merged.push(wanted.clone()),
    }
    // The same name twice is nobody's wish: what else it said is overruled as well.
    merged.retain(|feature| feature.name != wanted.name || feature == wanted);
    Some(merged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feature(name: &str, value: &str) -> Feature {
        Feature { name: name.to_owned(), value: value.to_owned() }
    }

    fn wishes() -> Wishes<'static> {
        Wishes {
            pod_eni: true,
            family: Family::V4,
            trunk: false,
            enis: 2,
            unmanaged: 0,
            max_enis: 3,
            eni_config: None,
        }
    }

    fn names(wishes: &Wishes<'_>) -> Vec<String> {
        wishes.features().into_iter().map(|f| f.name).collect()
    }

    #[test]
    fn a_pair_that_is_there_changes_nothing_another_value_is_replaced_and_the_rest_stays() {
        let (mine, other) = (feature(CUSTOM_NETWORKING, "blue"), feature("Else", "x"));
        assert_eq!(merge(&[other.clone(), mine.clone()], &mine), None);
        assert_eq!(merge(&[], &mine), Some(vec![mine.clone()]));
        let old = feature(CUSTOM_NETWORKING, "green");
        let merged = merge(&[old.clone(), other.clone(), old], &mine);
        assert_eq!(merged, Some(vec![mine.clone(), other.clone()]));
        let two = merge(std::slice::from_ref(&other), &mine).unwrap();
        assert_eq!(two, [other, mine]);
    }

    #[test]
    fn a_trunk_is_asked_for_while_one_fits() {
        assert_eq!(names(&wishes()), [SECURITY_GROUPS_FOR_PODS]);
        for full in [Wishes { enis: 3, ..wishes() }, Wishes { unmanaged: 1, ..wishes() }] {
            assert!(names(&full).is_empty() && !full.trunk_fits(), "{full:?}");
            // One that is there takes the last slot, and the wish for it must not go.
            assert_eq!(names(&Wishes { trunk: true, ..full }), [SECURITY_GROUPS_FOR_PODS]);
            assert_eq!(names(&Wishes { family: Family::V6, ..full }), [SECURITY_GROUPS_FOR_PODS]);
        }
        assert!(!Wishes { unmanaged: 9, ..wishes() }.trunk_fits());
        assert!(names(&Wishes { pod_eni: false, eni_config: Some("blue"), ..wishes() }).is_empty());
    }

    #[test]
    fn the_eni_config_is_named_unless_it_is_the_default() {
        let blue = Wishes { eni_config: Some("blue"), enis: 3, ..wishes() };
        assert_eq!(blue.features(), [feature(CUSTOM_NETWORKING, "blue")]);
        let plain = Wishes { eni_config: Some("default"), ..wishes() };
        assert_eq!(names(&plain), [SECURITY_GROUPS_FOR_PODS]);
    }

    #[test]
    fn features_are_read_and_written_as_the_object_has_them() {
        let text =
            r#"[{"name":"SecurityGroupsForPods"},{"name":"CustomNetworking","value":"blue"}]"#;
        let features: Vec<Feature> = serde_json::from_str(text).unwrap();
        assert_eq!(features[0], feature(SECURITY_GROUPS_FOR_PODS, ""));
        let written = serde_json::to_string(&features).unwrap();
        assert!(
            written.starts_with(r#"[{"name":"SecurityGroupsForPods","value":""}"#),
            "{written}"
        );
    }

    proptest! {
        #[test]
        fn after_a_merge_the_pair_is_there_once_and_others_are_as_they_were(
            features in prop::collection::vec(("[ab]{1}", "[xy]?"), 0..6),
            wanted in ("[abc]{1}", "[xy]?"),
        ) {
            let features: Vec<_> = features.iter().map(|(n, v)| feature(n, v)).collect();
            let wanted = feature(&wanted.0, &wanted.1);
            let others = |list: &[Feature]| -> Vec<Feature> {
                list.iter().filter(|f| f.name != wanted.name).cloned().collect()
            };
            match merge(&features, &wanted) {
                None => prop_assert!(features.contains(&wanted)),
                Some(merged) => {
                    prop_assert!(!features.contains(&wanted));
                    prop_assert_eq!(others(&merged), others(&features));
                    prop_assert_eq!(merged.iter().filter(|f| f.name == wanted.name).count(), 1);
                    prop_assert_eq!(merge(&merged, &wanted), None);
                }
            }
        }
    }
}
