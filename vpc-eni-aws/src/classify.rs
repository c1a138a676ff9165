//! The one table that turns what EC2 says into what callers branch on, and into a remedy.

use vpc_ipam_core::cloud::{CloudError, CloudErrorKind};

use crate::pace::HeldBack;

/// Longest part of EC2's own message that is kept. Encoded authorization failures run to kilobytes.
const MESSAGE_LEN_MAX: usize = 600;

/// What EC2 writes before an encoded reason.
const ENCODED_MARK: &str = "Encoded authorization failure message:";
/// How to read one.
const DECODING_HINT: &str = "; EC2 also gave an encoded reason, which is in the daemon's log: read it with \
                             aws sts decode-authorization-message --encoded-message TEXT";
/// Longest encoded reason that is logged. They have some 2 kB.
const ENCODED_LEN_MAX: usize = 8192;

/// A failed call before it is classified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The credential chain gave nothing.
    Credentials(String),
    /// A setting forbids the call.
    Disabled(String),
    /// Not sent: there was no token for it.
    HeldBack(HeldBack),
    /// An answer that makes no sense.
    Malformed(String),
    /// The service refused.
    Refused {
        /// Its error code.
        code: String,
        /// Its message.
        message: String,
    },
    /// No answer.
    Unreachable(String),
}

/// Makes the error that callers see.
pub(crate) fn classify(action: &str, failure: &Failure) -> CloudError {
    match failure {
        Failure::Credentials(why) => CloudError::new(
            CloudErrorKind::PermissionDenied,
            action,
            format!(
                "no AWS credentials: {}; give the node an instance role, or the daemon's service \
                 account a role or pod identity",
                cut(why)
            ),
        ),
        Failure::HeldBack(held) => held_back(action, held),
        Failure::Disabled(why) => CloudError::new(CloudErrorKind::Disabled, action, why.as_str()),
        Failure::Malformed(why) => malformed(action, why),
        Failure::Refused { code, message } => refused(action, code, message),
        Failure::Unreachable(why) => CloudError::new(
            CloudErrorKind::Unreachable,
            action,
            format!(
                "EC2 did not answer: {}; check the route, security groups and endpoint to EC2 \
                 (a private subnet needs a NAT gateway or an ec2 VPC endpoint)",
                cut(why)
            ),
        ),
    }
}

fn held_back(action: &str, held: &HeldBack) -> CloudError {
    let HeldBack { class, rate, waited, waiting } = held;
    CloudError::new(
        CloudErrorKind::Throttled,
        action,
        format!(
            "held back by the client-side limit for {class} calls ({} at once, then one in \
             {:.2?}), {waiting} waiting: it was not sent within {waited:.1?}; EC2 itself has not \
             refused it, and it is tried again later",
            rate.capacity, rate.interval
        ),
    )
}

/// An answer of EC2 that cannot be used.
pub(crate) fn malformed(action: &str, why: &str) -> CloudError {
    CloudError::new(
        CloudErrorKind::Malformed,
        action,
        format!("EC2's answer cannot be used: {}", cut(why)),
    )
}

fn refused(action: &str, code: &str, message: &str) -> CloudError {
    let kind = kind(code, message);
    let shown_code = if code.is_empty() { "(no error code)" } else { code };
    let (message, encoded) = without_encoded_part(message);
    let mut text = format!("{}: {}", cut(shown_code), cut(message));
    if let Some(remedy) = remedy(action, code, message, kind) {
        text.push_str("; ");
        text.push_str(&remedy);
    }
    if let Some(encoded) = encoded {
        text.push_str(DECODING_HINT);
        let encoded: String = encoded.chars().take(ENCODED_LEN_MAX).collect();
        tracing::info!(action, encoded, "EC2's encoded reason for a refusal");
    }
    CloudError::new(kind, action, text).with_code(cut(code))
}

/// EC2's own words, and the encoded reason that ends some of them: kilobytes that only IAM can read.
fn without_encoded_part(message: &str) -> (&str, Option<&str>) {
    match message.split_once(ENCODED_MARK) {
        Some((words, encoded)) => (words.trim_end(), Some(encoded.trim())),
        None => (message, None),
    }
}

