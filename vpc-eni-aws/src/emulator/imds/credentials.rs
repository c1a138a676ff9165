//! Credentials of the instance's role. Nothing checks them; SDKs only want to have some.

use std::time::Duration;

use serde_json::json;
use vpc_ipam_core::time::Time;

use crate::emulator::rfc3339;

/// Name of the role.
pub(super) const ROLE: &str = "emulated-node-role";
/// As long as EC2's own.
const LIFETIME: Duration = Duration::from_secs(6 * 3600);

/// What `iam/security-credentials/<role>` says.
pub(super) fn document(now: Time) -> String {
    let document = json!({
        "Code": "Success",
        "LastUpdated": rfc3339::format(now),
        "Type": "AWS-HMAC",
        "AccessKeyId": "ASIAEMULATED00000000",
        "SecretAccessKey": "emulated/secret/access/key/without/value",
        "Token": "emulated-session-token",
        "Expiration": rfc3339::format(now + LIFETIME),
    });
    format!("{document:#}")
}
