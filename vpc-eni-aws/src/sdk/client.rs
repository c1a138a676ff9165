//! Makes the EC2 client.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use aws_config::{
    BehaviorVersion, ConfigLoader, FrameworkMetadata, Region,
    default_provider::credentials::DefaultCredentialsChain, provider_config::ProviderConfig,
    retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_sdk_ec2::config::{Credentials, SharedHttpClient};
use vpc_ipam_core::id::InstanceId;

use super::{
    Sdk,
    paced::{Gate, Retries},
};
use crate::{
    config::{AwsConfig, CredentialSource, SDK_ATTEMPTS, USER_AGENT_NAME},
    counts::Recorder,
    http,
    imds::Imds,
    pace::Pacer,
};

/// Version in the user agent of a build that was not told its own.
const VERSION_UNKNOWN: &str = env!("CARGO_PKG_VERSION");

/// An EC2 client for `region`. Reads profiles and the environment through the SDK, sends nothing.
pub(crate) async fn connect(
    config: &AwsConfig,
    region: String,
    imds: &Imds,
    node: Option<&InstanceId>,
    recorder: Arc<Recorder>,
    pacer: Arc<Pacer>,
) -> Sdk {
    let region = Region::new(region);
    // Given in code, so that the SDK does not read AWS_MAX_ATTEMPTS, where 0 makes it panic.
    let retries = RetryConfig::standard().with_max_attempts(SDK_ATTEMPTS);
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(config.http_timeout).build();
    let http = http::for_ec2(config);
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http.clone())
        .region(region.clone())
        .retry_config(retries.clone())
        .timeout_config(timeouts);
    let version = config.version.clone().unwrap_or_else(|| VERSION_UNKNOWN.to_owned());
    if let Ok(metadata) = FrameworkMetadata::new(USER_AGENT_NAME, Some(version)) {
        loader = loader.framework_metadata(metadata);
    }
    loader = with_credentials(loader, config, region, http, imds).await;
    let shared = loader.load().await;
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    let seed = hasher.finish();
    let mut builder = aws_sdk_ec2::config::Builder::from(&shared)
        // The pause before a retry is ours to choose: the SDK's is cut to nothing.
        .retry_config(retries.with_initial_backoff(Duration::from_millis(1)))
        .interceptor(Gate)
        .retry_classifier(Retries { pacer: Arc::clone(&pacer), seed });
    // Only for EC2: the credential providers must not be sent there.
    if let Some(url) = &config.ec2_endpoint {
        builder = builder.endpoint_url(url);
    }
    Sdk {
        client: aws_sdk_ec2::Client::from_conf(builder.build()),
        recorder,
        pacer,
        permit: config.permit(),
    }
}

async fn with_credentials(
    loader: ConfigLoader,
    config: &AwsConfig,
    region: Region,
    http: SharedHttpClient,
    imds: &Imds,
) -> ConfigLoader {
    match &config.credentials {
        CredentialSource::Static { access_key_id, secret_access_key } => {
            let id = access_key_id.as_str();
            loader.credentials_provider(Credentials::new(
                id,
                secret_access_key,
                None,
                None,
                "Static",
            ))
        }
        // The role's credentials come by the way that all metadata comes.
        CredentialSource::DefaultChain => {
            let provider = ProviderConfig::default().with_http_client(http);
            let chain = DefaultCredentialsChain::builder()
                .configure(provider)
                .region(region)
                .imds_client(imds.client())
                .build();
            loader.credentials_provider(chain.await)
        }
    }
}
