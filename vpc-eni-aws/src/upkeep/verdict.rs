//! What becomes of an ENI that no instance holds.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use vpc_ipam_core::{
    class::{INSTANCE_TAG, NO_MANAGE_TAG},
    id::{EniId, VpcId},
};

use super::rfc3339;
use crate::{
    create::DESCRIPTION_PREFIX,
    tags::{CLUSTER_NAME, CREATED_AT},
};

/// Age from which an ENI that is attached to nothing has been forgotten. Attaching a new one takes
/// seconds; the reference's number.
const LEAKED_AGE_MIN: Duration = Duration::from_secs(5 * 60);
/// A stamp further in the future than this cannot be right: EC2 refuses requests of clocks that are more
/// than minutes off, so ours is not. Such an ENI would be young for ever.
const AHEAD_MAX: Duration = Duration::from_secs(60 * 60);

/// Keys of the tags that a verdict looks at: nothing else of an ENI's up to 50 tags is kept.
pub(crate) const TAGS_READ: [&str; 4] = [INSTANCE_TAG, NO_MANAGE_TAG, CLUSTER_NAME, CREATED_AT];

/// An ENI as the sweep is shown it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Unattached {
    pub(crate) id: EniId,
    pub(crate) description: String,
    /// Its status is `available`: no instance holds it.
    pub(crate) available: bool,
    /// Empty if EC2 did not say.
    pub(crate) vpc: String,
    /// Those of [`TAGS_READ`].
    pub(crate) tags: BTreeMap<String, String>,
}

/// Whose ENIs are swept: those of any node of the cluster, in this VPC.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Scope {
    pub(crate) vpc: VpcId,
    /// Without a name, any cluster's.
    pub(crate) cluster: Option<String>,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Verdict {
    /// Forgotten by the node that made it.
    Delete,
    /// Not ours, in use, or still young.
    Keep,
    /// Nobody knows its age: that is counted from now on.
    Stamp,
}

/// The verdict on `eni` at the time `now`.
///
/// EC2 was asked for ENIs of this kind only. That is not relied upon: what is deleted is gone, and not
/// every endpoint understands every filter.
pub(crate) fn verdict(eni: &Unattached, now: SystemTime, scope: &Scope) -> Verdict {
    let tag = |key: &str| eni.tags.get(key).map(String::as_str);
    let of_cluster = scope.cluster.is_none() || tag(CLUSTER_NAME) == scope.cluster.as_deref();
    let ours = eni.available
        && eni.vpc == scope.vpc.as_str()
        && eni.description.starts_with(DESCRIPTION_PREFIX)
        && tag(INSTANCE_TAG).is_some()
        && tag(NO_MANAGE_TAG) != Some("true")
        && of_cluster;
    if !ours {
        return Verdict::Keep;
    }
    let Some(born) = tag(CREATED_AT).and_then(rfc3339::parse) else { return Verdict::Stamp };
    match now.duration_since(born) {
        Ok(age) if age >= LEAKED_AGE_MIN => Verdict::Delete,
        Ok(_) => Verdict::Keep,
        Err(ahead) if ahead.duration() > AHEAD_MAX => Verdict::Stamp,
        Err(_) => Verdict::Keep,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::UNIX_EPOCH;

    use super::{Verdict::*, *};
    use crate::tags::rfc3339;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_503_900)
    }

    fn scope(cluster: Option<&str>) -> Scope {
        Scope { vpc: "vpc-1".parse().unwrap(), cluster: cluster.map(str::to_owned) }
    }

    /// An ENI of the cluster blue that is `age_s` old.
    fn leaked(age_s: u64) -> Unattached {
        let born = rfc3339(now() - Duration::from_secs(age_s));
        let tags = [(INSTANCE_TAG, "i-gone"), (CLUSTER_NAME, "blue"), (CREATED_AT, &born)];
        Unattached {
            id: "eni-1".parse().unwrap(),
            description: "aws-K8S-i-gone".to_owned(),
            available: true,
            vpc: "vpc-1".to_owned(),
            tags: tags.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        }
    }

    fn with_tag(key: &str, value: &str) -> Unattached {
        let mut eni = leaked(3600);
        eni.tags.insert(key.to_owned(), value.to_owned());
        eni
    }

    fn without_tag(key: &str) -> Unattached {
        let mut eni = leaked(3600);
        eni.tags.remove(key).unwrap();
        eni
    }

    #[test]
    fn each_rule_of_the_sweep_has_its_verdict() {
        let stamped = |text: &str| with_tag(CREATED_AT, text);
        let ahead = |s| stamped(&rfc3339(now() + Duration::from_secs(s)));
        let attached = Unattached { available: false, ..leaked(3600) };
        let elsewhere = Unattached { vpc: "vpc-2".to_owned(), ..leaked(3600) };
        let foreign = |text: &str| Unattached { description: text.to_owned(), ..leaked(3600) };
        for (what, eni, want) in [
            ("old", leaked(3600), Delete),
            ("just old enough", leaked(300), Delete),
            ("young", leaked(299), Keep),
            ("new", leaked(0), Keep),
            ("made by a clock that is ahead", ahead(60), Keep),
            ("young for ever", ahead(7200), Stamp),
            ("unstamped", without_tag(CREATED_AT), Stamp),
            ("with a stamp that is none", stamped("yesterday"), Stamp),
            ("with an empty stamp", stamped(""), Stamp),
            ("of a user", foreign("my ENI"), Keep),
            ("without description", foreign(""), Keep),
            ("nearly ours", foreign("aws-k8s-i-gone"), Keep),
            ("attached", attached, Keep),
            ("of another VPC", elsewhere, Keep),
            ("of another cluster", with_tag(CLUSTER_NAME, "green"), Keep),
            ("of no cluster", without_tag(CLUSTER_NAME), Keep),
            ("without the tag of a node", without_tag(INSTANCE_TAG), Keep),
            ("to be left alone", with_tag(NO_MANAGE_TAG, "true"), Keep),
            ("not to be left alone", with_tag(NO_MANAGE_TAG, "false"), Delete),
            // Any node of the cluster may.
            ("of another node", with_tag(INSTANCE_TAG, "i-2"), Delete),
        ] {
            assert_eq!(verdict(&eni, now(), &scope(Some("blue"))), want, "{what}: {eni:?}");
        }
        // Without a name, ENIs of all clusters are the same.
        assert_eq!(verdict(&with_tag(CLUSTER_NAME, "green"), now(), &scope(None)), Delete);
        assert_eq!(verdict(&without_tag(CLUSTER_NAME), now(), &scope(None)), Delete);
    }

    #[test]
    fn quirk_q3_a_stamp_that_does_not_parse_does_not_get_its_eni_deleted() {
        for text in ["2026-02-30T00:00:00Z", "1795503900", "Tue, 24 Nov 2026 07:05:00 GMT"] {
            let eni = with_tag(CREATED_AT, text);
            assert_eq!(verdict(&eni, now(), &scope(None)), Stamp, "{text}");
        }
    }
}
