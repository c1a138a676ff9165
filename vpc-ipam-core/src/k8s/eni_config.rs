//! Which `ENIConfig` a node uses: the object (`crd.k8s.amazonaws.com/v1alpha1`) that names the subnet and
//! the security groups of the ENIs of a node with custom networking.

use std::collections::BTreeMap;

/// Label that rules over everything else.
pub const EXTERNAL_LABEL: &str = "vpc.amazonaws.com/externalEniConfig";
/// Default of `ENI_CONFIG_ANNOTATION_DEF` and of `ENI_CONFIG_LABEL_DEF`.
pub const DEFAULT_KEY: &str = "k8s.amazonaws.com/eniConfig";
/// Object of a node that names none.
pub const DEFAULT_NAME: &str = "default";

/// Under which keys a node may name its `ENIConfig`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Keys {
    /// `ENI_CONFIG_ANNOTATION_DEF`.
    pub annotation: String,
    /// `ENI_CONFIG_LABEL_DEF`.
    pub label: String,
}

impl Default for Keys {
    fn default() -> Self {
        Self { annotation: DEFAULT_KEY.to_owned(), label: DEFAULT_KEY.to_owned() }
    }
}

/// Name of the `ENIConfig` of a node with these labels and annotations.
///
/// In order: the [external label](EXTERNAL_LABEL), the annotation, the label, [`DEFAULT_NAME`]. An
/// empty value counts as absent, since no object can have that name.
pub fn name<'a>(
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    keys: &Keys,
) -> &'a str {
    let choices =
        [labels.get(EXTERNAL_LABEL), annotations.get(&keys.annotation), labels.get(&keys.label)];
    let mut named = choices.into_iter().flatten().filter(|name| !name.is_empty());
    named.next().map_or(DEFAULT_NAME, String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_external_label_rules_then_annotation_then_label_then_default() {
        let keys = Keys { annotation: "a".to_owned(), label: "l".to_owned() };
        let (label, external) = (("l", "by-label"), (EXTERNAL_LABEL, "by-external"));
        let annotated = map(&[("a", "by-annotation")]);
        for (labels, annotations, expected) in [
            (map(&[label, external]), &annotated, "by-external"),
            (map(&[label]), &annotated, "by-annotation"),
            (map(&[label]), &map(&[]), "by-label"),
            (map(&[(EXTERNAL_LABEL, ""), label]), &map(&[("a", "")]), "by-label"),
            (map(&[("a", "wrong")]), &map(&[("l", "wrong")]), DEFAULT_NAME),
        ] {
            assert_eq!(name(&labels, annotations, &keys), expected);
        }
    }

    #[test]
    fn both_keys_have_the_same_default() {
        let one = map(&[(DEFAULT_KEY, "blue")]);
        assert_eq!(name(&one, &map(&[]), &Keys::default()), "blue");
        assert_eq!(name(&map(&[]), &one, &Keys::default()), "blue");
    }
}
