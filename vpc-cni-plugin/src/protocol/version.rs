//! Versions of the CNI spec.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// A version of the CNI spec that this plugin speaks.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum SpecVersion {
    /// Lists of interfaces and addresses; DEL gets no previous result.
    V0_3_0,
    /// As 0.3.0, with a corrected result.
    V0_3_1,
    /// CHECK, and the previous result on DEL.
    V0_4_0,
    /// Addresses no longer say their family.
    V1_0_0,
    /// STATUS and GC.
    V1_1_0,
}

impl SpecVersion {
    /// Every version, oldest first.
    pub const ALL: [Self; 5] =
        [Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The newest version.
    pub const LATEST: Self = Self::V1_1_0;

    /// The version as it is written in a configuration; `None` if this plugin does not speak it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.as_str() == text)
    }

    /// The version as it is written in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// True if each address of a result says its family.
    pub fn addresses_say_family(self) -> bool {
        self < Self::V1_0_0
    }

    /// True if a result of version `other` can be read as one of this version: the two generations
    /// have different forms.
    pub fn reads(self, other: Self) -> bool {
        self.addresses_say_family() == other.addresses_say_family()
    }

    /// All versions as one text, for messages.
    pub fn list() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Answer to VERSION as JSON: the caller's own version and all that are supported.
///
/// `stdin` may be anything. A caller that asks which versions there are may well speak another one,
/// so nothing it sends is an error.
pub fn version_reply(stdin: &[u8]) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Reply<'a> {
        cni_version: &'a str,
        supported_versions: [&'static str; SpecVersion::ALL.len()],
    }
    let config = serde_json::from_slice::<Value>(stdin).unwrap_or_default();
    let asked = config.get("cniVersion").and_then(Value::as_str).filter(|v| !v.is_empty());
    let reply = Reply {
        cni_version: asked.unwrap_or(SpecVersion::LATEST.as_str()),
        supported_versions: SpecVersion::ALL.map(SpecVersion::as_str),
    };
    serde_json::to_string(&reply).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_exact_spellings_are_versions() {
        for v in SpecVersion::ALL {
            assert_eq!(SpecVersion::parse(v.as_str()), Some(v));
        }
        for bad in ["", "0.1.0", "0.2.0", "0.4", "v1.0.0", "1.0.0 ", "1.2.0", "2.0.0"] {
            assert_eq!(SpecVersion::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn version_echoes_the_caller_and_survives_anything() {
        let list = r#""supportedVersions":["0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}"#;
        for (stdin, version) in [
            (r#"{"cniVersion":"1.0.0"}"#, "1.0.0"),
            (r#"{"cniVersion":"9.9.9"}"#, "9.9.9"),
            ("", "1.1.0"),
            ("{}", "1.1.0"),
            ("[1", "1.1.0"),
            (r#"{"cniVersion":7}"#, "1.1.0"),
            (r#"{"cniVersion":""}"#, "1.1.0"),
        ] {
            let want = format!(r#"{{"cniVersion":"{version}",{list}"#);
            assert_eq!(version_reply(stdin.as_bytes()), want, "{stdin}");
        }
    }

    #[test]
    fn generations_do_not_mix() {
        assert!(SpecVersion::V0_4_0.reads(SpecVersion::V0_3_0));
        assert!(SpecVersion::V1_1_0.reads(SpecVersion::V1_0_0));
        assert!(!SpecVersion::V0_4_0.reads(SpecVersion::V1_0_0));
        assert!(!SpecVersion::V1_0_0.reads(SpecVersion::V0_4_0));
    }
}
