//! What the daemon answers: the plugin over gRPC, people and Prometheus over HTTP.

mod bounded;
pub(crate) mod enis;
pub(crate) mod grpc;
pub(crate) mod introspect;
pub(crate) mod listen;
pub(crate) mod metrics;
mod pace;
#[cfg(test)]
mod tests;
