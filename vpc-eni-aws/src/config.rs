//! What the backend is told. Nothing below reads the environment, except the SDK's own chains for
//! credentials, certificates and profiles.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use thiserror::Error;
use vpc_ipam_core::config::Family;

use crate::sdk::Transport;

/// Longest time one HTTP request may take, unless configured. The reference's default; EC2 answers
/// mutations within a few seconds.
pub const HTTP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Attempts per EC2 call that the SDK makes on its own, the first included. The reference's number.
pub(crate) const SDK_ATTEMPTS: u32 = 3;

/// Name under which requests are seen in CloudTrail; dashboards look for the reference's.
pub(crate) const USER_AGENT_NAME: &str = "amazon-vpc-cni-k8s";

/// Longest version sent. Releases have names of some ten characters.
const VERSION_LEN_MAX: usize = 64;

/// Tags that EC2 lets an ENI have.
const TAGS_MAX: usize = 50;
/// Longest tag key, in characters, that EC2 accepts.
const TAG_KEY_LEN_MAX: usize = 128;
/// Longest tag value, in characters, that EC2 accepts.
const TAG_VALUE_LEN_MAX: usize = 256;

/// Why a configuration is refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum AwsConfigError {
    /// An endpoint that no request could be sent to.
    #[error(
        "{what} endpoint {url:?} is not usable: {why}; write it as http://HOST:PORT or https://HOST"
    )]
    Endpoint {
        /// `EC2` or `IMDS`.
        what: &'static str,
        /// The offending text.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A region that is no region.
    #[error("region {region:?} is malformed; it should look like us-west-2")]
    Region {
        /// The offending text.
        region: String,
    },
    /// A tag that EC2 would refuse, which would make every ENI creation fail.
    #[error("ENI tag {key:?} is not usable: {why}; correct ADDITIONAL_ENI_TAGS or CLUSTER_NAME")]
    Tag {
        /// The tag's key.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No time to answer at all.
    #[error("an HTTP timeout of 0 s lets no request succeed; use at least 1 s")]
    Timeout,
}

/// Where credentials come from.
#[derive(Clone, Default)]
pub(crate) enum CredentialSource {
    /// The SDK's chain: environment, web identity, container, instance metadata.
    #[default]
    DefaultChain,
    /// A fixed key pair.
    Static {
        /// Access key id.
        access_key_id: String,
        /// Secret access key.
        secret_access_key: String,
    },
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefaultChain => f.write_str("DefaultChain"),
            Self::Static { access_key_id, .. } => f
                .debug_struct("Static")
                .field("access_key_id", access_key_id)
                .finish_non_exhaustive(),
        }
    }
}

/// Configuration of an [`AwsBackend`](crate::AwsBackend); made by [`AwsConfig::builder`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AwsConfig {
    /// URL of EC2; `None` is the region's own.
    pub ec2_endpoint: Option<String>,
    /// URL of the instance metadata service; `None` is what the SDK's settings say, usually
    /// `http://169.254.169.254`.
    pub imds_endpoint: Option<String>,
    /// Region; `None` is the one in the instance identity document.
    pub region: Option<String>,
    /// Longest time one HTTP request may take.
    pub http_timeout: Duration,
    /// Cluster that this node belongs to; tags its ENIs.
    pub cluster_name: Option<String>,
    /// Tags that each new ENI gets besides our own.
    pub extra_tags: BTreeMap<String, String>,
    /// Family of the pods: which of an ENI's own addresses and of its subnet's blocks views name.
    pub family: Family,
    /// Choose among all subnets of the zone that are tagged for pods, and leave ENIs in subnets excluded
    /// by their tags to the pods they have.
    pub subnet_discovery: bool,
    /// Version sent with each EC2 request.
    pub version: Option<String>,
    pub(crate) credentials: CredentialSource,
    pub(crate) transport: Option<Transport>,
}

impl AwsConfig {
    /// Starts from the defaults, which suit a node in a real cluster.
    pub fn builder() -> AwsConfigBuilder {
        AwsConfigBuilder {
            config: Self {
                ec2_endpoint: None,
                imds_endpoint: None,
                region: None,
                http_timeout: HTTP_TIMEOUT_DEFAULT,
                cluster_name: None,
                extra_tags: BTreeMap::new(),
                family: Family::V4,
                subnet_discovery: true,
                version: None,
                credentials: CredentialSource::DefaultChain,
                transport: None,
            },
        }
    }

    /// The time that others see too, for stamps.
    pub(crate) fn now(&self) -> SystemTime {
        self.transport.as_ref().map_or_else(SystemTime::now, |transport| (transport.now)())
    }

