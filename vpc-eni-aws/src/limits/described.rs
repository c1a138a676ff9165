//! From what EC2 says of an instance type to limits that can be relied on.

use thiserror::Error;
use vpc_ipam_core::cloud::InstanceLimits;

use super::row::Hypervisor;

/// Network cards of one instance type that are read. The largest has 32.
pub const CARDS_MAX: usize = 64;

/// What `DescribeInstanceTypes` says of one type, as it says it. Every field may be missing there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Described {
    /// `instanceType`.
    pub name: String,
    /// `networkInfo.maximumNetworkInterfaces`: on all network cards together.
    pub enis: Option<i32>,
    /// `networkInfo.ipv4AddressesPerInterface`.
    pub ipv4_per_eni: Option<i32>,
    /// `networkInfo.defaultNetworkCardIndex`.
    pub default_card: Option<i32>,
    /// `networkInfo.networkCards`.
    pub cards: Vec<DescribedCard>,
    /// `hypervisor`.
    pub hypervisor: Option<String>,
    /// `bareMetal`.
    pub bare_metal: Option<bool>,
}

/// A network card of a [`Described`] type.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DescribedCard {
    /// `networkCardIndex`.
    pub index: Option<i32>,
    /// `maximumNetworkInterfaces`.
    pub enis: Option<i32>,
}

/// Network limits of one instance type that were read while running.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// For example `m5.large`.
    pub name: String,
    /// ENIs per network card, by card index; the default card's is never 0.
    pub card_enis: Vec<u32>,
    /// ENIs on the default network card, the primary ENI included.
    pub enis: u32,
    /// Index of the network card that holds the primary ENI.
    pub default_card: u32,
    /// IPv4 addresses per ENI, the primary one included.
    pub ipv4_per_eni: u32,
    /// Virtualisation.
    pub hypervisor: Hypervisor,
    /// True for metal.
    pub bare_metal: bool,
}

/// Why the description of a type was not accepted.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DescribedError {
    /// No type has no name.
    #[error("EC2 described an instance type without a name")]
    NoName,
    /// A limit that is missing or not positive.
    #[error("EC2 says of instance type {name} that {field} is {value:?}, which no instance has")]
    NoLimit {
        /// The type.
        name: String,
        /// EC2's name of the limit.
        field: &'static str,
        /// What EC2 said.
        value: Option<i32>,
    },
    /// An index below 0 or beyond [`CARDS_MAX`].
    #[error("EC2 says of instance type {name} that {field} is {value}, beyond any instance")]
    CardIndex {
        /// The type.
        name: String,
        /// EC2's name of the index.
        field: &'static str,
        /// What EC2 said.
        value: i32,
    },
}

impl Described {
    /// The limits. Without a list of cards, one card holds all ENIs; with several, the limit is the
    /// default card's, since the others serve only those who ask for them.
    ///
    /// # Errors
    ///
    /// [`DescribedError`] for a type without a name, an ENI or address limit that is not positive, or
    /// an impossible card.
    pub fn facts(&self) -> Result<Facts, DescribedError> {
        if self.name.is_empty() {
            return Err(DescribedError::NoName);
        }
        let total = self.positive(self.enis, "maximumNetworkInterfaces")?;
        let ipv4_per_eni = self.positive(self.ipv4_per_eni, "ipv4AddressesPerInterface")?;
        let card_enis = self.card_enis(total)?;
        let default_card = match (self.default_card, self.cards.as_slice()) {
            (None, [only]) => self.index(only.index, "networkCardIndex")?,
            (index, _) => self.index(index, "defaultNetworkCardIndex")?,
        };
        let enis = card_enis.get(default_card).copied().unwrap_or(0);
        if enis == 0 {
            return Err(self.no_limit("maximumNetworkInterfaces of the default card", None));
        }
        Ok(Facts {
            name: self.name.clone(),
            card_enis,
            enis,
            default_card: u32::try_from(default_card).unwrap_or(u32::MAX),
            ipv4_per_eni,
            hypervisor: Hypervisor::parse(self.hypervisor.as_deref().unwrap_or_default()),
            bare_metal: self.bare_metal.unwrap_or(false),
        })
    }

