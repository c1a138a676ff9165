//! Actions by name.

use serde::Deserialize;
use vpc_ipam_core::testkit::ec2::Ec2Action;

/// An action of EC2 as a value or a key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "String")]
pub(in crate::emulator) struct ActionName(pub(in crate::emulator) Ec2Action);

impl TryFrom<String> for ActionName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse().map(Self).map_err(|_| {
            let known: Vec<&str> = Ec2Action::ALL.iter().map(|a| a.as_str()).collect();
            format!("{name:?} is no action of this emulator; it has {}", known.join(", "))
        })
    }
}
