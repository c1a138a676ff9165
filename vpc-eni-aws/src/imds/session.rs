//! How metadata is asked: with a token (IMDSv2), or without one where there is none to be had (IMDSv1).
//!
//! The SDK's client knows tokens only. It is given this in place of its HTTP client: its own request for a token is
//! answered here, and each of its reads goes out with the token that is held here, or without. Reads for the
//! credentials of the instance's role take the same way.

use std::{sync::Arc, time::Duration};

use aws_sdk_ec2::config::{
    HttpClient, RuntimeComponents, SharedHttpClient,
    http::{HttpRequest, HttpResponse},
};
use aws_smithy_runtime_api::{
    client::{
        connector_metadata::ConnectorMetadata,
        http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        result::ConnectorError,
    },
    http::StatusCode,
};
use tokio::{sync::Mutex, time::Instant};

use super::paths::{ROOT, TOKEN_PATH};

const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// Life that is asked for: the longest that metadata grants, as the SDK does. A token that is forgotten earlier is
/// refused, and then a new one is taken.
const TTL_S: u64 = 21_600;
/// Life of a token that comes without one. The reference's.
const TTL_UNKNOWN: Duration = Duration::from_secs(300);
/// A token is not used in the last of its life: it may end under way.
const TTL_SPARE: Duration = Duration::from_secs(10);
/// How long metadata is read without a token until the next try to get one. Whoever makes tokens work wants them
/// used soon; where they do not, each try may cost a second.
const WITHOUT_MAX: Duration = Duration::from_secs(300);
/// Longest token. Real ones have 56 characters.
const TOKEN_LEN_MAX: usize = 1024;

/// Marks an answer that the request for a token got.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToToken;

/// Marks a refusal (401) for want of a token, and says why there is none.
#[derive(Clone, Debug)]
pub(super) struct WithoutToken(pub(super) String);

/// What a read is sent with.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Access {
    Token(String),
    /// And why there is no token.
    Without(String),
}

#[derive(Debug)]
struct Held {
    access: Access,
    until: Instant,
}

/// The HTTP client of the metadata client.
#[derive(Clone, Debug)]
pub(super) struct Session {
    inner: SharedHttpClient,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// Reads without a token are allowed.
    fallback: bool,
    held: Mutex<Option<Held>>,
}

impl Session {
    pub(super) fn new(inner: SharedHttpClient, fallback: bool) -> Self {
        Self { inner, state: Arc::new(State { fallback, held: Mutex::default() }) }
    }
}

impl HttpClient for Session {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, state: Arc::clone(&self.state) })
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.inner.connector_metadata()
    }
}

#[derive(Clone, Debug)]
struct Connector {
    inner: SharedHttpConnector,
    state: Arc<State>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if request.method() == "PUT" {
            return HttpConnectorFuture::ready(placeholder());
        }
        let connector = self.clone();
        HttpConnectorFuture::new(async move { connector.read(request).await })
    }
}

/// The SDK must have a token, whatever it is; it is replaced in each read.
fn placeholder() -> Result<HttpResponse, ConnectorError> {
    let status = StatusCode::try_from(200).map_err(|e| ConnectorError::other(e.into(), None))?;
    let mut answer = HttpResponse::new(status, "held-by-the-session".into());
    answer.headers_mut().insert(TTL_HEADER, TTL_S.to_string());
    Ok(answer)
}

/// What asking for a token came to.
enum Asked {
    Access(Access, Duration),
    /// An answer that is none to the read either: it is passed on.
    Answer(HttpResponse),
}

impl Connector {
    async fn read(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let mut refused = None;
        loop {
            let access = match self.access(&request, refused.as_ref()).await? {
                Asked::Access(access, _) => access,
                Asked::Answer(answer) => return Ok(answer),
            };
            let sent = self.inner.call(with(&request, &access)?).await;
            let mut answer = match sent {
                Ok(answer) => answer,
                Err(error) => {
                    self.forget_without(&access).await;
                    return Err(error);
                }
            };
            if answer.status().as_u16() != 401 {
                return Ok(answer);
            }
            if refused.is_some() {
                if let Access::Without(why) = access {
                    answer.add_extension(WithoutToken(why));
                }
                return Ok(answer);
            }
            refused = Some(access);
        }
    }

