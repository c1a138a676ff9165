//! What could never work is refused before the first request.

use super::{AwsConfig, AwsConfigError};

/// Tags that EC2 lets an ENI have.
const TAGS_MAX: usize = 50;
/// Longest tag key, in characters, that EC2 accepts.
const TAG_KEY_LEN_MAX: usize = 128;
/// Longest tag value, in characters, that EC2 accepts.
const TAG_VALUE_LEN_MAX: usize = 256;

impl AwsConfig {
    pub(super) fn validate(&self) -> Result<(), AwsConfigError> {
        for (what, url) in [("EC2", &self.ec2_endpoint), ("IMDS", &self.imds_endpoint)] {
            if let Some(url) = url {
                validate_endpoint(what, url)?;
            }
        }
        if let Some(region) = &self.region {
            validate_region(region)?;
        }
        if self.http_timeout.is_zero() {
            return Err(AwsConfigError::Timeout);
        }
        self.validate_tags()
    }

    fn validate_tags(&self) -> Result<(), AwsConfigError> {
        let bad = |key: &str, why| Err(AwsConfigError::Tag { key: key.to_owned(), why });
        // Ours are at most four.
        if self.extra_tags.len() > TAGS_MAX - crate::tags::OWN_TAGS_MAX {
            return bad("*", "an ENI can have 50 tags and four of them are ours");
        }
        let cluster = self.cluster_name.iter().map(|v| (crate::tags::CLUSTER_NAME, v.as_str()));
        let extra = self.extra_tags.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        for (key, value) in cluster.chain(extra) {
            if key.is_empty() {
                return bad(key, "the key is empty");
            }
            if key.chars().count() > TAG_KEY_LEN_MAX {
                return bad(key, "the key is longer than 128 characters");
            }
            if key.to_ascii_lowercase().starts_with("aws:") {
                return bad(key, "keys beginning with aws: belong to AWS");
            }
            if value.chars().count() > TAG_VALUE_LEN_MAX {
                return bad(key, "the value is longer than 256 characters");
            }
        }
        Ok(())
    }
}

pub(crate) fn validate_region(region: &str) -> Result<(), AwsConfigError> {
    // The region becomes part of a host name.
    let ok = (1..=64).contains(&region.len())
        && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !region.starts_with('-')
        && !region.ends_with('-');
    if ok {
        Ok(())
    } else {
        Err(AwsConfigError::Region { region: region.chars().take(64).collect() })
    }
}

fn validate_endpoint(what: &'static str, url: &str) -> Result<(), AwsConfigError> {
    let bad = |why: &str| {
        Err(AwsConfigError::Endpoint {
            what,
            url: url.chars().take(256).collect(),
            why: why.into(),
        })
    };
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return bad("it does not begin with http:// or https://");
    };
    if !rest.bytes().all(|b| b.is_ascii_graphic()) {
        return bad("it contains white space or characters outside ASCII");
    }
    match rest.split('/').next() {
        None | Some("") => bad("the host is missing"),
        Some(_) => Ok(()),
    }
}
