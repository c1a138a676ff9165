//! Which calls the settings allow. Asked where a call is about to be sent, so that no path leads past it,
//! and where work begins, so that nothing is left half done.

use vpc_ipam_core::cloud::{CloudError, CloudErrorKind};

/// What actions that change nothing begin with.
const READING: &str = "Describe";

/// What may be asked of EC2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Permit {
    /// Nothing.
    pub(crate) imds_only: bool,
    /// To change something.
    pub(crate) provisioning: bool,
}

impl Permit {
    /// Why `action` must not be sent; `None` if it may.
    pub(crate) fn refusal(self, action: &str) -> Option<CloudError> {
        let why = if self.imds_only {
            "ENABLE_IMDS_ONLY_MODE=true: EC2 is not asked for anything; unset it to let the daemon use EC2"
        } else if !self.provisioning && !action.starts_with(READING) {
            "DISABLE_NETWORK_RESOURCE_PROVISIONING=true: nothing is created, changed or deleted in EC2; \
             unset it to let the daemon do that"
        } else {
            return None;
        };
        Some(CloudError::new(CloudErrorKind::Disabled, action, why))
    }

    /// # Errors
    ///
    /// If `action` must not be sent.
    pub(crate) fn check(self, action: &str) -> Result<(), CloudError> {
        self.refusal(action).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_forbids_what_it_says() {
        for (imds_only, provisioning, reads, changes) in [
            (false, true, true, true),
            (false, false, true, false),
            (true, true, false, false),
            (true, false, false, false),
        ] {
            let permit = Permit { imds_only, provisioning };
            for action in ["DescribeSubnets", "DescribeNetworkInterfaces"] {
                assert_eq!(permit.check(action).is_ok(), reads, "{permit:?} {action}");
            }
            for action in
                ["CreateTags", "ModifyNetworkInterfaceAttribute", "DetachNetworkInterface"]
            {
                assert_eq!(permit.check(action).is_ok(), changes, "{permit:?} {action}");
            }
        }
    }
}
