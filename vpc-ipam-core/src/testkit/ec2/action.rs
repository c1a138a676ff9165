//! The EC2 actions that the model knows.

use std::{fmt, str::FromStr};

use super::error::Ec2Error;

macro_rules! actions {
    ($($name:ident),* $(,)?) => {
        /// An EC2 action, named as in the Query protocol.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Ec2Action {
            $(#[doc = concat!("`", stringify!($name), "`")] $name,)*
        }

        impl Ec2Action {
            /// All actions, in alphabetical order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The action's name on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

actions!(
    AssignIpv6Addresses,
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    CreateNetworkInterface,
    CreateTags,
    DeleteNetworkInterface,
    DescribeInstanceTypes,
    DescribeInstances,
    DescribeNetworkInterfaces,
    DescribeRegions,
    DescribeSecurityGroups,
    DescribeSubnets,
    DescribeTags,
    DescribeVpcs,
    DetachNetworkInterface,
    ModifyNetworkInterfaceAttribute,
    UnassignIpv6Addresses,
    UnassignPrivateIpAddresses,
);

impl fmt::Display for Ec2Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Ec2Action {
    type Err = Ec2Error;

    /// `InvalidAction` for a name that the model does not know.
    fn from_str(name: &str) -> Result<Self, Ec2Error> {
        Self::ALL
            .iter()
            .copied()
            .find(|a| a.as_str() == name)
            .ok_or_else(|| Ec2Error::invalid_action(name))
    }
}
