//! EC2's Query protocol: `POST /`, a form in, XML out.

mod call;
mod describe;
#[cfg(test)]
mod hostile;
mod interfaces;
mod paging;
mod places;
mod render;
mod unsupported;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, RawQuery, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use vpc_ipam_core::testkit::ec2::{Ec2Action, Ec2Error, code};

use self::call::Call;
use super::{
    form::Form,
    server::{Service, Shared},
    xml::Xml,
};

const XMLNS: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";
const XML: &str = "text/xml;charset=UTF-8";
const FORM: &str = "application/x-www-form-urlencoded";
const API_VERSION: &str = "2016-11-15";
/// Far above any request of a CNI; EC2 itself takes about as much.
const BODY_LEN_MAX: usize = 1 << 20;

pub(super) fn service(shared: Arc<Shared>) -> Service {
    let router = Router::new()
        .route("/", post(handle).get(handle_query).fallback(elsewhere))
        .fallback(elsewhere)
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .with_state(shared);
    Service(router)
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes().to_ascii_lowercase());
    // Who says nothing is believed to send a form.
    if kind.is_none_or(|kind| kind.starts_with(FORM.as_bytes())) {
        let body = body.map_err(|rejection| rejection.body_text());
        return reply(shared, body).await;
    }
    reply(shared, Err(format!("The body must be {FORM}."))).await
}

async fn handle_query(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    reply(shared, Ok(query.unwrap_or_default().into())).await
}

/// What is not EC2's address.
async fn elsewhere(State(shared): State<Arc<Shared>>) -> Response {
    let error = Ec2Error::new("InvalidRequest", "EC2 is at / and takes POST and GET.");
    let xml = render_error(&error, &shared.request_id());
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, XML)], xml).into_response()
}

async fn reply(shared: Arc<Shared>, body: Result<Bytes, String>) -> Response {
    let request_id = shared.request_id();
    let mut late = Duration::ZERO;
    let answer = match body {
        Ok(body) => answer(&shared, &body, &request_id, &mut late),
        Err(why) => Err(Ec2Error::new("MalformedQueryString", why)),
    };
    let (status, xml) = match answer {
        Ok(xml) => (StatusCode::OK, xml),
        Err(error) => (status(&error), render_error(&error, &request_id)),
    };
    // Told before the answer goes out: a client that has an address must be able to use it.
    shared.settle().await;
    if !late.is_zero() {
        tokio::time::sleep(late).await;
    }
    (status, [(header::CONTENT_TYPE, XML)], xml).into_response()
}

/// `late`: how much later the answer is to go out.
fn answer(
    shared: &Shared,
    body: &[u8],
    request_id: &str,
    late: &mut Duration,
) -> Result<String, Ec2Error> {
    let mut form = Form::parse(body)?;
    let action: Ec2Action = form
        .text("Action")
        .filter(|action| !action.is_empty())
        .ok_or_else(|| Ec2Error::new("MissingAction", "The request must name an Action."))?
        .parse()?;
    check_version(&form.required("Version")?)?;
    let dry_run = form.value("DryRun")?.unwrap_or(false);
    let now = shared.now();
    let mut world = shared.world();
    *late = shared.latencies.delay(action, || form.all_values(), &world, now);
    let before = world.calls().get(&action).copied();
    let mut inner = Xml::default();
    inner.text("requestId", request_id);
    let mut call = Call { action, form, world: &mut world, now, dry_run, xml: inner };
    let result = call.run();
    let inner = call.xml.finish();
    if world.calls().get(&action).copied() == before {
        world.count_refused(action, now);
    }
    result?;
    let mut xml = Xml::document();
    xml.root(&format!("{action}Response"), XMLNS, |x| x.raw(&inner));
    Ok(xml.finish())
}

fn check_version(version: &str) -> Result<(), Ec2Error> {
    if version == API_VERSION {
        return Ok(());
    }
    let version: String = version.chars().take(64).collect();
    Err(Ec2Error::new(
        "NoSuchVersion",
        format!("The requested version ({version}) of service AmazonEC2 does not exist"),
    ))
}

fn status(error: &Ec2Error) -> StatusCode {
    match error.code.as_ref() {
        code::DRY_RUN_OPERATION => StatusCode::PRECONDITION_FAILED,
        code::UNAUTHORIZED_OPERATION => StatusCode::FORBIDDEN,
        "AuthFailure" => StatusCode::UNAUTHORIZED,
        code::INTERNAL_ERROR | "InternalFailure" => StatusCode::INTERNAL_SERVER_ERROR,
        code::REQUEST_LIMIT_EXCEEDED | "ServiceUnavailable" | "Unavailable" => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        code::NO_ANSWER => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn render_error(error: &Ec2Error, request_id: &str) -> String {
    let mut xml = Xml::document();
    xml.element("Response", |x| {
        x.element("Errors", |x| {
            x.element("Error", |x| {
                x.text("Code", &error.code);
                x.text("Message", &error.message);
            });
        });
        x.text("RequestID", request_id);
    });
    xml.finish()
}
