//! Instance metadata: tokens, listings, values.

mod credentials;
mod tokens;
mod tree;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::{Request, State as AxumState},
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use vpc_ipam_core::{id::InstanceId, time::Time};

use self::tokens::Tokens;
pub use self::tokens::{TOKEN_TTL_SECONDS_MAX, TOKEN_TTL_SECONDS_MIN};
use super::{
    faults::{Answer, MetadataFaults, omit},
    server::{Service, Shared, lock},
};

const TOKEN_PATH: &str = "/latest/api/token";
const TTL_HEADER: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");

/// Tokens and scripted failures of all instances.
#[derive(Debug, Default)]
pub(super) struct State {
    tokens: Mutex<Tokens>,
    pub(super) faults: MetadataFaults,
    v1: AtomicBool,
}

impl State {
    pub(super) fn heal(&self) {
        self.faults.clear();
    }

    pub(super) fn allow_v1(&self, allowed: bool) {
        self.v1.store(allowed, Ordering::Relaxed);
    }

    pub(super) fn allows_v1(&self) -> bool {
        self.v1.load(Ordering::Relaxed)
    }
}

#[derive(Clone)]
struct Server {
    shared: Arc<Shared>,
    instance: InstanceId,
}

pub(super) fn service(shared: Arc<Shared>, instance: InstanceId) -> Service {
    Service(Router::new().fallback(handle).with_state(Server { shared, instance }))
}

async fn handle(AxumState(server): AxumState<Server>, request: Request) -> Response {
    let path = request.uri().path();
    let met = {
        let (now, world) = (server.shared.now(), server.shared.world());
        server.shared.imds.faults.met(&server.instance, path, world.calls(), now)
    };
    if !met.delay.is_zero() {
        tokio::time::sleep(met.delay).await;
    }
    match met.answer {
        None => {}
        Some(Answer::Status(status)) => return refusal(status).into_response(),
        Some(Answer::Body(body)) => {
            return ([(header::CONTENT_TYPE, text())], body).into_response();
        }
    }
    if let Some(status) = server.shared.world().imds_status(&server.instance) {
        return refusal(status).into_response();
    }
    match (request.method(), path) {
        (&Method::PUT, TOKEN_PATH) => server.token(request.headers()),
        (_, TOKEN_PATH) => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        (&Method::GET, _) => server.read(path, request.headers()),
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

impl Server {
    fn token(&self, headers: &HeaderMap) -> Response {
        let ttl =
            headers.get(TTL_HEADER).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
        let now = self.shared.now();
        let token =
            ttl.and_then(|ttl| lock(&self.shared.imds.tokens).issue(&self.instance, ttl, now));
        match (token, ttl) {
            (Some(token), Some(ttl)) => {
                ([(TTL_HEADER, ttl.to_string()), (header::CONTENT_TYPE, text())], token)
                    .into_response()
            }
            _ => StatusCode::BAD_REQUEST.into_response(),
        }
    }

    fn read(&self, path: &str, headers: &HeaderMap) -> Response {
        let now = self.shared.now();
        if !self.may_read(headers, now) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let view = {
            let mut world = self.shared.world();
            world.advance(now);
            let faults = self.shared.imds.faults.omissions(&self.instance, world.calls(), now);
            world.imds_view(&self.instance, now).map(|mut view| {
                let gone = omit(&faults, &mut view);
                (view, gone)
            })
        };
        match view.and_then(|(view, gone)| tree::read(&view, &gone, path, now)) {
            Some(body) => ([(header::CONTENT_TYPE, text())], body).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

impl Server {
    /// A token must be good; to have none is good enough where IMDSv1 is allowed.
    fn may_read(&self, headers: &HeaderMap, now: Time) -> bool {
        let state = &self.shared.imds;
        let Some(token) = headers.get(TOKEN_HEADER) else {
            return state.allows_v1();
        };
        let token = token.to_str().ok();
        token.is_some_and(|t| lock(&state.tokens).is_valid(&self.instance, t, now))
    }
}

fn refusal(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

fn text() -> String {
    "text/plain".to_owned()
}
