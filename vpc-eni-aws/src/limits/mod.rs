//! Network limits of instance types: how many ENIs, how many addresses on each.
//!
//! The table is generated from EC2's `DescribeInstanceTypes` (`make limits`, docs/instance-limits.md).
//! Types that it lacks are asked of EC2 while running; [`Described`] has the rules by which such an
//! answer is read, and the generator follows the same ones.
//!
//! ```
//! use vpc_eni_aws::limits::{self, Hypervisor, Trunk};
//!
//! let limits = limits::lookup("m5.large").ok_or("not in the table")?;
//! assert_eq!((limits.enis(), limits.ipv4_per_eni()), (3, 10));
//! assert_eq!(limits.hypervisor(), Hypervisor::Nitro);
//! assert_eq!(limits.max_pods(), 29);
//! assert!(limits.prefixes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod described;
mod line;
mod row;
mod table;

use vpc_ipam_core::cloud::InstanceLimits;

pub use self::{
    described::{CARDS_MAX, Described, DescribedCard, DescribedError, Facts},
    row::{Hypervisor, NAME_BYTES_MAX, Trunk, TypeLimits},
};

/// All types of the table, sorted by name.
pub fn all() -> &'static [TypeLimits] {
    &table::TYPES
}

/// The type of that name, if the table has it. A binary search.
pub fn lookup(instance_type: &str) -> Option<&'static TypeLimits> {
    let at = all().binary_search_by(|row| row.name_bytes().cmp(instance_type.as_bytes()));
    at.ok().and_then(|at| all().get(at))
}

/// Limits of the type of that name as the pool wants them, if the table has it.
pub fn known(instance_type: &str) -> Option<InstanceLimits> {
    lookup(instance_type).map(TypeLimits::limits)
}

#[cfg(test)]
mod tests;
