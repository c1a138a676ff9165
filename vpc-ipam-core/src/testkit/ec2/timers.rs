//! What happens later: attachments finish, links appear, detachments end.

use std::collections::BTreeMap;

use super::{
    change::{AttachedEni, WorldChange},
    delays::Delays,
    eni::{Attachment, AttachmentStatus, InterfaceType},
    world::World,
};
use crate::{id::EniId, time::Time};

#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    Attached,
    Detached,
    Link,
}

/// Due changes by time, and in the order of asking where the time is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<(Time, u64), (Due, EniId, String)>,
    asked: u64,
}

impl Timers {
    fn push(&mut self, at: Time, due: Due, eni: &EniId, attachment: &str) {
        self.asked += 1;
        self.due.insert((at, self.asked), (due, eni.clone(), attachment.to_owned()));
    }

    fn pop(&mut self, now: Time) -> Option<(Time, (Due, EniId, String))> {
        let entry = self.due.first_entry().filter(|e| e.key().0 <= now)?;
        let at = entry.key().0;
        Some((at, entry.remove()))
    }

    fn next(&self) -> Option<Time> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }
}

impl World {
    /// When something will change by itself, if anything will.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Lets everything happen that is due at `now`. Every call does so first.
    pub fn advance(&mut self, now: Time) {
        let now = now.max(self.now());
        while let Some((at, (due, eni, attachment))) = self.timers.pop(now) {
            // One step at a time: metadata's delays count from when a thing happened.
            self.set_now(at);
            let current = self.enis.get(&eni).and_then(|e| e.attachment.as_ref());
            if current.is_none_or(|a| a.id != attachment) {
                continue;
            }
            match due {
                Due::Attached => self.finish_attachment(&eni),
                Due::Detached => self.finish_detachment(&eni),
                Due::Link => self.show_link(&eni),
            }
        }
        self.set_now(now);
    }

    pub(super) fn start_attachment(&mut self, eni: &EniId, attachment: Attachment, delays: Delays) {
        let now = self.now();
        self.timers.push(now + delays.attach, Due::Attached, eni, &attachment.id);
        self.timers.push(now + delays.link_after_attach, Due::Link, eni, &attachment.id);
        if let Some(eni) = self.enis.get_mut(eni) {
            eni.attachment = Some(attachment);
        }
        self.touch(eni);
        self.publish(eni, delays.attach_to_imds);
        self.advance(now);
    }

    pub(super) fn start_detachment(&mut self, eni: &EniId, delays: Delays) {
        let now = self.now();
        let Some(attachment) = self.enis.get_mut(eni).and_then(|e| e.attachment.as_mut()) else {
            return;
        };
        attachment.status = AttachmentStatus::Detaching;
        self.timers.push(now + delays.detach, Due::Detached, eni, &attachment.id);
        self.touch(eni);
        self.advance(now);
    }

    fn finish_attachment(&mut self, eni: &EniId) {
        if let Some(attachment) = self.enis.get_mut(eni).and_then(|e| e.attachment.as_mut())
            && attachment.status == AttachmentStatus::Attaching
        {
            attachment.status = AttachmentStatus::Attached;
        }
        self.touch(eni);
    }

    pub(super) fn finish_detachment(&mut self, id: &EniId) {
        let Some(eni) = self.enis.get_mut(id) else { return };
        let Some(attachment) = eni.attachment.take() else { return };
        let mac = eni.mac;
        self.touch(id);
        let delay = self.delays.attach_to_imds;
        self.publish_gone(&attachment.instance, id, delay);
        if attachment.link {
            self.push_change(WorldChange::EniDetached {
                eni: id.clone(),
                mac,
                instance: attachment.instance,
                device: attachment.device,
                card: attachment.card,
            });
        }
    }

    fn show_link(&mut self, id: &EniId) {
        let Some(eni) = self.enis.get_mut(id) else { return };
        let primary = eni.is_primary();
        let Some(attachment) = eni.attachment.as_mut() else { return };
        // An EFA-only device is no network device, and one that is leaving never becomes one.
        let Some(primary_ip) = eni.primary_ip.filter(|_| eni.kind != InterfaceType::EfaOnly) else {
            return;
        };
        if attachment.status == AttachmentStatus::Detaching {
            return;
        }
        attachment.link = true;
        let (mac, subnet) = (eni.mac, eni.subnet.clone());
        let (instance, device, card) =
            (attachment.instance.clone(), attachment.device, attachment.card);
        self.touch(id);
        let Some(subnet_cidr) = self.subnet(&subnet).map(|s| s.cidr) else { return };
        self.push_change(WorldChange::EniAttached(AttachedEni {
            eni: id.clone(),
            mac,
            instance,
            device,
            card,
            subnet_cidr,
            primary_ip,
            primary,
        }));
        self.tell_addresses(id);
    }

    /// What every change of addresses ends with.
    pub(super) fn addresses_changed(&mut self, eni: &EniId) {
        let delay = self.delays.address_to_imds;
        self.touch(eni);
        self.publish(eni, delay);
        self.tell_addresses(eni);
    }

    fn tell_addresses(&mut self, id: &EniId) {
        let Some(eni) = self.enis.get(id) else { return };
        // Without a link there is nobody to tell: the whole list follows when it appears.
        if let (Some(primary_ip), true) =
            (eni.primary_ip, eni.attachment.as_ref().is_some_and(|a| a.link))
        {
            let owned = eni.owned();
            self.push_change(WorldChange::AddressesChanged { eni: id.clone(), primary_ip, owned });
        }
    }
}
