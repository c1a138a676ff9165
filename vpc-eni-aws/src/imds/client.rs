//! The SDK's metadata client on our session, with the failures told apart.

use aws_config::{
    imds::{
        Client,
        client::{EndpointMode, error::ImdsError},
    },
    provider_config::ProviderConfig,
};
use aws_sdk_ec2::config::{
    IntoShared,
    http::HttpResponse,
    interceptors::InterceptorContext,
    retry::{ClassifyRetry, RetryAction},
};

use super::session::{Session, ToToken, WithoutToken};
use crate::{
    config::{AwsConfig, AwsConfigError, ImdsMode},
    http,
};

/// As the SDK's own rule, except for refused tokens: those are the session's.
#[derive(Debug)]
struct RetryServerErrors;

impl ClassifyRetry for RetryServerErrors {
    fn name(&self) -> &'static str {
        "RetryServerErrors"
    }

    fn classify_retry(&self, ctx: &InterceptorContext) -> RetryAction {
        match ctx.response() {
            Some(response) if response.status().is_server_error() => RetryAction::server_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }
}

/// Times: 1 s to connect and 1 s for an answer to begin are the SDK's; the answer must have come within the time that
/// every request has.
pub(super) fn build(config: &AwsConfig) -> Result<Client, AwsConfigError> {
    let session = Session::new(http::for_imds(config), config.imds_v1);
    let provider = ProviderConfig::default().with_http_client(session);
    let mut builder = Client::builder()
        .configure(&provider)
        .operation_attempt_timeout(config.http_timeout)
        .retry_classifier(RetryServerErrors.into_shared());
    if let Some(url) = &config.imds_endpoint {
        builder = builder.endpoint(url).map_err(|e| AwsConfigError::Endpoint {
            what: "IMDS",
            url: url.to_owned(),
            why: e.to_string(),
        })?;
    } else if let Some(mode) = config.imds_mode {
        builder = builder.endpoint_mode(match mode {
            ImdsMode::V4 => EndpointMode::IpV4,
            ImdsMode::V6 => EndpointMode::IpV6,
        });
    }
    Ok(builder.build())
}

/// An answer that was no success.
pub(super) fn refusal(error: &ImdsError) -> Option<Refusal<'_>> {
    match error {
        ImdsError::ErrorResponse(context) => Some(Refusal(context.response())),
        _ => None,
    }
}

pub(super) struct Refusal<'a>(&'a HttpResponse);

impl Refusal<'_> {
    pub(super) fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    /// True if it is the request for a token that was refused.
    pub(super) fn to_token(&self) -> bool {
        self.0.extension::<ToToken>().is_some()
    }

    /// Why there is no token, where one was wanted.
    pub(super) fn without_token(&self) -> Option<&str> {
        self.0.extension::<WithoutToken>().map(|without| without.0.as_str())
    }
}