fn kind(code: &str, message: &str) -> CloudErrorKind {
    match code {
        "AttachmentLimitExceeded" => CloudErrorKind::AttachmentLimit,
        "AccessDenied"
        | "AccessDeniedException"
        | "AuthFailure"
        | "Blocked"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "MissingAuthenticationToken"
        | "OptInRequired"
        | "PendingVerification"
        | "RequestExpired"
        | "SignatureDoesNotMatch"
        | "UnauthorizedOperation"
        | "UnrecognizedClientException" => CloudErrorKind::PermissionDenied,
        "EC2ThrottledException"
        | "PriorRequestNotComplete"
        | "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException"
        | "TransactionInProgressException" => CloudErrorKind::Throttled,
        "IncorrectState" | "InvalidNetworkInterface.InUse" => CloudErrorKind::InUse,
        "InsufficientCidrBlocks" => CloudErrorKind::InsufficientPrefixes,
        "InsufficientFreeAddressesInSubnet" => CloudErrorKind::InsufficientAddresses,
        "InternalError" | "InternalFailure" | "ServiceUnavailable" | "Unavailable" => {
            CloudErrorKind::Unreachable
        }
        "InvalidAttachmentID.NotFound"
        | "InvalidGroup.NotFound"
        | "InvalidInstanceID.NotFound"
        | "InvalidNetworkInterfaceID.NotFound"
        | "InvalidNetworkInterfaceId.NotFound"
        | "InvalidSubnetID.NotFound" => CloudErrorKind::Gone,
        "InvalidParameterValue" => parameter_kind(message),
        "PrivateIpAddressLimitExceeded" => CloudErrorKind::AddressLimit,
        _ => CloudErrorKind::Other,
    }
}

/// EC2 has no codes of their own for an ENI in use and for a device index that is taken.
fn parameter_kind(message: &str) -> CloudErrorKind {
    let message = message.to_ascii_lowercase();
    if message.contains("currently in use") {
        CloudErrorKind::InUse
    } else if message.contains("attached at device index") {
        CloudErrorKind::AttachmentLimit
    } else {
        CloudErrorKind::Other
    }
}

fn remedy(action: &str, code: &str, message: &str, kind: CloudErrorKind) -> Option<String> {
    let text = match (code, kind) {
        ("ExpiredToken" | "ExpiredTokenException", _) => {
            "the credentials have expired: check that the role can still be assumed".to_owned()
        }
        ("RequestExpired" | "SignatureDoesNotMatch", _) => {
            "check the node's clock and the secret key".to_owned()
        }
        ("AuthFailure" | "InvalidClientTokenId" | "UnrecognizedClientException", _) => {
            "the access key is not valid here: check which credentials the daemon uses".to_owned()
        }
        ("OptInRequired" | "PendingVerification" | "Blocked", _) => {
            "the AWS account itself may not use EC2 here: see to that with AWS".to_owned()
        }
        (_, CloudErrorKind::PermissionDenied) => permission(action, message),
        (_, CloudErrorKind::AddressLimit) => {
            "the ENI is full; another ENI or a larger instance type is needed".to_owned()
        }
        (_, CloudErrorKind::AttachmentLimit) => {
            "the instance has no room for another ENI; free one or use a larger instance type"
                .to_owned()
        }
        (_, CloudErrorKind::InsufficientAddresses) => {
            "the subnet is used up: free addresses in it or give the node a larger subnet".to_owned()
        }
        (_, CloudErrorKind::InsufficientPrefixes) => {
            "no aligned /28 is free in the subnet, though single addresses may be: reserve a CIDR \
             block for prefixes (CreateSubnetCidrReservation) or use an emptier subnet"
                .to_owned()
        }
        (_, CloudErrorKind::Throttled) => {
            "the account's EC2 request rate is exceeded; it is tried again later".to_owned()
        }
        ("NetworkInterfaceLimitExceeded", _) => {
            "the account's quota of ENIs in this region is used up: delete unused ENIs or ask for a \
             higher quota (L-DF5E4CA3)"
                .to_owned()
        }
        ("InvalidSubnetID.NotFound" | "InvalidGroup.NotFound", _) => {
            "check the subnet and security groups of the ENIConfig, or of the primary ENI".to_owned()
        }
        _ => return None,
    };
    Some(text)
}

/// The permission that is missing. EC2 names it only sometimes, and then it need not be that of the action:
/// an ENI that is born with tags takes two.
fn permission(action: &str, message: &str) -> String {
    let named = message.split("ec2:").nth(1).map(|rest| {
        rest.chars().take_while(char::is_ascii_alphanumeric).take(64).collect::<String>()
    });
    let missing = match named.filter(|named| !named.is_empty()) {
        Some(named) => format!("ec2:{named}"),
        None if action == "CreateNetworkInterface" => {
            format!("ec2:{action} and ec2:CreateTags (for the tags that ENIs are born with)")
        }
        None => format!("ec2:{action}"),
    };
    format!("allow {missing} in the IAM role of the daemon (managed policy AmazonEKS_CNI_Policy)")
}

