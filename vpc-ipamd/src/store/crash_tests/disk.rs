//! A disk that stops at a chosen operation.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use super::Disk;

/// A directory that survives the process, and stops it at a chosen operation.
#[derive(Debug, Default)]
struct Platter {
    files: BTreeMap<String, Vec<u8>>,
    /// What a machine that lost power would find.
    durable: BTreeMap<String, Vec<u8>>,
    synced: BTreeMap<String, Vec<u8>>,
    /// Operations that are still done; the one after them is done by half, and no other.
    left: Option<usize>,
    steps: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FakeDisk(Arc<Mutex<Platter>>);

enum Fate {
    Done,
    Half,
    Dead,
}

impl FakeDisk {
    pub(super) fn stop_after(&self, steps: Option<usize>) {
        let mut platter = self.0.lock().unwrap();
        platter.left = steps;
        platter.steps = 0;
    }

    fn step<T>(&self, act: impl FnOnce(&mut Platter, bool) -> io::Result<T>) -> io::Result<T> {
        let mut platter = self.0.lock().unwrap();
        platter.steps += 1;
        let fate = match &mut platter.left {
            None => Fate::Done,
            Some(0) => Fate::Dead,
            Some(1) => Fate::Half,
            Some(_) => Fate::Done,
        };
        platter.left = platter.left.map(|n| n.saturating_sub(1));
        let dead = || io::Error::other("the process is dead");
        match fate {
            Fate::Done => act(&mut platter, false),
            Fate::Half => {
                let _ = act(&mut platter, true);
                Err(dead())
            }
            Fate::Dead => Err(dead()),
        }
    }

    /// File operations since the last [`stop_after`](Self::stop_after).
    pub(super) fn steps(&self) -> usize {
        self.0.lock().unwrap().steps
    }

    /// What somebody else wrote, whole.
    pub(super) fn put(&self, name: &str, content: Vec<u8>) {
        self.0.lock().unwrap().files.insert(name.to_owned(), content);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.0.lock().unwrap().left == Some(0)
    }

    pub(super) fn lose_power(&self) {
        let mut platter = self.0.lock().unwrap();
        platter.files = platter.durable.clone();
        platter.synced = platter.durable.clone();
    }
}

impl Disk for FakeDisk {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().files.get(name).cloned())
    }

    fn create(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.step(|platter, half| {
            let len = if half { content.len() / 2 } else { content.len() };
            assert!(!platter.files.contains_key(name), "{name} exists");
            platter.files.insert(name.to_owned(), content[..len].to_vec());
            platter.synced.insert(name.to_owned(), Vec::new());
            Ok(())
        })
    }

    fn append(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.step(|platter, half| {
            let len = if half { content.len() / 2 } else { content.len() };
            let file = platter.files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
            file.extend_from_slice(&content[..len]);
            Ok(())
        })
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.step(|platter, half| {
            let content = platter.files.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
            if !half {
                platter.synced.insert(name.to_owned(), content.clone());
                // The name is durable already if an earlier life of the file was.
                if let Some(durable) = platter.durable.get_mut(name) {
                    *durable = content;
                }
            }
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step(|platter, half| {
            // A rename is done or not; a process that is killed in it does not know which.
            if half && platter.steps % 2 == 0 {
                return Ok(());
            }
            let content = platter.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
            let synced = platter.synced.remove(from).unwrap_or_default();
            platter.files.insert(to.to_owned(), content);
            platter.synced.insert(to.to_owned(), synced);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step(|platter, half| {
            if half && platter.steps % 2 == 0 {
                return Ok(());
            }
            platter.files.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
        })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().files.keys().cloned().collect())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.step(|platter, half| {
            if !half {
                platter.durable = platter.synced.clone();
                platter.durable.retain(|name, _| platter.files.contains_key(name));
            }
            Ok(())
        })
    }
}