    /// What to send reads with; anew if that which is held was refused or is old.
    async fn access(
        &self,
        read: &HttpRequest,
        refused: Option<&Access>,
    ) -> Result<Asked, ConnectorError> {
        // Held while a token is fetched: one is enough for all.
        let mut held = self.state.held.lock().await;
        if let Some(held) = held.as_ref()
            && held.until > Instant::now()
            && refused != Some(&held.access)
        {
            return Ok(Asked::Access(held.access.clone(), Duration::ZERO));
        }
        let asked = self.ask(read).await?;
        if let Asked::Access(access, life) = &asked {
            tell(held.as_ref().map(|held| &held.access), access);
            *held = Some(Held { access: access.clone(), until: Instant::now() + *life });
        }
        Ok(asked)
    }

    async fn ask(&self, read: &HttpRequest) -> Result<Asked, ConnectorError> {
        let request = token_request(read)?;
        let without = |why| Ok(Asked::Access(Access::Without(why), WITHOUT_MAX));
        let mut answer = match self.inner.call(request).await {
            Ok(answer) => answer,
            // The answer has one hop to live, which is too few for a container with its own network.
            Err(error) if self.state.fallback && (error.is_io() || error.is_timeout()) => {
                return without(format!("the request for one failed: {}", super::chain(&error)));
            }
            Err(error) => return Err(error),
        };
        match answer.status().as_u16() {
            200..300 => {}
            status @ (403..=405) if self.state.fallback => {
                return without(format!("the request for one was answered with HTTP {status}"));
            }
            _ => {
                answer.add_extension(ToToken);
                return Ok(Asked::Answer(answer));
            }
        }
        let token = answer.body().bytes().and_then(|body| std::str::from_utf8(body).ok());
        let token = token.filter(|t| !t.is_empty() && t.len() <= TOKEN_LEN_MAX);
        let Some(token) = token.filter(|t| t.bytes().all(|b| b.is_ascii_graphic())) else {
            let why = "instance metadata answered the request for a token with something else";
            return Err(ConnectorError::other(why.into(), None));
        };
        let life = answer.headers().get(TTL_HEADER).and_then(|ttl| ttl.trim().parse().ok());
        let life = life.map_or(TTL_UNKNOWN, |s: u64| Duration::from_secs(s.min(TTL_S)));
        Ok(Asked::Access(Access::Token(token.to_owned()), life.saturating_sub(TTL_SPARE)))
    }

    /// Metadata that does not answer at all says nothing of tokens.
    async fn forget_without(&self, access: &Access) {
        if matches!(access, Access::Without(_)) {
            let mut held = self.state.held.lock().await;
            if held.as_ref().is_some_and(|held| held.access == *access) {
                *held = None;
            }
        }
    }
}

fn tell(before: Option<&Access>, now: &Access) {
    match (before, now) {
        (Some(Access::Without(_)), Access::Token(_)) => {
            tracing::info!("instance metadata gives tokens again");
        }
        (None | Some(Access::Token(_)), Access::Without(why)) => {
            tracing::warn!(why, "no token for instance metadata; it is read without");
        }
        _ => {}
    }
}

fn with(read: &HttpRequest, access: &Access) -> Result<HttpRequest, ConnectorError> {
    let mut request = copy(read)?;
    if let Access::Token(token) = access {
        request.headers_mut().try_insert(TOKEN_HEADER, token.clone()).map_err(unusable)?;
    }
    Ok(request)
}

fn token_request(read: &HttpRequest) -> Result<HttpRequest, ConnectorError> {
    let mut request = copy(read)?;
    // Endpoints may have a path of their own.
    let base = read.uri().find(ROOT).and_then(|at| read.uri().get(..at)).unwrap_or_default();
    request.set_method("PUT").map_err(unusable)?;
    request.set_uri(format!("{base}{TOKEN_PATH}")).map_err(unusable)?;
    request.headers_mut().try_insert(TTL_HEADER, TTL_S.to_string()).map_err(unusable)?;
    Ok(request)
}

/// The request without a token. Reads have no body, so it can always be copied.
fn copy(read: &HttpRequest) -> Result<HttpRequest, ConnectorError> {
    let mut request =
        read.try_clone().ok_or_else(|| ConnectorError::user("a read with a body".into()))?;
    request.headers_mut().remove(TOKEN_HEADER);
    Ok(request)
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> ConnectorError {
    ConnectorError::user(error.into())
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
