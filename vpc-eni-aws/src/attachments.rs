//! The node's attachments as EC2 listed them last, and what has become of them since by our own doing.
//!
//! So that neither attaching nor detaching an ENI begins with looking. Old knowledge can do no harm:
//! an attachment id names one attachment for ever, and EC2 does not know it any more once that has
//! ended; a device index that is taken is refused. Either costs one refused call, then a look.

use std::collections::{BTreeMap, BTreeSet};

use vpc_ipam_core::id::{EniId, InstanceId};

use crate::api::{AttachmentState, Ec2Eni};

#[derive(Clone, Debug, Eq, PartialEq)]
struct Known {
    attachment: String,
    card: u32,
    device: u32,
    /// It can be asked to end.
    held: bool,
}

/// What is known of them.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    /// EC2 has listed them.
    listed: bool,
    known: BTreeMap<EniId, Known>,
}

impl Attachments {
    /// EC2 lists `enis`. Those in `recent` it may not list yet.
    pub(crate) fn learn(
        &mut self,
        instance: &InstanceId,
        enis: &[Ec2Eni],
        recent: &BTreeSet<EniId>,
    ) {
        self.listed = true;
        self.known.retain(|eni, _| recent.contains(eni));
        for eni in enis {
            if let Some(attachment) = eni.attached_to(instance) {
                let known = Known {
                    attachment: attachment.id.clone(),
                    card: attachment.card,
                    device: attachment.device,
                    held: is_held(attachment.state),
                };
                self.known.insert(eni.id.clone(), known);
            }
        }
    }

    /// We have attached an ENI.
    pub(crate) fn attached(&mut self, eni: EniId, attachment: String, card: u32, device: u32) {
        self.known.insert(eni, Known { attachment, card, device, held: true });
    }

    /// We have deleted an ENI.
    pub(crate) fn deleted(&mut self, eni: &EniId) {
        self.known.remove(eni);
    }

    /// Device indexes in use on a card; `None` before EC2 has listed any.
    pub(crate) fn devices(&self, card: u32) -> Option<BTreeSet<u32>> {
        let on_card = self.known.values().filter(|known| known.card == card);
        self.listed.then(|| on_card.map(|known| known.device).collect())
    }

    /// Id of the attachment that must go before the ENI can, if that is known.
    pub(crate) fn to_detach(&self, eni: &EniId) -> Option<String> {
        self.known.get(eni).filter(|known| known.held).map(|known| known.attachment.clone())
    }
}

/// True if the attachment must be told to end.
pub(crate) fn is_held(state: AttachmentState) -> bool {
    matches!(state, AttachmentState::Attached | AttachmentState::Attaching)
}
