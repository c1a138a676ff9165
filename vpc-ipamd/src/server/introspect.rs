//! The introspection server: the pool, the settings in force and the daemon's health, for people.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::any,
};
use serde_json::{Value, json};
use tokio::time::timeout;
use vpc_ipam_core::datapath::SnatPorts;

use super::enis;
use crate::{handle::Handle, settings::Settings, snapshot::Snapshot};

/// What the engine may take for a snapshot. It takes microseconds; this says that it is stuck.
pub(crate) const SNAPSHOT_MAX: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct App {
    handle: Handle,
    settings: Arc<Settings>,
}

const PATHS: [&str; 5] = [
    "/healthz",
    "/v1/enis",
    "/v1/ipamd-env-settings",
    "/v1/networkutils-env-settings",
    "/v1/status",
];

pub(crate) fn router(handle: Handle, settings: Arc<Settings>) -> Router {
    Router::new()
        .route("/healthz", any(healthz))
        .route("/v1/enis", any(enis_by_card))
        .route("/v1/ipamd-env-settings", any(ipamd_settings))
        .route("/v1/networkutils-env-settings", any(network_settings))
        .route("/v1/status", any(status))
        .fallback(any(commands))
        .with_state(App { handle, settings })
}

async fn commands() -> Response {
    json_body(StatusCode::OK, &json!({ "AvailableCommands": PATHS }))
}

async fn enis_by_card(State(app): State<App>) -> Response {
    with_snapshot(&app, |snapshot| {
        // A type without maps keyed by anything but text cannot fail to serialise.
        let cards = serde_json::to_string(&enis::cards(&snapshot.stats));
        body(StatusCode::OK, cards.unwrap_or_default())
    })
    .await
}

async fn ipamd_settings(State(app): State<App>) -> Response {
    let targets = app.settings.targets;
    let settings = json!({
        "WARM_IP_TARGET": targets.ips,
        "WARM_ENI_TARGET": targets.enis,
        "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": false,
        "AWS_MANAGE_ENIS_NON_SCHEDULABLE": false,
        "ENABLE_SUBNET_DISCOVERY": false,
    });
    json_body(StatusCode::OK, &settings)
}

async fn network_settings(State(app): State<App>) -> Response {
    let s = &app.settings;
    // Go prints a list without elements as null.
    let list = |cidrs: &[vpc_ipam_core::addr::Prefix]| match cidrs {
        [] => Value::Null,
        some => json!(some),
    };
    let settings = json!({
        "AWS_VPC_K8S_CNI_CONNMARK": s.connmark,
        "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS": list(&s.exclude_snat_cidrs),
        "AWS_VPC_K8S_CNI_EXTERNALSNAT": s.external_snat,
        "AWS_EXTERNAL_SERVICE_CIDRS": list(&s.external_service_cidrs),
        "AWS_VPC_ENI_MTU": s.mtu,
        "AWS_VPC_K8S_CNI_VETHPREFIX": s.veth_prefix,
        "AWS_VPC_CNI_NODE_PORT_SUPPORT": s.node_port,
        "AWS_VPC_K8S_CNI_RANDOMIZESNAT": match s.snat_ports {
            SnatPorts::Hash => 1,
            SnatPorts::Keep => 0,
            _ => 2,
        },
    });
    json_body(StatusCode::OK, &settings)
}

async fn healthz(State(app): State<App>) -> Response {
    with_snapshot(&app, |snapshot| {
        let code = if snapshot.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let degraded: Vec<_> = snapshot.degraded.iter().map(ToString::to_string).collect();
        json_body(code, &json!({ "ready": snapshot.ready, "degraded": degraded }))
    })
    .await
}

async fn status(State(app): State<App>) -> Response {
    with_snapshot(&app, |snapshot| {
        let stats = &snapshot.stats;
        let degraded: Vec<_> = snapshot
            .degraded
            .iter()
            .map(|d| json!({ "reason": d.reason, "message": d.message }))
            .collect();
        let page = json!({
            "ready": snapshot.ready,
            "degraded": degraded,
            "version": crate::VERSION,
            "node": app.settings.node_name,
            "instance": snapshot.facts.as_ref().map(|f| &f.instance),
            "instanceType": snapshot.facts.as_ref().map(|f| &f.instance_type),
            "mode": match snapshot.config.mode {
                vpc_ipam_core::config::AllocationMode::Prefix => "prefix",
                vpc_ipam_core::config::AllocationMode::Secondary => "secondary",
            },
            "addresses": {
                "total": stats.total,
                "assigned": stats.assigned,
                "cooling": stats.cooling,
                "orphaned": stats.orphaned,
            },
            "prefixes": stats.prefixes,
            "enis": stats.enis.len(),
            "waiting": stats.waiting,
            "inFlight": stats.in_flight,
        });
        json_body(StatusCode::OK, &page)
    })
    .await
}

async fn with_snapshot(app: &App, answer: impl FnOnce(&Snapshot) -> Response) -> Response {
    match timeout(SNAPSHOT_MAX, app.handle.snapshot()).await {
        Ok(Ok(snapshot)) => answer(&snapshot),
        Ok(Err(e)) => {
            json_body(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": e.to_string() }))
        }
        Err(_) => {
            let error = format!("no answer from the pool within {} s", SNAPSHOT_MAX.as_secs());
            json_body(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": error }))
        }
    }
}

fn json_body(code: StatusCode, value: &Value) -> Response {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(text, "{value}");
    body(code, text)
}

fn body(code: StatusCode, text: String) -> Response {
    (code, [(CONTENT_TYPE, "application/json")], text).into_response()
}
