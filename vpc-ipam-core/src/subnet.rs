//! Which subnets pods may be in, by the tags of the subnet.
//!
//! Pure rules for a backend to apply to what `DescribeSubnets` says.

use std::collections::BTreeMap;

/// Tag that admits a subnet for pods, or with the value `0` excludes it.
pub const ROLE_TAG: &str = "kubernetes.io/role/cni";
/// Tags that reserve a subnet for clusters: this, followed by a cluster's name.
pub const CLUSTER_TAG_PREFIX: &str = "cni.networking.k8s.aws/cluster/";

/// What the role tag of a subnet says.
enum Role {
    Admitted,
    Excluded,
    /// No tag, or one without a value.
    Unsaid,
}

fn role(tags: &BTreeMap<String, String>) -> Role {
    match tags.get(ROLE_TAG).map_or("", String::as_str) {
        "" => Role::Unsaid,
        "0" => Role::Excluded,
        _ => Role::Admitted,
    }
}

/// True unless the subnet is reserved for other clusters. Without a name every cluster is ours.
fn is_for_cluster(tags: &BTreeMap<String, String>, cluster: Option<&str>) -> bool {
    let Some(cluster) = cluster.filter(|name| !name.is_empty()) else { return true };
    let mut reserved =
        tags.keys().filter_map(|key| key.strip_prefix(CLUSTER_TAG_PREFIX)).peekable();
    reserved.peek().is_none() || reserved.any(|name| name == cluster)
}

/// Whether new ENIs for pods may be made in a subnet with these tags. `primary`: it is the subnet of
/// the node's primary ENI, which need not be tagged.
pub fn admits_new_enis(
    tags: &BTreeMap<String, String>,
    primary: bool,
    cluster: Option<&str>,
) -> bool {
    match role(tags) {
        Role::Admitted => is_for_cluster(tags, cluster),
        Role::Excluded => false,
        Role::Unsaid => primary,
    }
}

/// Whether the ENIs in a subnet with these tags are [excluded](crate::cloud::CloudEni::excluded) for
/// pods. A subnet that cannot be found, as one of another account, has no tags: it is not.
pub fn is_excluded(tags: &BTreeMap<String, String>, cluster: Option<&str>) -> bool {
    match role(tags) {
        Role::Admitted => !is_for_cluster(tags, cluster),
        Role::Excluded => true,
        Role::Unsaid => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_both_rules() {
        const OURS: &str = "cni.networking.k8s.aws/cluster/ours";
        const THEIRS: &str = "cni.networking.k8s.aws/cluster/theirs";
        const LONGER: &str = "cni.networking.k8s.aws/cluster/ours-too";
        let none: Option<&str> = None;
        // Role tag, cluster tags, cluster name; new ENIs in the primary subnet, in another; excluded.
        type Row<'a> = (Option<&'a str>, &'a [&'a str], Option<&'a str>, bool, bool, bool);
        let table: [Row<'_>; 17] = [
            (Some("0"), &[], none, false, false, true),
            (Some("0"), &[OURS], Some("ours"), false, false, true),
            (None, &[], none, true, false, false),
            (None, &[THEIRS], Some("ours"), true, false, false),
            (Some(""), &[], none, true, false, false),
            (Some(""), &[THEIRS], Some("ours"), true, false, false),
            (Some("1"), &[], none, true, true, false),
            (Some("1"), &[], Some("ours"), true, true, false),
            (Some("1"), &[THEIRS], none, true, true, false),
            (Some("1"), &[THEIRS], Some(""), true, true, false),
            (Some("1"), &[THEIRS], Some("ours"), false, false, true),
            (Some("1"), &[OURS], Some("ours"), true, true, false),
            (Some("1"), &[OURS, THEIRS], Some("ours"), true, true, false),
            (Some("1"), &[THEIRS, OURS], Some("theirs"), true, true, false),
            (Some("1"), &[LONGER], Some("ours"), false, false, true),
            (Some("yes"), &[OURS], Some("ours"), true, true, false),
            (Some("00"), &[], none, true, true, false),
        ];
        for (role, clusters, cluster, primary, other, excluded) in table {
            let mut tags: BTreeMap<String, String> =
                clusters.iter().map(|key| ((*key).to_owned(), "1".to_owned())).collect();
            tags.extend(role.map(|value| (ROLE_TAG.to_owned(), value.to_owned())));
            let case = format!("{role:?} {clusters:?} {cluster:?}");
            assert_eq!(admits_new_enis(&tags, true, cluster), primary, "{case}");
            assert_eq!(admits_new_enis(&tags, false, cluster), other, "{case}");
            assert_eq!(is_excluded(&tags, cluster), excluded, "{case}");
        }
    }
}
