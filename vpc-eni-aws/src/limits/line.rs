//! The words that the table is written in. The compiler evaluates them: a failed assertion is a
//! compile error. Not every table has every kind of type.
#![allow(dead_code)]

use super::{
    row::{Hypervisor, NAME_BYTES_MAX, TypeLimits},
    table::CARDS,
};

pub(super) const fn nitro(name: &str, cards: &[u8], ipv4_per_eni: u8) -> TypeLimits {
    row(name, cards, ipv4_per_eni, Hypervisor::Nitro)
}

pub(super) const fn xen(name: &str, cards: &[u8], ipv4_per_eni: u8) -> TypeLimits {
    // Trunks need Nitro.
    row(name, cards, ipv4_per_eni, Hypervisor::Xen).no_trunk()
}

pub(super) const fn unknown(name: &str, cards: &[u8], ipv4_per_eni: u8) -> TypeLimits {
    row(name, cards, ipv4_per_eni, Hypervisor::Unknown)
}

pub(super) const fn metal(name: &str, cards: &[u8], ipv4_per_eni: u8) -> TypeLimits {
    TypeLimits { bare_metal: true, ..unknown(name, cards, ipv4_per_eni) }
}

impl TypeLimits {
    pub(super) const fn default_is_card(self, card: u8, enis: u8) -> Self {
        Self { default_card: card, enis, ..self }
    }

    pub(super) const fn hypervisor_is(self, hypervisor: Hypervisor) -> Self {
        Self { hypervisor, ..self }
    }

    pub(super) const fn branches(self, branch_enis: u8) -> Self {
        Self { trunk: Some(branch_enis), ..self }
    }

    pub(super) const fn no_trunk(self) -> Self {
        self.branches(0)
    }
}

const fn row(name: &str, cards: &[u8], ipv4_per_eni: u8, hypervisor: Hypervisor) -> TypeLimits {
    let mut padded = [0; NAME_BYTES_MAX];
    assert!(name.len() <= padded.len(), "the name is longer than NAME_BYTES_MAX");
    padded.split_at_mut(name.len()).0.copy_from_slice(name.as_bytes());
    let (enis, cards) = match cards {
        [enis] => (*enis, 0),
        [first, ..] => (*first, place(cards)),
        [] => (0, 0),
    };
    assert!(enis > 0 && ipv4_per_eni > 0, "no ENIs or no addresses");
    TypeLimits {
        name: padded,
        enis,
        ipv4_per_eni,
        default_card: 0,
        cards,
        hypervisor,
        bare_metal: false,
        trunk: None,
    }
}

const fn place(cards: &[u8]) -> u8 {
    let (mut left, mut at, mut found) = (CARDS, 0, 0);
    while let [shape, rest @ ..] = left {
        at += 1;
        if same(shape, cards) {
            found = at;
        }
        left = rest;
    }
    assert!(found != 0, "CARDS does not have these cards");
    found
}

const fn same(mut a: &[u8], mut b: &[u8]) -> bool {
    while let ([x, rest_a @ ..], [y, rest_b @ ..]) = (a, b) {
        if *x != *y {
            return false;
        }
        (a, b) = (rest_a, rest_b);
    }
    a.is_empty() && b.is_empty()
}
