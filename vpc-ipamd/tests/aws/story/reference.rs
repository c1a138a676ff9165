//! What the reference calls in the same stories, computed from its rules; `docs/ec2-calls.md` has the
//! arithmetic.

/// Calls by action, in each phase.
pub(crate) type Calls = &'static [(&'static str, [u64; 4])];

pub(crate) const SECONDARY_WARM_ENI: Calls = &[
    ("AssignPrivateIpAddresses", [1, 0, 0, 0]),
    ("AttachNetworkInterface", [0, 3, 0, 0]),
    ("CreateNetworkInterface", [0, 3, 0, 0]),
    ("CreateTags", [1, 0, 0, 0]),
    ("DeleteNetworkInterface", [0, 0, 3, 0]),
    ("DescribeInstances", [0, 3, 0, 0]),
    ("DescribeNetworkInterfaces", [1, 0, 4, 1]),
    ("DescribeSubnets", [1, 6, 0, 0]),
    ("DetachNetworkInterface", [0, 0, 3, 0]),
    ("ModifyNetworkInterfaceAttribute", [1, 3, 0, 0]),
];

pub(crate) const SECONDARY_WARM_IP: Calls = &[
    ("AssignPrivateIpAddresses", [1, 22, 0, 0]),
    ("AttachNetworkInterface", [0, 3, 0, 0]),
    ("CreateNetworkInterface", [0, 3, 0, 0]),
    ("CreateTags", [1, 0, 0, 0]),
    ("DeleteNetworkInterface", [0, 0, 3, 0]),
    ("DescribeInstances", [0, 3, 0, 0]),
    ("DescribeNetworkInterfaces", [1, 0, 4, 1]),
    ("DescribeSubnets", [1, 6, 0, 0]),
    ("DetachNetworkInterface", [0, 0, 3, 0]),
    ("ModifyNetworkInterfaceAttribute", [1, 3, 0, 0]),
    ("UnassignPrivateIpAddresses", [0, 0, 4, 0]),
];

pub(crate) const PREFIX_WARM_PREFIX: Calls = &[
    ("AssignPrivateIpAddresses", [1, 4, 0, 0]),
    ("CreateTags", [1, 0, 0, 0]),
    ("DescribeNetworkInterfaces", [1, 0, 1, 1]),
    ("DescribeSubnets", [1, 0, 0, 0]),
    ("ModifyNetworkInterfaceAttribute", [1, 0, 0, 0]),
    ("UnassignPrivateIpAddresses", [0, 0, 1, 0]),
];

pub(crate) const PREFIX_WARM_IP: Calls = &[
    ("AssignPrivateIpAddresses", [1, 3, 0, 0]),
    ("CreateTags", [1, 0, 0, 0]),
    ("DescribeNetworkInterfaces", [1, 0, 1, 1]),
    ("DescribeSubnets", [1, 0, 0, 0]),
    ("ModifyNetworkInterfaceAttribute", [1, 0, 0, 0]),
    ("UnassignPrivateIpAddresses", [0, 0, 1, 0]),
];
