//! A state file in memory.

use std::sync::Mutex;

use super::lock;
use crate::store::{Store, StoreError};

const PATH: &str = "memory";

/// Keeps what was saved last, and fails on demand.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    content: Option<Vec<u8>>,
    hint: Option<Vec<u8>>,
    hint_failures: u32,
    aside: Vec<Vec<u8>>,
    saves: u64,
    failures: u32,
    failures_keep_content: bool,
    failed_saves: u64,
    stops_before_rename: bool,
    temporary: Option<Vec<u8>>,
}

impl MemoryStore {
    /// A fresh node's store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store in which an earlier run left `content`.
    pub fn with_content(content: Vec<u8>) -> Self {
        let store = Self::default();
        lock(&store.state).content = Some(content);
        store
    }

    /// Lets the next `times` saves fail. With `keeps_content`, the new content is there all the
    /// same: a write whose last step failed.
    pub fn fail_saves(&self, times: u32, keeps_content: bool) {
        let mut state = lock(&self.state);
        state.failures = times;
        state.failures_keep_content = keeps_content;
    }

    /// Lets the next save end after its temporary file is written and before that takes the place of
    /// the old content, as if the process died in between.
    pub fn stop_before_rename(&self) {
        lock(&self.state).stops_before_rename = true;
    }

    /// What a save that ended before its time has left behind. No start reads it.
    pub fn temporary(&self) -> Option<Vec<u8>> {
        lock(&self.state).temporary.clone()
    }

    /// Saves that failed so far.
    pub fn failed_saves(&self) -> u64 {
        lock(&self.state).failed_saves
    }

    /// What a restart would find.
    pub fn content(&self) -> Option<Vec<u8>> {
        lock(&self.state).content.clone()
    }

    /// The hint that a restart would find.
    pub fn hint(&self) -> Option<Vec<u8>> {
        lock(&self.state).hint.clone()
    }

    /// Lets the next `times` saves of the hint fail.
    pub fn fail_hints(&self, times: u32) {
        lock(&self.state).hint_failures = times;
    }

    /// What was set aside, oldest first.
    pub fn aside(&self) -> Vec<Vec<u8>> {
        lock(&self.state).aside.clone()
    }

    /// Saves so far, failed ones included.
    pub fn saves(&self) -> u64 {
        lock(&self.state).saves
    }
}

impl Store for MemoryStore {
    fn load(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.content())
    }

    fn save(&self, content: &[u8]) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        state.saves += 1;
        if std::mem::take(&mut state.stops_before_rename) {
            state.temporary = Some(content.to_vec());
            return Err(StoreError::new(PATH, "the process ended before the file was renamed"));
        }
        let fails = state.failures > 0;
        state.failures = state.failures.saturating_sub(1);
        state.failed_saves += u64::from(fails);
        if !fails || state.failures_keep_content {
            state.content = Some(content.to_vec());
        }
        if fails {
            Err(StoreError::new(PATH, "the failure that the test asked for"))
        } else {
            Ok(())
        }
    }

    fn load_hint(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.hint())
    }

    fn save_hint(&self, content: &[u8]) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        if state.hint_failures > 0 {
            state.hint_failures -= 1;
            return Err(StoreError::new(PATH, "the failure that the test asked for"));
        }
        state.hint = Some(content.to_vec());
        Ok(())
    }

    fn set_aside(&self) -> Result<String, StoreError> {
        let mut state = lock(&self.state);
        let content =
            state.content.take().ok_or_else(|| StoreError::new(PATH, "there is nothing stored"))?;
        state.aside.push(content);
        Ok(format!("{PATH}.aside-{}", state.aside.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_save_leaves_the_old_content_or_the_new_one_as_told() {
        let store = MemoryStore::new();
        assert_eq!(store.load().unwrap(), None);
        store.save(b"1").unwrap();
        store.fail_saves(1, false);
        store.save(b"2").unwrap_err();
        assert_eq!(store.content().as_deref(), Some(&b"1"[..]));
        store.fail_saves(1, true);
        store.save(b"3").unwrap_err();
        assert_eq!(store.content().as_deref(), Some(&b"3"[..]));
        store.save(b"4").unwrap();
        assert_eq!(store.set_aside().unwrap(), "memory.aside-1");
        assert_eq!((store.content(), store.aside()), (None, vec![b"4".to_vec()]));
        assert_eq!(store.saves(), 4);
    }
}
