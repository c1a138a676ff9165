//! Typed reads.

use std::{
    error::Error,
    net::Ipv4Addr,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use aws_config::imds::Client;
use thiserror::Error;
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{CloudError, CloudErrorKind},
};

use super::{
    client,
    parse::{self, ParseError},
    paths::Item,
};
use crate::{
    config::{AwsConfig, AwsConfigError},
    counts::Recorder,
    sdk::Transport,
};

/// Why a metadata value could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum ImdsError {
    /// 404: this instance or ENI has no such attribute (yet).
    #[error("instance metadata has no {path}")]
    Absent { path: String },
    /// 403: switched off for this instance.
    #[error(
        "instance metadata refuses {path} (HTTP 403); enable it for this instance \
         (ModifyInstanceMetadataOptions, HttpEndpoint=enabled)"
    )]
    Denied { path: String },
    /// An answer that this attribute cannot have.
    #[error("instance metadata {path} cannot be used: {source}")]
    Malformed { path: String, source: ParseError },
    /// Some other HTTP status.
    #[error("instance metadata answered {path} with HTTP {status}")]
    Status { path: String, status: u16 },
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
            ImdsError::Absent { path } => (CloudErrorKind::Gone, path),
            ImdsError::Denied { path } => (CloudErrorKind::PermissionDenied, path),
            ImdsError::Malformed { path, .. } => (CloudErrorKind::Malformed, path),
            ImdsError::Status { path, .. } => (CloudErrorKind::Other, path),
            ImdsError::Unreachable { path, .. } => (CloudErrorKind::Unreachable, path),
        };
        Self::new(kind, format!("IMDS {path}"), error.to_string())
    }
}

#[derive(Debug)]
struct Current {
    client: Client,
    generation: u64,
}

/// Client of the instance metadata service. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Imds {
    endpoint: Option<String>,
    transport: Option<Transport>,
    current: Arc<Mutex<Current>>,
    recorder: Arc<Recorder>,
}

impl Imds {
    pub(crate) fn new(config: &AwsConfig, recorder: Arc<Recorder>) -> Result<Self, AwsConfigError> {
        let (endpoint, transport) = (config.imds_endpoint.clone(), config.transport.clone());
        let client = client::build(endpoint.as_deref(), transport.as_ref())?;
        let current = Arc::new(Mutex::new(Current { client, generation: 0 }));
        Ok(Self { endpoint, transport, current, recorder })
    }

    /// The SDK's client, for its credential provider.
    pub(crate) fn client(&self) -> Client {
        self.lock().client.clone()
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
        self.recorder.imds_request(item.counter());
        let result = self.text(item).await.and_then(|text| {
            read(&text).map_err(|source| ImdsError::Malformed { path: item.path(), source })
        });
        match &result {
            Ok(_) | Err(ImdsError::Absent { .. }) => {}
            Err(_) => self.recorder.imds_failed(item.counter()),
        }
        result
    }

    async fn text(&self, item: Item) -> Result<String, ImdsError> {
        let path = item.path();
        let (client, generation) = {
            let current = self.lock();
            (current.client.clone(), current.generation)
        };
        match client.get(path.as_str()).await {
            Ok(text) => Ok(text.into()),
            Err(error) if client::is_unauthorized(&error) => {
                self.renew(generation);
                let client = self.client();
                client.get(path.as_str()).await.map(Into::into).map_err(|e| failed(path, &e))
            }
            Err(error) => Err(failed(path, &error)),
        }
    }

    /// The SDK keeps a token until it expires by its own clock. Metadata that has forgotten the
    /// token (an instance resumed from hibernation) would refuse us for up to six hours.
    fn renew(&self, seen: u64) {
        let mut current = self.lock();
        if current.generation == seen
            && let Ok(client) = client::build(self.endpoint.as_deref(), self.transport.as_ref())
        {
            *current = Current { client, generation: seen.wrapping_add(1) };
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `None` where the attribute is absent, which is normal for some.
pub(crate) fn optional<T>(result: Result<T, ImdsError>) -> Result<Option<T>, ImdsError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(ImdsError::Absent { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn failed(path: String, error: &aws_config::imds::client::error::ImdsError) -> ImdsError {
    match client::status(error) {
        Some(404) => ImdsError::Absent { path },
        Some(403) => ImdsError::Denied { path },
        Some(status) => ImdsError::Status { path, status },
        None => ImdsError::Unreachable { path, why: chain(error) },
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
