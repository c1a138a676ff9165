//! gRPC contract between plugin, daemon and network policy agent (`rpc/rpc.proto`).
//!
//! The messages are there always, the client side too; the server traits need feature `server`.

/// Messages, clients and, with feature `server`, server traits. Generated from `rpc/rpc.proto`; the
/// test `generated_code_is_current` rewrites it.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
#[rustfmt::skip]
mod generated;

pub use generated::*;

/// The daemon's unix socket.
pub const IPAMD_SOCKET: &str = "/var/run/aws-node/ipamd.sock";

/// The network policy agent's unix socket.
pub const NPA_SOCKET: &str = "/var/run/aws-node/npa.sock";

/// Service name under which the daemon reports its health, beside the empty name.
pub const HEALTH_SERVICE: &str = "grpc.health.v1.aws-node";

/// `Reason` of a DEL that the runtime asked for.
pub const REASON_POD_DELETED: &str = "PodDeleted";

/// `Reason` of a DEL that undoes the allocation of an ADD whose wiring failed.
pub const REASON_SETUP_FAILED: &str = "SetupNSFailed";

/// Part of the daemon's error text by which the reference's plugin, and this one, know that a
/// DEL concerns a sandbox that holds no address.
pub const UNKNOWN_POD: &str = "datastore: unknown pod";

/// What this build sends and serves as `ClientVersion`.
pub const CLIENT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// True if a daemon of this build serves a caller that says it is `client`.
///
/// The contract is versioned, not the build: during an upgrade the plugin and the daemon of two
/// builds meet, and refusing would fail every ADD in between. So every release of the same
/// compatible series (the same major version, or the same `0.minor`) is served, and so is a caller
/// that does not say. Any other is refused, as the reference does, since it may rely on what this
/// build does not do.
pub fn accepts_client(client: &str) -> bool {
    client.is_empty() || series(client) == series(CLIENT_VERSION)
}

/// The part of a version that stays the same as long as releases are compatible.
fn series(version: &str) -> &str {
    let mut dots = version.match_indices('.').map(|(at, _)| at);
    let (major_end, minor_end) = (dots.next(), dots.next());
    let end = if version.starts_with("0.") { minor_end } else { major_end };
    end.and_then(|at| version.get(..at)).unwrap_or(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_serves_its_series() {
        assert!(accepts_client(CLIENT_VERSION));
        assert!(accepts_client(""));
        assert!(!accepts_client("v1.23.1"));
        assert!(!accepts_client("0"));
        assert_eq!(series("0.1.7"), series("0.1.0"));
        assert_ne!(series("0.2.0"), series("0.1.0"));
        assert_eq!(series("1.4.0"), series("1.0.2"));
        assert_ne!(series("1.0.0"), series("10.0.0"));
        assert_ne!(series("1.0.0"), series("0.1.0"));
    }
}
