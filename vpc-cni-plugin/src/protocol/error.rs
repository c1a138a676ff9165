//! CNI errors: what a runtime is told when a command fails.

use serde::Serialize;
use thiserror::Error;

/// Error codes of the CNI spec, and the one that this plugin uses for failures of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Code {
    /// 1: the configuration's version does not allow this.
    IncompatibleVersion,
    /// 4: an environment variable is missing or invalid.
    InvalidEnvironment,
    /// 5: standard input could not be read.
    Io,
    /// 6: the configuration could not be decoded.
    Decode,
    /// 7: the configuration says something impossible.
    InvalidConfig,
    /// 8: the pod's network namespace is the plugin's own.
    OwnNetns,
    /// 11: nothing is wrong for good; the runtime should try again.
    TryAgainLater,
    /// 999: wiring failed, or the daemon refused.
    Plugin,
}

impl Code {
    /// The number in the error's JSON.
    pub fn number(self) -> u32 {
        match self {
            Self::IncompatibleVersion => 1,
            Self::InvalidEnvironment => 4,
            Self::Io => 5,
            Self::Decode => 6,
            Self::InvalidConfig => 7,
            Self::OwnNetns => 8,
            Self::TryAgainLater => 11,
            Self::Plugin => 999,
        }
    }
}

/// A failed command, as the runtime is told.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{msg}{}{details}", if details.is_empty() { "" } else { ": " })]
#[non_exhaustive]
pub struct CniError {
    /// Kind of failure.
    pub code: Code,
    /// What failed, in a few words.
    pub msg: String,
    /// Cause and remedy; may be empty.
    pub details: String,
}

impl CniError {
    /// An error with the sentence `msg`, and `details` that give cause and remedy.
    pub fn new(code: Code, msg: impl Into<String>, details: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: details.into() }
    }

    /// The error as JSON. `cni_version` is the configuration's, or the newest one if that is unknown.
    pub fn to_json(&self, cni_version: &str) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            cni_version: &'a str,
            code: u32,
            msg: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            details: &'a str,
        }
        let wire =
            Wire { cni_version, code: self.code.number(), msg: &self.msg, details: &self.details };
        serde_json::to_string(&wire).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_form_of_the_spec() {
        let e = CniError::new(Code::InvalidConfig, "invalid \"name\"", "");
        assert_eq!(
            e.to_json("1.0.0"),
            r#"{"cniVersion":"1.0.0","code":7,"msg":"invalid \"name\""}"#
        );
        let e = CniError::new(Code::TryAgainLater, "no address", "wait");
        assert_eq!(
            e.to_json("0.4.0"),
            r#"{"cniVersion":"0.4.0","code":11,"msg":"no address","details":"wait"}"#
        );
        assert_eq!(e.to_string(), "no address: wait");
    }
}
