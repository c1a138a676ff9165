//! Typed reads.

use std::{
    collections::BTreeSet,
    error::Error,
    net::Ipv4Addr,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_config::imds::Client;
use thiserror::Error;
use tokio::sync::Semaphore;
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{CloudError, CloudErrorKind},
    id::MacAddr,
};

use super::{
    client,
    fixed::Fixed,
    parse::{self, ParseError},
    paths::{Absence, Item, Life, TOKEN_PATH},
};
use crate::{
    config::{AwsConfig, AwsConfigError},
    counts::Recorder,
};

/// Requests under way at a time. Enough to read an ENI in one round trip; metadata refuses callers that send hundreds
/// at once (1024 packets per second and ENI, whoever sends them).
const REQUESTS_AT_ONCE: usize = 16;

/// Why a metadata value could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum ImdsError {
    /// 404: this instance or ENI has no such attribute (yet).
    #[error("instance metadata has no {path}")]
    Absent {
        path: String,
        /// Whether that may be.
        absence: Absence,
    },
    /// 403: switched off for this instance.
    #[error(
        "instance metadata refuses {path} (HTTP 403); enable it for this instance \
         (ModifyInstanceMetadataOptions, HttpEndpoint=enabled)"
    )]
    Denied { path: String },
    /// Switched off for this daemon.
    #[error(
        "instance metadata is disabled (AWS_EC2_METADATA_DISABLED is true), but {path} is needed; enable it for this \
         daemon"
    )]
    Disabled { path: String },
    /// An answer that this attribute cannot have.
    #[error("instance metadata {path} cannot be used: {source}")]
    Malformed { path: String, source: ParseError },
    /// Some other HTTP status.
    #[error("instance metadata answered {path} with HTTP {status}")]
    Status { path: String, status: u16 },
    /// 401: wants a token, but gives none.
    #[error(
        "instance metadata wants a token for {path} (HTTP 401) and none is to be had: {why}; raise the hop limit (2 for \
         a container without host network) or make tokens optional (ModifyInstanceMetadataOptions)"
    )]
    Tokens { path: String, why: String },
    /// No answer.
    #[error(
        "instance metadata did not answer {path}: {why}; check that it is enabled, that nothing \
         blocks 169.254.169.254 and that the hop limit suffices (2 for a container without host \
         network)"
    )]
    Unreachable { path: String, why: String },
}

impl From<ImdsError> for CloudError {
    fn from(error: ImdsError) -> Self {
        let (kind, path) = match &error {
            ImdsError::Absent { path, .. } => (CloudErrorKind::Gone, path),
            ImdsError::Denied { path } | ImdsError::Disabled { path } => {
                (CloudErrorKind::PermissionDenied, path)
            }
            ImdsError::Malformed { path, .. } => (CloudErrorKind::Malformed, path),
            ImdsError::Status { path, .. } => (CloudErrorKind::Other, path),
            ImdsError::Tokens { path, .. } | ImdsError::Unreachable { path, .. } => {
                (CloudErrorKind::Unreachable, path)
            }
        };
        Self::new(kind, format!("IMDS {path}"), error.to_string())
    }
}

/// Client of the instance metadata service. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Imds {
    client: Client,
    disabled: bool,
    permits: Arc<Semaphore>,
    fixed: Arc<Mutex<Fixed>>,
    recorder: Arc<Recorder>,
}

impl Imds {
    pub(crate) fn new(config: &AwsConfig, recorder: Arc<Recorder>) -> Result<Self, AwsConfigError> {
        Ok(Self {
            client: client::build(config)?,
            disabled: config.imds_disabled,
            permits: Arc::new(Semaphore::new(REQUESTS_AT_ONCE)),
            fixed: Arc::default(),
            recorder,
        })
    }

    /// The SDK's client, for its credential provider.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// MACs of all ENIs that metadata knows. What was kept of others is forgotten.
    pub(crate) async fn macs(&self) -> Result<BTreeSet<MacAddr>, ImdsError> {
        let macs: Vec<MacAddr> = self.list(Item::Macs, "a MAC address").await?;
        let macs = macs.into_iter().collect();
        self.fixed().retain(&macs);
        Ok(macs)
    }

