//! Steps to kernel: rtnetlink steps that follow one another go out together.

use super::{LinuxDatapath, lock};
use crate::{
    desired::Step,
    netlink::{Batch, NetlinkError},
};

impl LinuxDatapath {
    /// Takes `steps` in order, up to the first group of which one fails.
    pub(super) fn apply(&self, steps: &[Step]) -> Result<(), NetlinkError> {
        groups(steps).try_for_each(|group| self.apply_group(group))
    }

    /// Takes all `steps` whatever happens; the failures are returned together.
    pub(super) fn apply_all(&self, steps: &[Step]) -> Result<(), Vec<NetlinkError>> {
        let errors: Vec<_> =
            groups(steps).filter_map(|group| self.apply_group(group).err()).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn apply_group(&self, group: &[Step]) -> Result<(), NetlinkError> {
        if let [Step::Nft(transaction)] = group {
            return self.with_nft(|socket| socket.commit(transaction));
        }
        let batch: Batch = group.iter().filter_map(Step::request).collect();
        let result = lock(&self.route).run(&batch);
        let Err(NetlinkError::Refused(mut refusals)) = result else { return result };
        // Somebody else was quicker, or a step before took this one's object along.
        refusals.retain(|r| !group.get(r.index).is_some_and(|step| step.is_moot(r.kind())));
        if refusals.is_empty() { Ok(()) } else { Err(NetlinkError::Refused(refusals)) }
    }
}

/// Runs of rtnetlink steps, and single nftables steps.
fn groups(steps: &[Step]) -> impl Iterator<Item = &[Step]> {
    steps.chunk_by(|a, b| !matches!(a, Step::Nft(_)) && !matches!(b, Step::Nft(_)))
}
