//! The SDK's requests answered by an emulator in the same process, without sockets.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use aws_sdk_ec2::config::{
    HttpClient, RuntimeComponents, SharedHttpClient,
    http::{HttpRequest, HttpResponse},
};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        result::ConnectorError,
    },
    http,
};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
};
use tower::ServiceExt as _;
use vpc_ipam_core::id::InstanceId;

use super::Transport;
use crate::{
    config::AwsConfigBuilder,
    emulator::{Emulator, Service},
};

/// Stands in for host names: no request leaves the process.
const EC2_URL: &str = "http://ec2.emulator";
const IMDS_URL: &str = "http://imds.emulator";
/// Longest answer taken from the emulator. A page of a thousand full ENIs is about 15 MB of XML.
const ANSWER_LEN_MAX: usize = 64 << 20;

impl AwsConfigBuilder {
    /// Lets `emulator` answer every request, as to `instance`, in this process and without sockets.
    ///
    /// All else is as it is on AWS: the SDK signs, retries, times out and parses. Together with a paused
    /// clock of tokio and an emulator that [follows it](crate::emulator::tokio_clock), hours of a node
    /// pass in moments.
    #[must_use]
    pub fn in_process(self, emulator: &Emulator, instance: &InstanceId) -> Self {
        let clock = emulator.clone();
        let transport = Transport {
            now: Arc::new(move || UNIX_EPOCH + Duration::from_millis(clock.now().as_millis())),
            ec2: client("ec2", emulator.ec2_router()),
            imds: client("imds", emulator.imds_router(instance)),
        };
        self.ec2_endpoint(EC2_URL)
            .imds_endpoint(IMDS_URL)
            .static_credentials("emulator", "emulator")
            .transport(transport)
    }
}

fn client(name: &'static str, service: Service) -> SharedHttpClient {
    SharedHttpClient::new(InProcess { name, router: Arc::new(service.0) })
}

#[derive(Clone)]
struct InProcess {
    name: &'static str,
    router: Arc<Router>,
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InProcess").field(&self.name).finish()
    }
}

impl HttpClient for InProcess {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let router = Router::clone(&self.router);
        HttpConnectorFuture::new(async move { answer(router, request).await })
    }
}

async fn answer(router: Router, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let broken = |e: axum::BoxError| ConnectorError::user(e);
    let request = request.try_into_http1x().map_err(|e| broken(e.into()))?;
    let (head, body) = request.into_parts();
    // Requests of these clients are forms and empty bodies: never streams.
    let body = body.bytes().map(<[u8]>::to_vec).unwrap_or_default();
    let request = Request::from_parts(head, Body::from(body));
    let answer = router.oneshot(request).await.map_err(|never| match never {})?;
    let (head, body) = answer.into_parts();
    let body = to_bytes(body, ANSWER_LEN_MAX).await.map_err(|e| broken(e.into()))?;
    let whole = axum::http::Response::from_parts(head, body.to_vec());
    let response = http::Response::try_from(whole).map_err(|e| broken(e.into()))?;
    Ok(response.map(Into::into))
}
