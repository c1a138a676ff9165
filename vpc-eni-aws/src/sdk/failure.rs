//! Reads the SDK's errors.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use crate::{classify::Failure, http::AnswerTooLarge, imds::chain};

/// What went wrong, in words that need no SDK.
pub(super) fn read<E>(error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if find::<CredentialsError>(error) {
        return Failure::Credentials(chain(error));
    }
    if find::<AnswerTooLarge>(error) {
        return Failure::Malformed(chain(error));
    }
    match error {
        SdkError::ServiceError(context) => {
            let service = context.err();
            let status = context.raw().status().as_u16();
            match service.code().filter(|code| !code.is_empty()) {
                Some(code) => Failure::Refused {
                    code: code.to_owned(),
                    message: service.message().unwrap_or_default().to_owned(),
                },
                // No EC2 error document: a proxy or load balancer speaks.
                None if status >= 500 => Failure::Unreachable(format!("HTTP status {status}")),
                None => Failure::Malformed(format!("HTTP status {status} without an error code")),
            }
        }
        SdkError::ResponseError(_) => Failure::Malformed(chain(error)),
        // A construction failure is a fault of endpoint or configuration: nothing was sent.
        _ => Failure::Unreachable(chain(error)),
    }
}

/// True if there is an error of this type among the causes.
fn find<T: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<T>() {
            return true;
        }
        next = error.source();
    }
    false
}