    fn validate(&self) -> Result<(), AwsConfigError> {
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

/// Builds an [`AwsConfig`]; empty texts count as not given.
#[derive(Clone, Debug)]
pub struct AwsConfigBuilder {
    config: AwsConfig,
}

impl AwsConfigBuilder {
    /// URL of EC2 (`AWS_EC2_ENDPOINT`).
    #[must_use]
    pub fn ec2_endpoint(mut self, url: impl Into<String>) -> Self {
        self.config.ec2_endpoint = non_empty(url);
        self
    }

    /// URL of the instance metadata service.
    #[must_use]
    pub fn imds_endpoint(mut self, url: impl Into<String>) -> Self {
        self.config.imds_endpoint = non_empty(url);
        self
    }

    /// Region; saves reading the instance identity document.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.config.region = non_empty(region);
        self
    }

    /// Longest time one HTTP request may take (`HTTP_TIMEOUT`).
    #[must_use]
    pub fn http_timeout(mut self, timeout: Duration) -> Self {
        self.config.http_timeout = timeout;
        self
    }

    /// Cluster that this node belongs to (`CLUSTER_NAME`).
    #[must_use]
    pub fn cluster_name(mut self, name: impl Into<String>) -> Self {
        self.config.cluster_name = non_empty(name);
        self
    }

    /// Further tags for new ENIs (`ADDITIONAL_ENI_TAGS`). Keys that contain `k8s.amazonaws.com` are
    /// reserved and dropped.
    #[must_use]
    pub fn extra_tags(mut self, tags: BTreeMap<String, String>) -> Self {
        self.config.extra_tags =
            tags.into_iter().filter(|(key, _)| !key.contains(crate::tags::RESERVED)).collect();
        self
    }

    /// Family of the pods (`ENABLE_IPv6`).
    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.config.family = family;
        self
    }

    /// Whether new ENIs may go into other subnets than the node's own (`ENABLE_SUBNET_DISCOVERY`, on unless
    /// said otherwise): those of the zone whose tag `kubernetes.io/role/cni` admits them, the one with
    /// most free addresses first. ENIs in subnets that their tags exclude serve no new pods; a tag that
    /// changes is noticed within half an hour, or when the next ENI is made.
    #[must_use]
    pub fn subnet_discovery(mut self, on: bool) -> Self {
        self.config.subnet_discovery = on;
        self
    }

    /// Version sent with each EC2 request (`VPC_CNI_VERSION`). Characters that a user agent cannot
    /// carry become `-`: nothing depends on it, so it is no reason to refuse service.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        let usable =
            |c: char| if c.is_ascii_alphanumeric() || ".-+_".contains(c) { c } else { '-' };
        let version: String = version.into().chars().take(VERSION_LEN_MAX).map(usable).collect();
        self.config.version = non_empty(version);
        self
    }

    /// A fixed key pair in place of the SDK's credential chain: for emulators and tests.
    #[must_use]
    pub fn static_credentials(
        mut self,
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<String>,
    ) -> Self {
        self.config.credentials = CredentialSource::Static {
            access_key_id: access_key_id.into(),
            secret_access_key: secret_access_key.into(),
        };
        self
    }

    /// Requests are carried by `transport`.
    #[cfg(feature = "emulator")]
    pub(crate) fn transport(mut self, transport: Transport) -> Self {
        self.config.transport = Some(transport);
        self
    }

    /// Checks and returns the configuration.
    ///
    /// # Errors
    ///
    /// If a value could never work; the message names it and the remedy.
    pub fn build(self) -> Result<AwsConfig, AwsConfigError> {
        self.config.validate()?;
        Ok(self.config)
    }
}

fn non_empty(text: impl Into<String>) -> Option<String> {
    Some(text.into()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn endpoints_are_checked_before_the_first_request() {
        for good in
            ["http://127.0.0.1:80", "https://ec2.us-west-2.amazonaws.com/", "http://[::1]:5"]
        {
            assert!(AwsConfig::builder().ec2_endpoint(good).build().is_ok(), "{good}");
        }
        for bad in ["ec2.local", "ftp://x", "http://", "http:///x", "http://a b", "https://é"] {
            let result = AwsConfig::builder().imds_endpoint(bad).build();
            assert!(matches!(result, Err(AwsConfigError::Endpoint { what: "IMDS", .. })), "{bad}");
        }
        assert_eq!(AwsConfig::builder().ec2_endpoint("").build().unwrap().ec2_endpoint, None);
    }

    #[test]
    fn tags_that_ec2_refuses_are_refused_at_start() {
        let with = |key: &str, value: &str| {
            AwsConfig::builder().extra_tags(BTreeMap::from([(key.into(), value.into())])).build()
        };
        assert!(with("team", "net").is_ok());
        for (key, value) in
            [("", "x"), ("aws:x", "y"), (&*"k".repeat(129), "v"), ("k", &*"v".repeat(257))]
        {
            assert!(matches!(with(key, value), Err(AwsConfigError::Tag { .. })), "{key:?}");
        }
        let many = (0..47).map(|n| (format!("k{n}"), String::new())).collect();
        assert!(AwsConfig::builder().extra_tags(many).build().is_err());
        let reserved = with("node.k8s.amazonaws.com/instance_id", "i-other").unwrap();
        assert!(reserved.extra_tags.is_empty());
    }

    #[test]
    fn the_secret_key_is_not_printed() {
        let config = AwsConfig::builder().static_credentials("AKID", "hunter2").build().unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn an_odd_version_is_made_usable() {
        let version = |text: &str| AwsConfig::builder().version(text).build().unwrap().version;
        assert_eq!(version("v1.23.1-dirty+2").as_deref(), Some("v1.23.1-dirty+2"));
        assert_eq!(version("1.0\r\nx: y").as_deref(), Some("1.0--x--y"));
        assert_eq!(version(""), None);
    }

    #[test]
    fn odd_regions_are_refused() {
        assert!(AwsConfig::builder().region("us-west-2").build().is_ok());
        assert!(AwsConfig::builder().region("evil.example/").build().is_err());
        assert!(AwsConfig::builder().http_timeout(Duration::ZERO).build().is_err());
    }
}
