//! Tags that mark an ENI as ours.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use vpc_ipam_core::id::InstanceId;

use crate::config::AwsConfig;

/// Instance that an ENI was made for; marks it as made by this system.
pub(crate) const INSTANCE_ID: &str = "node.k8s.amazonaws.com/instance_id";
/// When the ENI was made, RFC 3339. The collector of leaked ENIs leaves young ones alone.
pub(crate) const CREATED_AT: &str = "node.k8s.amazonaws.com/createdAt";
/// Name of the cluster.
pub(crate) const CLUSTER_NAME: &str = "cluster.k8s.amazonaws.com/name";
/// Who owns the ENI; EKS looks for it.
const OWNER: &str = "eks:eni:owner";
/// Value of [`OWNER`].
const OWNER_VALUE: &str = "amazon-vpc-cni";
/// User tags with this in their key are dropped: they could disguise whose ENI it is.
pub(crate) const RESERVED: &str = "k8s.amazonaws.com";
/// How many of the above an ENI can have.
pub(crate) const OWN_TAGS_MAX: usize = 4;

/// Tags of an ENI that is about to be created; user tags win where they may.
pub(crate) fn for_new_eni(
    config: &AwsConfig,
    instance: &InstanceId,
    now: SystemTime,
) -> BTreeMap<String, String> {
    let mut tags = of_our_enis(config, instance);
    tags.insert(CREATED_AT.to_owned(), rfc3339(now));
    tags
}

/// The same for one that is there already: nobody knows when it was made.
pub(crate) fn of_our_enis(config: &AwsConfig, instance: &InstanceId) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([(INSTANCE_ID.to_owned(), instance.to_string())]);
    if let Some(name) = &config.cluster_name {
        tags.insert(CLUSTER_NAME.to_owned(), name.clone());
        tags.insert(OWNER.to_owned(), OWNER_VALUE.to_owned());
    }
    tags.extend(config.extra_tags.iter().map(|(k, v)| (k.clone(), v.clone())));
    tags
}

/// Whole seconds in UTC, for example `2026-11-24T07:05:00Z`.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let secs = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, in_day) = (secs / 86_400, secs % 86_400);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Gregorian date of a day counted from 1970-01-01: Howard Hinnant's `civil_from_days`, for dates
/// that cannot be negative.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the leap day is the last one.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(secs)
    }

    #[test]
    fn dates_are_right_around_leap_days() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_764_547_199, "2025-11-30T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(at(secs)), text);
        }
    }

    #[test]
    fn cluster_tags_come_with_a_cluster_name_only() {
        let instance = InstanceId::new("i-1").unwrap();
        let plain = AwsConfig::builder().build().unwrap();
        let tags = for_new_eni(&plain, &instance, at(0));
        assert_eq!(tags.keys().collect::<Vec<_>>(), [CREATED_AT, INSTANCE_ID]);

        let extra = BTreeMap::from([(OWNER.to_owned(), "me".to_owned())]);
        let named = AwsConfig::builder().cluster_name("blue").extra_tags(extra).build().unwrap();
        let tags = for_new_eni(&named, &instance, at(0));
        assert_eq!(tags.get(CLUSTER_NAME).map(String::as_str), Some("blue"));
        assert_eq!(tags.get(OWNER).map(String::as_str), Some("me"));
        assert_eq!(tags.len(), OWN_TAGS_MAX);
    }
}
