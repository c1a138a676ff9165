//! What the backend is told. Nothing below reads the environment, except the SDK's own chains for
//! credentials, certificates and profiles.

mod validate;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use thiserror::Error;
use vpc_ipam_core::config::Family;

pub(crate) use self::validate::validate_region;
use crate::{
    http::{Trust, TrustError},
    pace::CallPace,
    permit::Permit,
    sdk::Transport,
};

/// Longest time one HTTP request may take, unless configured. The reference's default; EC2 answers
/// mutations within a few seconds.
pub const HTTP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Attempts per EC2 call that the SDK makes on its own, the first included. The reference's number.
pub(crate) const SDK_ATTEMPTS: u32 = 3;

/// Name under which requests are seen in CloudTrail; dashboards look for the reference's.
pub(crate) const USER_AGENT_NAME: &str = "amazon-vpc-cni-k8s";

/// Longest version sent. Releases have names of some ten characters.
const VERSION_LEN_MAX: usize = 64;

/// Why a configuration is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AwsConfigError {
    /// A CA bundle that would leave nobody to trust.
    #[error("CA bundle {path:?} is not usable: {why}; correct AWS_CA_BUNDLE or unset it")]
    CaBundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
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

/// By which of its addresses the instance metadata service is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ImdsMode {
    /// `169.254.169.254`.
    V4,
    /// `fd00:ec2::254`; only Nitro instances in a subnet with IPv6, and if enabled for the instance.
    V6,
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
    /// Address of the instance metadata service where no URL is given; `None` is what the SDK's settings say
    /// (`AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE`), usually IPv4.
    pub imds_mode: Option<ImdsMode>,
    /// True: metadata is never asked. Nothing works then that needs to know this instance.
    pub imds_disabled: bool,
    /// True: metadata is read without a token (IMDSv1) where none is to be had.
    pub imds_v1: bool,
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
    /// Views come from instance metadata, and EC2 is never asked for anything.
    pub imds_only: bool,
    /// Whether anything may be created, changed or deleted in EC2.
    pub provisioning: bool,
    /// Version sent with each EC2 request.
    pub version: Option<String>,
    /// How fast requests are sent to EC2.
    pub pace: CallPace,
    pub(crate) credentials: CredentialSource,
    pub(crate) transport: Option<Transport>,
    ca_bundle: Option<PathBuf>,
    pub(crate) trust: Option<Trust>,
}

impl AwsConfig {
    /// Starts from the defaults, which suit a node in a real cluster.
    pub fn builder() -> AwsConfigBuilder {
        AwsConfigBuilder {
            config: Self {
                ec2_endpoint: None,
                imds_endpoint: None,
                imds_mode: None,
                imds_disabled: false,
                imds_v1: true,
                region: None,
                http_timeout: HTTP_TIMEOUT_DEFAULT,
                cluster_name: None,
                extra_tags: BTreeMap::new(),
                family: Family::V4,
                subnet_discovery: true,
                imds_only: false,
                provisioning: true,
                version: None,
                pace: CallPace::default(),
                credentials: CredentialSource::DefaultChain,
                transport: None,
                ca_bundle: None,
                trust: None,
            },
        }
    }

    pub(crate) fn permit(&self) -> Permit {
        Permit { imds_only: self.imds_only, provisioning: self.provisioning }
    }

    /// The time that others see too, for stamps.
    pub(crate) fn now(&self) -> SystemTime {
        self.transport.as_ref().map_or_else(SystemTime::now, |transport| (transport.now)())
    }
}

/// Builds an [`AwsConfig`]; empty texts count as not given.
#[derive(Clone, Debug)]
pub struct AwsConfigBuilder {
    pub(crate) config: AwsConfig,
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

    /// Address of the instance metadata service; without effect where its URL is given.
    #[must_use]
    pub fn imds_mode(mut self, mode: ImdsMode) -> Self {
        self.config.imds_mode = Some(mode);
        self
    }

    /// True: metadata is never asked (`AWS_EC2_METADATA_DISABLED`).
    #[must_use]
    pub fn imds_disabled(mut self, disabled: bool) -> Self {
        self.config.imds_disabled = disabled;
        self
    }

    /// False: metadata is only read with a token, the default being true
    /// (`AWS_EC2_METADATA_V1_DISABLED`). A token keeps others on the node, such as an open proxy, from reading
    /// metadata; our own reads are as safe without.
    #[must_use]
    pub fn imds_v1(mut self, allowed: bool) -> Self {
        self.config.imds_v1 = allowed;
        self
    }

    /// File of certificates in PEM form that HTTPS servers are checked against, in place of the system's
    /// (`AWS_CA_BUNDLE`). Read by [`build`](Self::build).
    #[must_use]
    pub fn ca_bundle(mut self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        self.config.ca_bundle = (!path.as_os_str().is_empty()).then(|| path.to_owned());
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

    /// True: views come from instance metadata alone, the limits of the instance from the built-in table,
    /// and EC2 is never asked for anything (`ENABLE_IMDS_ONLY_MODE`). What would need EC2 fails with
    /// [`Disabled`](vpc_ipam_core::cloud::CloudErrorKind::Disabled).
    #[must_use]
    pub fn imds_only(mut self, on: bool) -> Self {
        self.config.imds_only = on;
        self
    }

    /// False: nothing is ever created, changed or deleted in EC2 (`DISABLE_NETWORK_RESOURCE_PROVISIONING`);
    /// what would do that fails with [`Disabled`](vpc_ipam_core::cloud::CloudErrorKind::Disabled).
    #[must_use]
    pub fn provisioning(mut self, on: bool) -> Self {
        self.config.provisioning = on;
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
    pub fn build(mut self) -> Result<AwsConfig, AwsConfigError> {
        self.config.validate()?;
        if let Some(path) = &self.config.ca_bundle {
            let unusable =
                |e: TrustError| AwsConfigError::CaBundle { path: path.clone(), why: e.to_string() };
            self.config.trust = Some(Trust::load(path).map_err(unusable)?);
        }
        Ok(self.config)
    }
}

fn non_empty(text: impl Into<String>) -> Option<String> {
    Some(text.into()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
