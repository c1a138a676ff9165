//! `CNI_ARGS`: which pod a sandbox belongs to.

use thiserror::Error;

use super::{CniError, Code};

/// Why `CNI_ARGS` cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ArgsError {
    /// A pair is not `KEY=VALUE`.
    #[error("CNI_ARGS has the pair {0:?}, which is not KEY=VALUE")]
    NotAPair(String),
    /// A key that this plugin does not know, and nothing allows ignoring it.
    #[error("CNI_ARGS has the unknown key {0:?}; add IgnoreUnknown=1 to have such keys ignored")]
    UnknownKey(String),
    /// `IgnoreUnknown` is neither true nor false.
    #[error("CNI_ARGS has IgnoreUnknown={0:?}, expected 1, true, 0 or false")]
    NotABool(String),
}

impl From<ArgsError> for CniError {
    fn from(e: ArgsError) -> Self {
        Self::new(Code::InvalidEnvironment, e.to_string(), "")
    }
}

/// What a Kubernetes runtime says of the pod. All fields may be empty.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PodArgs {
    /// `K8S_POD_NAME`
    pub pod_name: String,
    /// `K8S_POD_NAMESPACE`
    pub pod_namespace: String,
    /// `K8S_POD_INFRA_CONTAINER_ID`
    pub infra_container_id: String,
    /// `K8S_POD_UID`
    pub pod_uid: String,
}

/// Longest part of the offending text that an error repeats.
const QUOTED_CHARS_MAX: usize = 64;

impl PodArgs {
    /// Parses `K=V;K=V`; the empty text is fine. A repeated key keeps its last value.
    ///
    /// # Errors
    ///
    /// If a pair has not exactly one `=`, or a key is unknown and `IgnoreUnknown` is not true.
    pub fn parse(text: &str) -> Result<Self, ArgsError> {
        let mut args = Self::default();
        let (mut ignore_unknown, mut unknown) = (false, None);
        for pair in text.split(';').filter(|_| !text.is_empty()) {
            let (key, value) = match pair.split_once('=') {
                Some((key, value)) if !value.contains('=') => (key, value),
                _ => return Err(ArgsError::NotAPair(quoted(pair))),
            };
            match key {
                "K8S_POD_NAME" => args.pod_name = value.to_owned(),
                "K8S_POD_NAMESPACE" => args.pod_namespace = value.to_owned(),
                "K8S_POD_INFRA_CONTAINER_ID" => args.infra_container_id = value.to_owned(),
                "K8S_POD_UID" => args.pod_uid = value.to_owned(),
                "IgnoreUnknown" => ignore_unknown = parse_bool(value)?,
                other => {
                    unknown.get_or_insert_with(|| quoted(other));
                }
            }
        }
        match unknown {
            Some(key) if !ignore_unknown => Err(ArgsError::UnknownKey(key)),
            _ => Ok(args),
        }
    }
}

fn parse_bool(text: &str) -> Result<bool, ArgsError> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(ArgsError::NotABool(quoted(text))),
    }
}

fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_runtime_s_arguments() {
        let args = PodArgs::parse(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-0;\
             K8S_POD_INFRA_CONTAINER_ID=0123;K8S_POD_UID=u-1;SOMETHING=else",
        )
        .unwrap();
        assert_eq!(args.pod_namespace, "shop");
        assert_eq!(args.pod_name, "cart-0");
        assert_eq!(args.infra_container_id, "0123");
        assert_eq!(args.pod_uid, "u-1");
    }

    #[test]
    fn nothing_is_fine() {
        assert_eq!(PodArgs::parse("").unwrap(), PodArgs::default());
        assert_eq!(PodArgs::parse("K8S_POD_NAME=").unwrap(), PodArgs::default());
    }

    #[test]
    fn unknown_keys_need_permission_wherever_it_stands() {
        assert_eq!(PodArgs::parse("A=1"), Err(ArgsError::UnknownKey("A".into())));
        assert_eq!(PodArgs::parse("A=1;IgnoreUnknown=0"), Err(ArgsError::UnknownKey("A".into())));
        assert!(PodArgs::parse("A=1;IgnoreUnknown=TRUE").is_ok());
        assert!(PodArgs::parse("IgnoreUnknown=true;A=1").is_ok());
        assert_eq!(PodArgs::parse("IgnoreUnknown=yes"), Err(ArgsError::NotABool("yes".into())));
    }

    #[test]
    fn a_pair_has_exactly_one_equals_sign() {
        for bad in ["A", ";", "K8S_POD_NAME=a;", "K8S_POD_NAME=a=b", "IgnoreUnknown=1;B"] {
            assert!(matches!(PodArgs::parse(bad), Err(ArgsError::NotAPair(_))), "{bad:?}");
        }
    }
}
