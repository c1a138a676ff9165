//! The state file and its journal: what is written in which order, so that any step may be the last.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use vpc_ipam_core::{
    checkpoint::{self, Changes},
    store::{StoreError, Takes},
};

use super::{disk::Disk, frame};

/// Longest journal, in bytes: three times what it takes to use each address that is claimed ahead once
/// and give it back. Reading it takes a millisecond.
const JOURNAL_MAX: usize = 64 << 10;

/// A journal that can be added to.
#[derive(Debug)]
struct Open {
    name: String,
    len: usize,
}

/// Files of one node. Writes come one at a time, but for the hint.
#[derive(Debug)]
pub(super) struct Books<D> {
    pub(super) disk: D,
    name: String,
    journaled: bool,
    open: Mutex<Option<Open>>,
}

impl<D: Disk> Books<D> {
    /// The books beside `name`. Removes what an interrupted write left over.
    pub(super) fn open(disk: D, name: &str, journaled: bool) -> io::Result<Self> {
        let temporary = format!("{name}.tmp");
        for leftover in disk.names()?.iter().filter(|other| other.starts_with(&temporary)) {
            disk.remove(leftover)?;
        }
        Ok(Self { disk, name: name.to_owned(), journaled, open: Mutex::new(None) })
    }

    fn fail(&self, name: &str, what: &str, why: &dyn std::fmt::Display) -> StoreError {
        StoreError::new(name.to_owned(), format!("{what}: {why}"))
    }

    fn state(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn journal(&self, hash: &str) -> String {
        format!("{}.journal-{hash}", self.name)
    }

    fn hint(&self) -> String {
        // No name that the reference uses.
        format!("{}.enis", self.name)
    }

    /// Replaces a file by rename, so that a reader finds the old or the new one, whole. Its name is not
    /// durable yet.
    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let temporary = format!("{}.tmp-{}", self.name, name.rsplit('.').next().unwrap_or(name));
        let replaced = self
            .disk
            .create(&temporary, content)
            .and_then(|()| self.disk.sync(&temporary))
            .and_then(|()| self.disk.rename(&temporary, name));
        if replaced.is_err() {
            // It may not even exist.
            let _ = self.disk.remove(&temporary);
        }
        replaced
    }

    /// The state file with what its journal adds.
    pub(super) fn load(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let fail = |e: io::Error| self.fail(&self.name, "cannot read", &e);
        let Some(content) = self.disk.read(&self.name).map_err(fail)? else { return Ok(None) };
        let hash = frame::hash(&content);
        let own = self.journal(&hash);
        self.set_others_aside(&own);
        let journal = self.disk.read(&own).map_err(|e| self.fail(&own, "cannot read", &e))?;
        let journal = journal.unwrap_or_default();
        let Some((records, rest)) = frame::records(&journal, &hash) else {
            return Ok(Some(content));
        };
        if rest > 0 {
            tracing::warn!(journal = own, bytes = rest, "the journal ends in an unfinished write");
        }
        // A file that cannot be read is for the caller to judge.
        let Ok(mut checkpoint) = checkpoint::decode(&content) else { return Ok(Some(content)) };
        for record in records {
            let changes = Changes::decode(record)
                .map_err(|e| self.fail(&own, "move it away if its pods are gone", &e))?;
            checkpoint.apply(changes);
        }
        checkpoint.unreserve();
        Ok(Some(checkpoint::encode(&checkpoint)))
    }

    /// Journals of other state files: somebody else has written this one since, so they are out of date.
    /// Kept, since they may explain something.
    fn set_others_aside(&self, own: &str) {
        for name in self.journals().into_iter().filter(|name| name != own) {
            tracing::warn!(journal = name, "it does not extend the state file that is here");
            let aside = format!("{}.set-aside-journal", self.name);
            if let Err(error) = self.disk.rename(&name, &aside) {
                tracing::warn!(%error, journal = name, "cannot be set aside");
            }
        }
    }

    fn journals(&self) -> Vec<String> {
        let prefix = self.journal("");
        let names = self.disk.names().unwrap_or_default();
        names.into_iter().filter(|name| name.starts_with(&prefix)).collect()
    }

    pub(super) fn save(&self, content: &[u8]) -> Result<(), StoreError> {
        let mut open = self.state();
        *open = None;
        let fail = |e: io::Error| self.fail(&self.name, "cannot write", &e);
        let header = frame::header(&frame::hash(content));
        let journal = self.journal(&frame::hash(content));
        if self.journaled {
            // Before the file that it extends: a file of ours without a journal is one that somebody
            // else has touched.
            self.replace(&journal, &header).map_err(fail)?;
        }
        self.replace(&self.name, content).and_then(|()| self.disk.sync_dir()).map_err(fail)?;
        for old in self.journals() {
            if !self.journaled || old != journal {
                // What cannot be removed is set aside by the next start.
                let _ = self.disk.remove(&old);
            }
        }
        if self.journaled {
            *open = Some(Open { name: journal, len: header.len() });
        }
        Ok(())
    }

    pub(super) fn takes(&self) -> Takes {
        match &*self.state() {
            Some(journal) if journal.len < JOURNAL_MAX => Takes::Changes,
            _ if self.journaled => Takes::WholeWithReserve,
            _ => Takes::Whole,
        }
    }

    pub(super) fn append(&self, changes: &[u8]) -> Result<(), StoreError> {
        let mut state = self.state();
        // After a failure the end of the journal is unknown: nothing is added to it any more.
        let Some(mut open) = state.take() else {
            return Err(self.fail(&self.name, "cannot append", &"there is no journal"));
        };
        let record = frame::record(changes)
            .ok_or_else(|| self.fail(&open.name, "cannot append", &"too much at once"))?;
        self.disk
            .append(&open.name, &record)
            .and_then(|()| self.disk.sync(&open.name))
            .map_err(|e| self.fail(&open.name, "cannot append", &e))?;
        open.len = open.len.saturating_add(record.len());
        *state = Some(open);
        Ok(())
    }

    pub(super) fn set_aside(&self, aside: &str) -> Result<(), StoreError> {
        *self.state() = None;
        self.disk
            .rename(&self.name, aside)
            .and_then(|()| self.disk.sync_dir())
            .map_err(|e| self.fail(&self.name, "cannot move aside", &e))
    }

    pub(super) fn load_hint(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let name = self.hint();
        self.disk.read(&name).map_err(|e| self.fail(&name, "cannot read", &e))
    }

    pub(super) fn save_hint(&self, content: &[u8]) -> Result<(), StoreError> {
        let name = self.hint();
        self.replace(&name, content)
            .and_then(|()| self.disk.sync_dir())
            .map_err(|e| self.fail(&name, "cannot write", &e))
    }
}

#[cfg(test)]
#[path = "crash_tests/mod.rs"]
mod tests;
