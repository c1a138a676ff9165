//! Whose an ENI is, and what the pool may do with it.

use crate::{
    cloud::{CloudEni, EniKind},
    config::{CustomNetwork, PoolConfig},
    id::InstanceId,
};

/// Tag of ENIs that are somebody else's, if its value is exactly `true`.
pub const NO_MANAGE_TAG: &str = "node.k8s.amazonaws.com/no_manage";
/// Tag of ENIs that a node's daemon has made for itself: the id of the instance.
pub const INSTANCE_TAG: &str = "node.k8s.amazonaws.com/instance_id";

/// What the pool does with an ENI that it holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Standing {
    /// Pods get its addresses, and it gets more.
    #[default]
    Active,
    /// Somebody else's by now. Its pods keep their addresses, nobody gets another one, and nothing
    /// on it is changed in the cloud.
    Disowned,
    /// Its pods keep their addresses, nobody gets another one. What no pod uses goes back to EC2.
    Retired(Retirement),
    /// The trunk that carries branch ENIs. Pods get addresses that others have put on it; the pool
    /// puts none there, takes none away and never frees it.
    Trunk,
}

/// Why an ENI serves no new pods.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Retirement {
    /// Custom networking puts pods into another subnet than the primary ENI's.
    CustomNetwork,
    /// Its subnet is excluded for pods.
    ExcludedSubnet,
}

impl Standing {
    /// New pods get its addresses.
    pub fn serves(self) -> bool {
        matches!(self, Self::Active | Self::Trunk)
    }

    /// It may be given addresses.
    pub fn grows(self) -> bool {
        self == Self::Active
    }

    /// Its idle addresses may be given back.
    pub fn shrinks(self) -> bool {
        matches!(self, Self::Active | Self::Retired(_))
    }
}

/// What decides the standing of an ENI, besides the settings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Traits {
    pub(crate) kind: EniKind,
    pub(crate) primary: bool,
    /// Its subnet is excluded for pods.
    pub(crate) excluded: bool,
    /// EC2 has shown that it is somebody else's.
    pub(crate) disowned: bool,
}

impl Traits {
    pub(crate) fn standing(self, config: &PoolConfig) -> Standing {
        match self {
            Self { disowned: true, .. } => Standing::Disowned,
            Self { kind: EniKind::Trunk, .. } => Standing::Trunk,
            Self { excluded: true, .. } => Standing::Retired(Retirement::ExcludedSubnet),
            Self { primary: true, .. } if config.custom_network != CustomNetwork::Off => {
                Standing::Retired(Retirement::CustomNetwork)
            }
            _ => Standing::Active,
        }
    }

    /// True if the pool may delete it when it has no pods.
    pub(crate) fn freeable(self) -> bool {
        !self.primary && self.kind == EniKind::Interface && !self.disowned
    }
}

/// Whether an ENI that EC2 shows is the pool's to use: [`is_ours`] as the pool is configured.
pub fn is_managed(eni: &CloudEni, config: &PoolConfig) -> bool {
    is_ours(eni, config.instance.as_ref(), config.manage_untagged)
}

/// Whether an ENI that EC2 shows on `instance` is ours, with or without a pool. The order of the rules is
/// the reference's.
///
/// A trunk without any of these tags is the trunk nevertheless: who attaches it does not tag it for us.
pub fn is_ours(eni: &CloudEni, instance: Option<&InstanceId>, manage_untagged: bool) -> bool {
    let tag = eni.tags.get(INSTANCE_TAG);
    let tagged = tag.zip(instance).is_some_and(|(tag, instance)| tag == instance.as_str());
    let ours = match eni.tags.get(NO_MANAGE_TAG) {
        Some(value) => value != "true",
        None => manage_untagged || eni.kind == EniKind::Trunk || tagged,
    };
    ours || eni.primary
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::{AllocationMode, WarmTargets};

    fn config(manage_untagged: bool) -> PoolConfig {
        let targets = WarmTargets::default();
        let mut config = PoolConfig::new(AllocationMode::Secondary, targets, 3, 9).unwrap();
        config.instance = Some("i-1".parse().unwrap());
        config.manage_untagged = manage_untagged;
        config
    }

    fn eni(tags: &[(&str, &str)]) -> CloudEni {
        let tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        CloudEni { tags, ..CloudEni::example() }
    }

    #[test]
    fn the_tag_rules_hold_in_their_order() {
        let (own, other) = ((INSTANCE_TAG, "i-1"), (INSTANCE_TAG, "i-2"));
        let foreign = (NO_MANAGE_TAG, "true");
        // Tags, managed if untagged ENIs are, managed if not.
        type Row<'a> = (&'a [(&'a str, &'a str)], bool, bool);
        let table: [Row<'_>; 9] = [
            (&[], true, false),
            (&[("Name", "x")], true, false),
            (&[own], true, true),
            (&[other], true, false),
            (&[foreign], false, false),
            (&[foreign, own], false, false),
            (&[(NO_MANAGE_TAG, "false")], true, true),
            (&[(NO_MANAGE_TAG, "True")], true, true),
            (&[(NO_MANAGE_TAG, ""), other], true, true),
        ];
        for (tags, untagged, strict) in table {
            assert_eq!(is_managed(&eni(tags), &config(true)), untagged, "{tags:?}");
            assert_eq!(is_managed(&eni(tags), &config(false)), strict, "{tags:?}");
            let primary = CloudEni { primary: true, ..eni(tags) };
            assert!(is_managed(&primary, &config(false)), "primary with {tags:?}");
            let trunk = CloudEni { kind: EniKind::Trunk, ..eni(tags) };
            let theirs = tags.contains(&foreign);
            assert_eq!(is_managed(&trunk, &config(false)), !theirs, "trunk with {tags:?}");
        }
        let mut nobody = config(false);
        nobody.instance = None;
        assert!(!is_managed(&eni(&[own]), &nobody));
    }

    #[test]
    fn what_is_known_of_an_eni_decides_its_standing() {
        let plain =
            Traits { kind: EniKind::Interface, primary: false, excluded: false, disowned: false };
        let mut custom = config(true);
        custom.custom_network = CustomNetwork::Missing { name: "az".to_owned() };
        let excluded = Standing::Retired(Retirement::ExcludedSubnet);
        // Traits, standing, standing under custom networking, freeable.
        let primary = Traits { primary: true, ..plain };
        let retired = Standing::Retired(Retirement::CustomNetwork);
        let efa = Traits { kind: EniKind::Efa, ..plain };
        let trunk = Traits { kind: EniKind::Trunk, ..plain };
        for (traits, standing, customised, freeable) in [
            (plain, Standing::Active, Standing::Active, true),
            (primary, Standing::Active, retired, false),
            (efa, Standing::Active, Standing::Active, false),
            (trunk, Standing::Trunk, Standing::Trunk, false),
            (Traits { excluded: true, ..plain }, excluded, excluded, true),
            (Traits { excluded: true, ..primary }, excluded, excluded, false),
            (Traits { excluded: true, ..efa }, excluded, excluded, false),
            (Traits { excluded: true, ..trunk }, Standing::Trunk, Standing::Trunk, false),
            (Traits { disowned: true, ..plain }, Standing::Disowned, Standing::Disowned, false),
            (Traits { disowned: true, ..trunk }, Standing::Disowned, Standing::Disowned, false),
        ] {
            assert_eq!(traits.standing(&config(true)), standing, "{traits:?}");
            assert_eq!(traits.standing(&custom), customised, "{traits:?}");
            assert_eq!(traits.freeable(), freeable, "{traits:?}");
        }
    }
}
