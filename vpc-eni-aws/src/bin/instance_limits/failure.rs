//! What ends a run.

use thiserror::Error;

use crate::{merge::Conflict, render::DoesNotFit, trunking::BadLine};

/// Why there is no table.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum Failure {
    /// EC2 did not answer, or refused.
    #[error("{action} in {region}: {why}")]
    Ec2 { action: &'static str, region: String, why: String },
    /// EC2 named no region.
    #[error("DescribeRegions in {0} named no region; is the endpoint EC2?")]
    NoRegion(String),
    /// More pages than there can be.
    #[error("DescribeInstanceTypes in {region} goes on after {max} pages; is the endpoint EC2?")]
    Endless { region: String, max: usize },
    #[error(transparent)]
    Conflict(#[from] Box<Conflict>),
    #[error(transparent)]
    DoesNotFit(#[from] DoesNotFit),
    #[error(transparent)]
    Trunking(#[from] BadLine),
    #[error("cannot write to {to}: {source}")]
    Write { to: String, source: std::io::Error },
}
