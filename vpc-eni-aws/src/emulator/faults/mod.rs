//! Faults as data: what EC2 and metadata do wrong, to whom and when.

mod active;
mod ec2;
mod inject;
mod metadata;
mod pending;
mod schema;
#[cfg(test)]
mod tests;
mod timing;

use vpc_ipam_core::testkit::ec2::{Consistency, Delays, RequestRates};

use self::schema::Root;
use super::file::{ConsistencySpec, DelaysSpec, FileError, Source, ThrottlingSpec};

pub(super) use self::{
    active::{Answer, Latencies, MetadataFaults},
    inject::Before,
    metadata::omit,
    pending::pending,
};
pub use self::{ec2::Ec2Fault, metadata::MetadataFault, timing::Timing};

/// A list of faults, from a file or built in a program; [`Emulator::inject`](super::Emulator::inject)
/// lets them happen. `docs/emulator.md` lists the keys of a file.
///
/// ```
/// use std::time::Duration;
/// use vpc_eni_aws::emulator::{Ec2Fault, Faults, MetadataFault};
/// use vpc_ipam_core::testkit::ec2::Ec2Action;
///
/// let built = Faults::new()
///     .ec2(Ec2Fault::refused("InternalError", "try again")
///         .on(Ec2Action::DeleteNetworkInterface)
///         .times(11))
///     .metadata(MetadataFault::status(404, "/latest/meta-data/mac").times(2))
///     .metadata(MetadataFault::frozen(Duration::from_secs(60)).after(Duration::from_secs(5)));
///
/// let read = Faults::parse("faults.toml", r#"
///     [[ec2]]
///     action = "DeleteNetworkInterface"
///     error = "InternalError"
///     message = "try again"
///     times = 11
///
///     [[imds]]
///     path = "/latest/meta-data/mac"
///     status = 404
///     times = 2
///
///     [[imds]]
///     frozen = "60s"
///     after = "5s"
/// "#)?;
/// assert_eq!(built, read);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[must_use]
pub struct Faults {
    ec2: Vec<Ec2Fault>,
    metadata: Vec<MetadataFault>,
    delays: Option<DelaysSpec>,
    consistency: Option<ConsistencySpec>,
    throttling: Option<ThrottlingSpec>,
}

impl Faults {
    /// Nothing goes wrong.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads TOML; `file` is its name, for messages.
    ///
    /// # Errors
    ///
    /// If it is not TOML, has a key that does not exist or that makes no sense beside the others, or a
    /// value of the wrong kind.
    pub fn parse(file: &str, text: &str) -> Result<Self, FileError> {
        let source = Source::new(file, text);
        Ok(source.toml::<Root>()?.into())
    }

    /// Reads JSON with the same keys; `file` is its name, for messages.
    ///
    /// # Errors
    ///
    /// Those of [`parse`](Self::parse).
    pub fn parse_json(file: &str, text: &str) -> Result<Self, FileError> {
        let source = Source::new(file, text);
        Ok(source.json::<Root>()?.into())
    }

    /// With a further fault of EC2. Of several that are due, a call meets the first.
    pub fn ec2(mut self, fault: Ec2Fault) -> Self {
        self.ec2.push(fault);
        self
    }

    /// With a further fault of instance metadata.
    pub fn metadata(mut self, fault: MetadataFault) -> Self {
        self.metadata.push(fault);
        self
    }

    /// Changes take so long from now on.
    pub fn delays(mut self, delays: Delays) -> Self {
        self.delays = Some(delays.into());
        self
    }

    /// EC2's answers are so consistent from now on.
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = Some(consistency.into());
        self
    }

    /// EC2 may be called so often from now on; the buckets are full.
    pub fn throttling(mut self, rates: RequestRates) -> Self {
        self.throttling = Some(ThrottlingSpec(rates));
        self
    }
}

impl From<Root> for Faults {
    fn from(root: Root) -> Self {
        Self {
            ec2: root.ec2,
            metadata: root.imds,
            delays: root.delays,
            consistency: root.consistency,
            throttling: root.throttling,
        }
    }
}
