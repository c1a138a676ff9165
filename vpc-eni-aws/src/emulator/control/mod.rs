//! The control endpoint: the state as JSON, faults, and what others do to the world.
//!
//! Beside EC2, below a path that EC2 does not have.

mod change;
mod state;

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::State as AxumState,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;

pub use self::{
    change::{Change, ChangeError, CreateEni},
    state::{AttachmentState, EniState, FaultState, InstanceState, State, SubnetState, VpcState},
};
use super::{
    faults::Faults,
    file::{FileError, Source},
    server::{Emulator, Service, Shared},
};

/// Where the control endpoint is.
pub const CONTROL_PATH: &str = "/_control";

impl Emulator {
    /// The control endpoint, at [`CONTROL_PATH`]; [`Service::and`] puts it beside EC2.
    pub fn control_router(&self) -> Service {
        let router = Router::new()
            .route("/_control/state", get(state))
            .route("/_control/faults", get(faults).post(inject).delete(clear))
            .route("/_control/world", post(change))
            .with_state(Arc::clone(&self.shared));
        Service(router)
    }
}

impl Service {
    /// Both sets of routes behind one address. They must have no path in common.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0.merge(other.0))
    }
}

async fn state(AxumState(shared): AxumState<Arc<Shared>>) -> Json<State> {
    Json(Emulator { shared }.state())
}

async fn faults(AxumState(shared): AxumState<Arc<Shared>>) -> Json<Vec<FaultState>> {
    Json(Emulator { shared }.state().faults)
}

async fn clear(AxumState(shared): AxumState<Arc<Shared>>) -> StatusCode {
    Emulator { shared }.clear_faults();
    StatusCode::NO_CONTENT
}

async fn inject(
    AxumState(shared): AxumState<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let read = |text: &str| match is_json(&headers, text) {
        true => Faults::parse_json("request", text),
        false => Faults::parse("request", text),
    };
    match text(&body).and_then(|text| read(text).map_err(|e| e.to_string())) {
        Ok(faults) => {
            let emulator = Emulator { shared };
            emulator.inject(&faults);
            Json(emulator.state().faults).into_response()
        }
        Err(error) => refusal(&error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    changes: Vec<Change>,
}

async fn change(
    AxumState(shared): AxumState<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let read = |text: &str| -> Result<Changes, FileError> {
        let source = Source::new("request", text);
        if is_json(&headers, text) { source.json() } else { source.toml() }
    };
    let changes = match text(&body).and_then(|text| read(text).map_err(|e| e.to_string())) {
        Ok(changes) => changes.changes,
        Err(error) => return refusal(&error),
    };
    let emulator = Emulator { shared };
    let mut results = Vec::new();
    for (n, change) in changes.iter().enumerate() {
        match emulator.change(change) {
            Ok(id) => results.push(json!({ "id": id })),
            // Those before it have happened: the answer says which they were.
            Err(error) => {
                let body =
                    json!({ "error": format!("change {}: {error}", n + 1), "done": results });
                emulator.shared.settle().await;
                return (StatusCode::BAD_REQUEST, Json(body)).into_response();
            }
        }
    }
    emulator.shared.settle().await;
    Json(json!({ "done": results })).into_response()
}

fn text(body: &Bytes) -> Result<&str, String> {
    std::str::from_utf8(body).map_err(|_| "the body is not UTF-8".to_owned())
}

/// What says so, and what looks like it.
fn is_json(headers: &HeaderMap, text: &str) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/json") || text.trim_start().starts_with('{')
}

fn refusal(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response()
}
