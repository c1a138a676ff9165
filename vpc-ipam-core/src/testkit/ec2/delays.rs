//! How long EC2's changes take.

use std::time::Duration;

/// Delays of everything that is not immediate in EC2. All zero by default.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Delays {
    /// From the attach call until EC2 says `attached` and `in-use`.
    pub attach: Duration,
    /// From the detach call until EC2 says `available`.
    pub detach: Duration,
    /// From the attach call, or the end of a detachment, until instance metadata shows it.
    pub attach_to_imds: Duration,
    /// From a change of addresses or groups until instance metadata shows it, in both directions.
    pub address_to_imds: Duration,
    /// From the attach call until the link appears in the instance.
    pub link_after_attach: Duration,
}

impl Delays {
    /// Everything at once.
    pub const NONE: Self = Self {
        attach: Duration::ZERO,
        detach: Duration::ZERO,
        attach_to_imds: Duration::ZERO,
        address_to_imds: Duration::ZERO,
        link_after_attach: Duration::ZERO,
    };

    /// What a good day in EC2 looks like: attachments of about a second, metadata some seconds late.
    pub const USUAL: Self = Self {
        attach: Duration::from_millis(500),
        detach: Duration::from_secs(2),
        attach_to_imds: Duration::from_secs(2),
        address_to_imds: Duration::from_secs(4),
        link_after_attach: Duration::from_secs(1),
    };
}
