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
use super::server::{Service, Shared, lock};

const TOKEN_PATH: &str = "/latest/api/token";
const TTL_HEADER: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");

/// Tokens and scripted failures of all instances.
#[derive(Debug, Default)]
pub(super) struct State {
    tokens: Mutex<Tokens>,
    faults: Mutex<Vec<Fault>>,
    v1: AtomicBool,
}

#[derive(Debug)]
struct Fault {
    path: String,
    status: u16,
    times: u32,
}

impl State {
    pub(super) fn fail(&self, path: &str, status: u16, times: u32) {
        if times > 0 {
            lock(&self.faults).push(Fault { path: path.to_owned(), status, times });
        }
    }

    pub(super) fn heal(&self) {
        lock(&self.faults).clear();
    }

    pub(super) fn allow_v1(&self, allowed: bool) {
        self.v1.store(allowed, Ordering::Relaxed);
    }

    fn fault(&self, path: &str) -> Option<StatusCode> {
        let mut faults = lock(&self.faults);
        let fault = faults.iter_mut().find(|f| path.starts_with(&f.path))?;
        fault.times = fault.times.saturating_sub(1);
        let status = fault.status;
        faults.retain(|f| f.times > 0);
        Some(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
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
    if let Some(status) = server.shared.imds.fault(path) {
        return status.into_response();
    }
    if let Some(status) = server.shared.world().imds_status(&server.instance) {
        return StatusCode::from_u16(status)
            .unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
            .into_response();
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
            world.imds_view(&self.instance, now)
        };
        match view.and_then(|view| tree::read(&view, path, now)) {
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
            return state.v1.load(Ordering::Relaxed);
        };
        let token = token.to_str().ok();
        token.is_some_and(|t| lock(&state.tokens).is_valid(&self.instance, t, now))
    }
}

fn text() -> String {
    "text/plain".to_owned()
}
