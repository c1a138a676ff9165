//! The SDK's metadata client, with the failures told apart.

use aws_config::{
    imds::{Client, client::error::ImdsError},
    provider_config::ProviderConfig,
};
use aws_sdk_ec2::config::{
    IntoShared,
    interceptors::InterceptorContext,
    retry::{ClassifyRetry, RetryAction},
};

use crate::{config::AwsConfigError, sdk::Transport};

/// As the SDK's own rule, except that a refused token is not tried again with the same token.
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

pub(super) fn build(
    endpoint: Option<&str>,
    transport: Option<&Transport>,
) -> Result<Client, AwsConfigError> {
    let mut builder = Client::builder().retry_classifier(RetryServerErrors.into_shared());
    if let Some(transport) = transport {
        let config = ProviderConfig::default().with_http_client(transport.imds.clone());
        builder = builder.configure(&config);
    }
    if let Some(url) = endpoint {
        builder = builder.endpoint(url).map_err(|e| AwsConfigError::Endpoint {
            what: "IMDS",
            url: url.to_owned(),
            why: e.to_string(),
        })?;
    }
    Ok(builder.build())
}

/// HTTP status of an answer that was no success.
pub(super) fn status(error: &ImdsError) -> Option<u16> {
    match error {
        ImdsError::ErrorResponse(context) => Some(context.response().status().as_u16()),
        _ => None,
    }
}

/// True if the token was refused.
pub(super) fn is_unauthorized(error: &ImdsError) -> bool {
    status(error) == Some(401)
}