    fn card_enis(&self, total: u32) -> Result<Vec<u32>, DescribedError> {
        let mut card_enis = Vec::new();
        for card in &self.cards {
            let at = self.index(card.index, "networkCardIndex")?;
            if card_enis.len() <= at {
                card_enis.resize(at + 1, 0);
            }
            if let Some(enis) = card_enis.get_mut(at) {
                let several = card.enis.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
                *enis = if self.cards.len() == 1 { total } else { several };
            }
        }
        if card_enis.is_empty() {
            card_enis.push(total);
        }
        Ok(card_enis)
    }

    /// An absent index is 0: endpoints from before there were network cards have none.
    fn index(&self, value: Option<i32>, field: &'static str) -> Result<usize, DescribedError> {
        let value = value.unwrap_or(0);
        usize::try_from(value)
            .ok()
            .filter(|at| *at < CARDS_MAX)
            .ok_or_else(|| DescribedError::CardIndex { name: self.name.clone(), field, value })
    }

    fn positive(&self, value: Option<i32>, field: &'static str) -> Result<u32, DescribedError> {
        let limit = value.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        limit.ok_or_else(|| self.no_limit(field, value))
    }

    fn no_limit(&self, field: &'static str, value: Option<i32>) -> DescribedError {
        DescribedError::NoLimit { name: self.name.clone(), field, value }
    }
}

impl Facts {
    /// True where EC2 can delegate prefixes.
    pub fn prefixes(&self) -> bool {
        self.bare_metal || self.hypervisor == Hypervisor::Nitro
    }

    /// As the pool wants them.
    pub fn limits(&self) -> InstanceLimits {
        InstanceLimits {
            enis: self.enis,
            ipv4_per_eni: self.ipv4_per_eni,
            card_enis: self.card_enis.clone(),
            prefixes: self.prefixes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    /// Mostly what EC2 says, sometimes what nobody should.
    fn number() -> impl Strategy<Value = Option<i32>> {
        option::weighted(0.9, prop_oneof![8 => 0..80, 1 => -2..1, 1 => any::<i32>()])
    }

    proptest! {
        #[test]
        fn whatever_is_described_the_limits_are_possible_or_refused(
            name in "([a-z][0-9][.]large)?",
            (enis, ipv4_per_eni, default_card) in (number(), number(), option::of(0..4)),
            cards in vec((number(), number()), 0..5),
            hypervisor in option::of("nitro|xen||kvm"),
            bare_metal in any::<Option<bool>>(),
        ) {
            let cards: Vec<_> =
                cards.into_iter().map(|(index, enis)| DescribedCard { index, enis }).collect();
            let described =
                Described { name, enis, ipv4_per_eni, default_card, cards, hypervisor, bare_metal };
            if let Ok(facts) = described.facts() {
                prop_assert!(!facts.name.is_empty());
                prop_assert!(facts.enis > 0 && facts.ipv4_per_eni > 0, "{facts:?}");
                let default = facts.card_enis.get(facts.default_card as usize);
                prop_assert_eq!(default, Some(&facts.enis));
                prop_assert!(facts.card_enis.len() <= CARDS_MAX);
                let limits = facts.limits();
                prop_assert_eq!(limits.enis, facts.enis);
                prop_assert_eq!(limits.prefixes, facts.prefixes());
            } else {
                let sound = !described.name.is_empty()
                    && described.enis.is_some_and(|n| n > 0)
                    && described.ipv4_per_eni.is_some_and(|n| n > 0);
                let one_card = described.cards.is_empty() && default_card.unwrap_or(0) == 0;
                prop_assert!(!(sound && one_card), "refused: {described:?}");
            }
        }
    }
}
