//! The few file operations that a store is made of, so that a test can stop the world between any two.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Largest file that is read. 64 MiB are about 200,000 leases, a thousand times a full node.
const SIZE_MAX: u64 = 64 << 20;
/// Most names of a directory that are looked at. A node's has fewer than ten.
const NAMES_MAX: usize = 10_000;

/// One directory. Nothing but `sync` and `sync_dir` outlives the machine; all of it outlives the process.
pub(super) trait Disk: fmt::Debug + Send + Sync {
    /// The content of a file; `None` if there is none.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// A new file, for the owner alone.
    fn create(&self, name: &str, content: &[u8]) -> io::Result<()>;
    /// Adds to a file that exists.
    fn append(&self, name: &str, content: &[u8]) -> io::Result<()>;
    /// Makes a file's content durable.
    fn sync(&self, name: &str) -> io::Result<()>;
    /// Gives a file another name, in place of the one that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    fn names(&self) -> io::Result<Vec<String>>;
    /// Makes all names durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Debug)]
pub(super) struct OsDisk {
    pub(super) dir: PathBuf,
}

impl OsDisk {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Disk for OsDisk {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path(name)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut content = Vec::new();
        file.take(SIZE_MAX + 1).read_to_end(&mut content)?;
        if content.len() as u64 > SIZE_MAX {
            return Err(io::Error::other("larger than any state file; move it away"));
        }
        Ok(Some(content))
    }

    fn create(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let new =
            |path: &Path| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        new(&self.path(name))?.write_all(content)
    }

    fn append(&self, name: &str, content: &[u8]) -> io::Result<()> {
        OpenOptions::new().append(true).open(self.path(name))?.write_all(content)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        File::open(self.path(name))?.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.dir)?.take(NAMES_MAX);
        names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}
