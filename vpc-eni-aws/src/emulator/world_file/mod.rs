//! World files: the VPCs, subnets and instances of a world, in TOML.

mod build;
mod eni;
mod names;
mod schema;
#[cfg(test)]
mod tests;

use vpc_ipam_core::{testkit::ec2::World, time::Time};

use self::{build::Builder, schema::Root};
use super::file::{FileError, Source};

/// A world file that has been read. `docs/emulator.md` lists its keys.
///
/// ```
/// use vpc_eni_aws::emulator::WorldFile;
/// use vpc_ipam_core::time::Time;
///
/// let file = WorldFile::parse("two-zones.toml", r#"
///     [[vpcs]]
///     cidrs = ["10.0.0.0/16", "100.64.0.0/16"]
///
///     [[vpcs.subnets]]
///     name = "pods"
///     zone = "b"
///     cidr = "100.64.0.0/24"
///     tags = { "kubernetes.io/role/cni" = "1" }
///
///     [[instances]]
///     type = "m5.large"
///     subnet = "pods"
/// "#)?;
/// let world = file.build(Time::ZERO)?;
/// assert_eq!(world.instances().len(), 1);
///
/// let error = WorldFile::parse("bad.toml", "vpcs = []\ncolour = 1").unwrap_err();
/// assert!(error.to_string().starts_with("bad.toml:2:1: unknown field `colour`"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct WorldFile {
    source: Source,
    root: Root,
}

impl WorldFile {
    /// The text of [`standard`](Self::standard).
    pub const STANDARD: &'static str = include_str!("standard.toml");

    /// Reads `text`; `file` is its name, for messages.
    ///
    /// # Errors
    ///
    /// If it is not TOML, has a key that does not exist, or a value of the wrong kind.
    pub fn parse(file: &str, text: &str) -> Result<Self, FileError> {
        let source = Source::new(file, text);
        let root = source.toml()?;
        Ok(Self { source, root })
    }

    /// One VPC, two zones, and a subnet and an `m5.large` in each.
    ///
    /// # Errors
    ///
    /// None: the text is part of the program, and a test reads it.
    pub fn standard() -> Result<Self, FileError> {
        Self::parse("standard.toml", Self::STANDARD)
    }

    /// True if metadata answers requests without a token (IMDSv1).
    pub fn imds_v1(&self) -> bool {
        self.root.imds_v1
    }

    /// Makes the world as it is at `start`, when its instances are started.
    ///
    /// # Errors
    ///
    /// If the parts do not fit together: the first mistake, with its place.
    pub fn build(&self, start: Time) -> Result<World, FileError> {
        Builder::new(&self.source, &self.root, start).build()
    }
}
