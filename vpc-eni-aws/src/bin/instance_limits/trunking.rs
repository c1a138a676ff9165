//! Which types can hold a trunk ENI. `DescribeInstanceTypes` does not say.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::limits::{Facts, Hypervisor, Trunk};

/// One line per family after comments: "FAMILY SIZE=BRANCHES …", 0 branches for types without trunks.
const PUBLISHED: &str = include_str!("trunking.txt");

/// A line of another form, or with a type that was there before.
#[derive(Debug, Eq, Error, PartialEq)]
#[error("line {0} of trunking.txt is not \"FAMILY SIZE=BRANCHES …\", or repeats a type")]
pub(crate) struct BadLine(usize);

/// Branch ENIs by type.
#[derive(Debug)]
pub(crate) struct Trunking(BTreeMap<String, u32>);

impl Trunking {
    /// What is published.
    pub(crate) fn published() -> Result<Self, BadLine> {
        Self::parse(PUBLISHED)
    }

    fn parse(text: &str) -> Result<Self, BadLine> {
        let mut branches = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (family, sizes) = line.split_once(' ').ok_or(BadLine(number))?;
            for word in sizes.split(' ') {
                let (size, count) = word.split_once('=').ok_or(BadLine(number))?;
                let count = count.parse().map_err(|_| BadLine(number))?;
                if branches.insert(format!("{family}.{size}"), count).is_some() {
                    return Err(BadLine(number));
                }
            }
        }
        Ok(Self(branches))
    }

    /// What is known of a type. Trunks need Nitro, and no burstable type has them (EKS user guide,
    /// "Assign security groups to individual Pods").
    pub(crate) fn of(&self, facts: &Facts) -> Trunk {
        match self.0.get(&facts.name) {
            Some(0) => Trunk::No,
            Some(&branch_enis) => Trunk::Yes { branch_enis },
            None if facts.hypervisor == Hypervisor::Xen || burstable(&facts.name) => Trunk::No,
            None => Trunk::Unknown,
        }
    }
}

/// `t` and a digit; `trn1` is none.
fn burstable(name: &str) -> bool {
    let generation = name.strip_prefix('t').and_then(|rest| rest.chars().next());
    generation.is_some_and(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::entry::example;

    #[test]
    fn what_is_not_published_follows_only_from_what_is() {
        let trunking = Trunking::parse("# comment\n\nm5 large=9 xlarge=18\ng5g metal=0\n").unwrap();
        let xen = Facts { hypervisor: Hypervisor::Xen, ..example("m4.large", &[2], 10) };
        for (facts, trunk) in [
            (example("m5.large", &[3], 10), Trunk::Yes { branch_enis: 9 }),
            (example("g5g.metal", &[15], 50), Trunk::No),
            (xen, Trunk::No),
            (example("t9x.large", &[3], 12), Trunk::No),
            (example("trn9.large", &[3], 12), Trunk::Unknown),
        ] {
            assert_eq!(trunking.of(&facts), trunk, "{}", facts.name);
        }
    }

    #[test]
    fn bad_lines_are_named() {
        for text in
            ["a b=1\nm5.large", "a b=1\nm5 large=x", "a b=1\na c=1 b=1", "a b=1\na c=1  d=1"]
        {
            assert_eq!(Trunking::parse(text).unwrap_err(), BadLine(2), "{text}");
        }
        Trunking::published().unwrap();
    }
}
