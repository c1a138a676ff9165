//! The SDK's HTTP client, as each service needs it.

use aws_sdk_ec2::config::SharedHttpClient;
use aws_smithy_http_client::{Builder, Connector, proxy::ProxyConfig, tls};

use super::{
    bounded::{Bounded, EC2, IMDS},
    trust::Trust,
};
use crate::config::AwsConfig;

/// For EC2 and whoever gives credentials. Proxies of the environment are used, as the SDK does on its own.
pub(crate) fn for_ec2(config: &AwsConfig) -> SharedHttpClient {
    let inner = match &config.transport {
        Some(transport) => transport.ec2.clone(),
        None => https(config.trust.as_ref(), ProxyConfig::from_env()),
    };
    SharedHttpClient::new(Bounded { inner, limits: EC2 })
}

/// For instance metadata. Never through a proxy, whatever the environment says: it would ask for the metadata
/// of the proxy's own instance.
pub(crate) fn for_imds(config: &AwsConfig) -> SharedHttpClient {
    let inner = match &config.transport {
        Some(transport) => transport.imds.clone(),
        None => https(config.trust.as_ref(), ProxyConfig::disabled()),
    };
    SharedHttpClient::new(Bounded { inner, limits: IMDS })
}

/// One connector, with its pool of connections, per set of timeouts.
fn https(trust: Option<&Trust>, proxy: ProxyConfig) -> SharedHttpClient {
    let store = trust.map(Trust::store);
    Builder::new().build_with_connector_fn(move |settings, components| {
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
        let mut builder = Connector::builder().tls_provider(provider).proxy_config(proxy.clone());
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        let context =
            store.clone().map(|store| tls::TlsContext::builder().with_trust_store(store).build());
        if let Some(Ok(context)) = context {
            builder.set_tls_context(context);
        }
        builder.build()
    })
}
