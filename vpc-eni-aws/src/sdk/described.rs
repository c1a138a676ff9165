//! What EC2 says of an instance type. The generator of the built-in table has this module too, so
//! that both read an answer alike.

use aws_sdk_ec2::types::InstanceTypeInfo;

use crate::limits::{Described, DescribedCard};

/// The SDK's form of a type, as ours.
pub(crate) fn described(from: &InstanceTypeInfo) -> Described {
    let network = from.network_info();
    let card = |card: &aws_sdk_ec2::types::NetworkCardInfo| DescribedCard {
        index: card.network_card_index(),
        enis: card.maximum_network_interfaces(),
    };
    Described {
        name: from.instance_type().map(|name| name.as_str().to_owned()).unwrap_or_default(),
        enis: network.and_then(|network| network.maximum_network_interfaces()),
        ipv4_per_eni: network.and_then(|network| network.ipv4_addresses_per_interface()),
        default_card: network.and_then(|network| network.default_network_card_index()),
        cards: network
            .map(|network| network.network_cards())
            .unwrap_or_default()
            .iter()
            .map(card)
            .collect(),
        hypervisor: from.hypervisor().map(|hypervisor| hypervisor.as_str().to_owned()),
        bare_metal: from.bare_metal(),
    }
}