/// The beginning of a text, without control characters.
fn cut(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut kept: String = text.trim().chars().take(MESSAGE_LEN_MAX).map(clean).collect();
    if text.trim().chars().nth(MESSAGE_LEN_MAX).is_some() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refuse(code: &str, message: &str) -> CloudError {
        let failure = Failure::Refused { code: code.into(), message: message.into() };
        classify("AttachNetworkInterface", &failure)
    }

    #[test]
    fn each_code_has_its_kind() {
        use CloudErrorKind as K;
        // With what the message says of the remedy, if there is one.
        for (code, kind, remedy) in [
            ("InvalidNetworkInterfaceID.NotFound", K::Gone, ""),
            ("InvalidAttachmentID.NotFound", K::Gone, ""),
            ("InvalidInstanceID.NotFound", K::Gone, ""),
            ("InvalidSubnetID.NotFound", K::Gone, "ENIConfig"),
            ("InvalidGroup.NotFound", K::Gone, "ENIConfig"),
            ("InsufficientCidrBlocks", K::InsufficientPrefixes, "CreateSubnetCidrReservation"),
            ("InsufficientFreeAddressesInSubnet", K::InsufficientAddresses, "larger subnet"),
            ("PrivateIpAddressLimitExceeded", K::AddressLimit, "another ENI"),
            ("AttachmentLimitExceeded", K::AttachmentLimit, "larger instance type"),
            ("UnauthorizedOperation", K::PermissionDenied, "ec2:AttachNetworkInterface"),
            ("RequestLimitExceeded", K::Throttled, "tried again later"),
            ("Throttling", K::Throttled, "tried again later"),
            ("ThrottlingException", K::Throttled, "tried again later"),
            ("EC2ThrottledException", K::Throttled, "tried again later"),
            ("SlowDown", K::Throttled, "tried again later"),
            ("InvalidNetworkInterface.InUse", K::InUse, ""),
            ("Unavailable", K::Unreachable, ""),
            ("InvalidParameterValue", K::Other, ""),
            ("OperationNotPermitted", K::Other, ""),
            ("NetworkInterfaceLimitExceeded", K::Other, "quota"),
            ("ExpiredToken", K::PermissionDenied, "expired"),
            ("OptInRequired", K::PermissionDenied, "account"),
            ("", K::Other, ""),
        ] {
            let error = refuse(code, "m");
            assert_eq!(error.kind, kind, "{code}");
            assert_eq!(error.action, "AttachNetworkInterface");
            assert_eq!(error.code.as_deref(), Some(code).filter(|code| !code.is_empty()));
            assert!(error.message.contains(code) && error.message.contains(remedy), "{error}");
        }
    }

    #[test]
    fn invalid_parameter_value_is_told_apart_by_its_message() {
        let code = "InvalidParameterValue";
        let in_use = "Network interface 'eni-1' is currently in use.";
        assert_eq!(refuse(code, in_use).kind, CloudErrorKind::InUse);
        let taken = "Instance 'i-1' already has an interface attached at device index '1'.";
        assert_eq!(refuse(code, taken).kind, CloudErrorKind::AttachmentLimit);
        assert_eq!(refuse(code, "Bad SubnetId").kind, CloudErrorKind::Other);
    }

    #[test]
    fn a_missing_permission_names_the_iam_action() {
        let denied = |action: &str, message: &str| {
            let code = "UnauthorizedOperation".into();
            classify(action, &Failure::Refused { code, message: message.into() }).message
        };
        let text = denied("AttachNetworkInterface", "You are not authorized.");
        assert!(text.contains("allow ec2:AttachNetworkInterface in"), "{text}");
        let text = denied("CreateNetworkInterface", "You are not authorized.");
        assert!(text.contains("allow ec2:CreateNetworkInterface and ec2:CreateTags"), "{text}");
        let words = "You are not authorized to perform: ec2:CreateTags on resource: arn:aws:ec2:x";
        let text = denied("CreateNetworkInterface", words);
        assert!(text.contains("allow ec2:CreateTags in"), "{text}");
    }

    #[test]
    fn an_encoded_reason_is_not_shown_but_said_how_to_read() {
        let secret = "Zm9v".repeat(600);
        let message =
            format!("You are not authorized. Encoded authorization failure message: {secret}");
        let text = refuse("UnauthorizedOperation", &message).message;
        assert!(!text.contains("Zm9v"), "{text}");
        for part in
            ["You are not authorized.", "ec2:Attach", "aws sts decode-authorization-message"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_a_short_single_line(code in ".*", message in ".{0,3000}") {
            let error = refuse(&code, &message);
            prop_assert!(error.message.chars().count() < 2 * MESSAGE_LEN_MAX + 400);
            prop_assert!(!error.message.chars().any(char::is_control));
        }
    }
}
