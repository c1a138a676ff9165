//! The state file.

use std::{
    fs::{DirBuilder, File, TryLockError},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use vpc_ipam_core::store::{Store, StoreError, Takes};

use super::{books::Books, disk::OsDisk};

/// The checkpoint in a file: replaced by rename, so a reader finds the old or the new one, whole.
///
/// One process at a time: two daemons on one state file would hand out the same addresses.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    books: Books<OsDisk>,
    /// Locked as long as the store lives. Beside the state file, whose inode changes with each save.
    _lock: File,
}

impl FileStore {
    /// The store at `path`. Creates its directory and removes what an interrupted write left over.
    ///
    /// # Errors
    ///
    /// If the directory cannot be made or written, or another process has the store.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::new(path, false)
    }

    /// The same with a journal beside the file, for a disk that is slow to sync: a pod costs one small
    /// write, and the file, in which [addresses are claimed ahead](vpc_ipam_core::checkpoint::Changes),
    /// lags behind by [`RESERVED_MAX`](vpc_ipam_core::store::RESERVED_MAX) leases at the most. Either kind
    /// of store reads what the other one wrote.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with_journal(path: &Path) -> Result<Self, StoreError> {
        Self::new(path, true)
    }

    fn new(path: &Path, journaled: bool) -> Result<Self, StoreError> {
        let fail = |message: String| StoreError::new(path.display().to_string(), message);
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| fail("not the path of a file".to_owned()))?;
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&dir)
            .map_err(|e| fail(format!("cannot create directory {}: {e}", dir.display())))?;
        let lock = lock(&dir.join(format!("{name}.lock"))).map_err(fail)?;
        let books = Books::open(OsDisk { dir }, name, journaled)
            .map_err(|e| fail(format!("cannot clean up beside it: {e}")))?;
        Ok(Self { path: path.to_owned(), books, _lock: lock })
    }

    /// Where the state file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn at(&self, error: StoreError) -> StoreError {
        StoreError::new(self.path.with_file_name(error.path).display().to_string(), error.message)
    }
}

fn lock(path: &Path) -> Result<File, String> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|e| format!("cannot create lock file {}: {e}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(format!("another daemon holds {}; stop it first", path.display()))
        }
        Err(TryLockError::Error(e)) => Err(format!("cannot lock {}: {e}", path.display())),
    }
}

impl Store for FileStore {
    fn load(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.books.load().map_err(|e| self.at(e))
    }

    fn save(&self, content: &[u8]) -> Result<(), StoreError> {
        self.books.save(content).map_err(|e| self.at(e))
    }

    fn takes(&self) -> Takes {
        self.books.takes()
    }

    fn append(&self, changes: &[u8]) -> Result<(), StoreError> {
        self.books.append(changes).map_err(|e| self.at(e))
    }

    fn load_hint(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.books.load_hint().map_err(|e| self.at(e))
    }

    fn save_hint(&self, content: &[u8]) -> Result<(), StoreError> {
        self.books.save_hint(content).map_err(|e| self.at(e))
    }

    fn set_aside(&self) -> Result<String, StoreError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let aside = self.path.with_added_extension(format!("corrupt-{}", now.as_millis()));
        let name = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.books.set_aside(&name).map_err(|e| self.at(e))?;
        Ok(aside.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    };

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_fresh_node_has_no_checkpoint_and_a_saved_one_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/ipam.json");
        let store = FileStore::open(&path).unwrap();
        assert_eq!(store.load().unwrap(), None);
        store.save(b"one\n").unwrap();
        let first = fs::metadata(&path).unwrap();
        store.save(b"two\n").unwrap();
        assert_eq!(store.load().unwrap().unwrap(), b"two\n");
        let second = fs::metadata(&path).unwrap();
        assert_ne!(first.ino(), second.ino(), "overwritten in place: a crash would tear it");
        assert_eq!(second.permissions().mode() & 0o777, 0o600);
        assert_eq!(names(path.parent().unwrap()), ["ipam.json", "ipam.json.lock"]);
    }

    #[test]
    fn what_a_killed_write_left_is_removed_and_never_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ipam.json");
        fs::write(&path, "good").unwrap();
        fs::write(dir.path().join("ipam.json.tmpAbC123"), "torn").unwrap();
        fs::write(dir.path().join("ipam-nic-1.json"), "other").unwrap();
        let store = FileStore::open(&path).unwrap();
        assert_eq!(store.load().unwrap().unwrap(), b"good");
        assert_eq!(names(dir.path()), ["ipam-nic-1.json", "ipam.json", "ipam.json.lock"]);
    }

    #[test]
    fn a_failed_write_keeps_the_old_content_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ipam.json");
        let store = FileStore::open(&path).unwrap();
        // Renaming a file over a directory fails, after the temporary file was written.
        fs::create_dir(&path).unwrap();
        fs::write(path.join("old"), "old").unwrap();
        let err = store.save(b"new").unwrap_err();
        assert!(err.to_string().contains("ipam.json"), "{err}");
        assert_eq!(names(dir.path()), ["ipam.json", "ipam.json.lock"]);
        assert_eq!(names(&path), ["old"]);
    }

    #[test]
    fn a_vanished_directory_is_an_error_not_a_silent_success() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("sub");
        let store = FileStore::open(&sub.join("ipam.json")).unwrap();
        fs::remove_dir_all(&sub).unwrap();
        assert!(store.save(b"x").is_err());
    }

    #[test]
    fn an_unreadable_file_is_an_error_not_a_fresh_node() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ipam.json");
        fs::create_dir(&path).unwrap();
        assert!(FileStore::open(&path).unwrap().load().is_err());
    }

    #[test]
    fn set_aside_keeps_the_content_under_a_name_that_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ipam.json");
        fs::write(&path, "torn").unwrap();
        let store = FileStore::open(&path).unwrap();
        let aside = store.set_aside().unwrap();
        assert!(aside.contains("ipam.json.corrupt-"), "{aside}");
        assert_eq!(fs::read_to_string(aside).unwrap(), "torn");
        assert_eq!(store.load().unwrap(), None);
    }

    #[test]
    fn the_hint_has_a_file_of_its_own_beside_the_state_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(&dir.path().join("ipam.json")).unwrap();
        assert_eq!(store.load_hint().unwrap(), None);
        store.save(b"state").unwrap();
        store.save_hint(b"hint").unwrap();
        assert_eq!(store.load_hint().unwrap().unwrap(), b"hint");
        assert_eq!(store.load().unwrap().unwrap(), b"state");
        assert_eq!(names(dir.path()), ["ipam.json", "ipam.json.enis", "ipam.json.lock"]);
        fs::remove_file(dir.path().join("ipam.json.enis")).unwrap();
        fs::create_dir(dir.path().join("ipam.json.enis")).unwrap();
        let error = store.save_hint(b"x").unwrap_err();
        assert!(error.to_string().contains("ipam.json.enis"), "{error}");
    }

    #[test]
    fn two_daemons_cannot_share_a_state_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ipam.json");
        let first = FileStore::open(&path).unwrap();
        let err = FileStore::open(&path).unwrap_err();
        assert!(err.to_string().contains("another daemon"), "{err}");
        drop(first);
        FileStore::open(&path).unwrap();
    }
}
