//! What carries requests: the SDK's own HTTP client, with our trust store and a bound on answers.

mod bounded;
mod client;
mod trust;

pub(crate) use self::{
    bounded::AnswerTooLarge,
    client::{for_ec2, for_imds},
    trust::{Trust, TrustError},
};