    /// One word.
    pub(crate) async fn word(&self, item: Item) -> Result<String, ImdsError> {
        self.parsed(item, |text| parse::word(text).map(str::to_owned)).await
    }

    /// One word of a given type.
    pub(crate) async fn value<T: FromStr>(
        &self,
        item: Item,
        expected: &'static str,
    ) -> Result<T, ImdsError> {
        self.parsed(item, |text| parse::value(text, expected)).await
    }

    /// A list of words of a given type.
    pub(crate) async fn list<T: FromStr>(
        &self,
        item: Item,
        expected: &'static str,
    ) -> Result<Vec<T>, ImdsError> {
        self.parsed(item, |text| parse::list(text, expected)).await
    }

    /// A list of IPv4 blocks.
    pub(crate) async fn blocks(&self, item: Item) -> Result<Vec<Prefix>, ImdsError> {
        self.parsed(item, parse::ipv4_blocks).await
    }

    /// One IPv4 block.
    pub(crate) async fn block(&self, item: Item) -> Result<Prefix, ImdsError> {
        self.parsed(item, parse::ipv4_block).await
    }

    /// IPv4 addresses.
    pub(crate) async fn addresses(&self, item: Item) -> Result<Vec<Ipv4Addr>, ImdsError> {
        self.parsed(item, parse::ipv4_addresses).await
    }

    /// Region from the instance identity document.
    pub(crate) async fn region(&self) -> Result<String, ImdsError> {
        let identity = self.parsed(Item::Identity, parse::identity).await?;
        Ok(identity.region)
    }

    async fn parsed<T>(
        &self,
        item: Item,
        read: impl FnOnce(&str) -> Result<T, ParseError>,
    ) -> Result<T, ImdsError> {
        let malformed = |source| ImdsError::Malformed { path: item.path(), source };
        let kept = self.fixed().text(item).map(str::to_owned);
        if let Some(text) = kept {
            return read(&text).map_err(malformed);
        }
        self.recorder.imds_request(item.row().counter);
        let result = self.text(item).await.and_then(|text| {
            let value = read(&text).map_err(malformed)?;
            if item.row().life == Life::Mac {
                self.fixed().keep(item, text);
            }
            Ok(value)
        });
        match &result {
            Ok(_) => {}
            Err(ImdsError::Absent { absence: Absence::Coming | Absence::Normal, .. }) => {}
            Err(_) => self.recorder.imds_failed(item.row().counter),
        }
        result
    }

    async fn text(&self, item: Item) -> Result<String, ImdsError> {
        let path = item.path();
        if self.disabled {
            return Err(ImdsError::Disabled { path });
        }
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        self.client.get(path.as_str()).await.map(Into::into).map_err(|e| failed(item, &e))
    }

    fn fixed(&self) -> MutexGuard<'_, Fixed> {
        self.fixed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `None` where the attribute is absent and may be.
pub(crate) fn optional<T>(result: Result<T, ImdsError>) -> Result<Option<T>, ImdsError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(ImdsError::Absent { absence: Absence::Coming | Absence::Normal, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn failed(item: Item, error: &aws_config::imds::client::error::ImdsError) -> ImdsError {
    let Some(refusal) = client::refusal(error) else {
        return ImdsError::Unreachable { path: item.path(), why: chain(error) };
    };
    let path = if refusal.to_token() { TOKEN_PATH.to_owned() } else { item.path() };
    if let Some(why) = refusal.without_token() {
        return ImdsError::Tokens { path, why: why.to_owned() };
    }
    match refusal.status() {
        403 => ImdsError::Denied { path },
        404 if !refusal.to_token() => ImdsError::Absent { path, absence: item.row().absence },
        status => ImdsError::Status { path, status },
    }
}

/// An error with all its causes on one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Wrappers often repeat what they wrap.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
