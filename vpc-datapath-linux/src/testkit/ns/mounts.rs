//! Directories of a mount namespace that nobody else sees.
//!
//! Nothing is ever written to the machine's own file systems. A directory that exists is covered by
//! a tmpfs. For one that does not, the nearest ancestor is covered by a tmpfs in which everything
//! that the ancestor holds is mounted again, and the directory is made there; so it does not matter
//! whether the machine's directory is read-only or belongs to someone else.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
};

use super::NsError;

/// Where a replacement is put together before it is moved to its place. `/run` is private first.
const STAGE: &str = "/run/.testkit-stage";
const RUN: &str = "/run";
const VAR_RUN: &str = "/var/run";
const NONE: Option<&str> = None;

/// The private directories of one mount namespace, which the calling thread must be in.
#[derive(Debug)]
pub(super) struct Mounts<'a> {
    name: &'a str,
    private: Vec<PathBuf>,
}

impl<'a> Mounts<'a> {
    /// Makes the calling thread's mounts private, gives them an empty `/run`, a `/var/run` that is
    /// the same, and a `/sys` that shows the calling thread's network namespace.
    pub(super) fn set_up(name: &'a str) -> Result<Self, NsError> {
        let mut mounts = Self { name, private: Vec::new() };
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
            .map_err(mounts.refused("make mounts private"))?;
        mounts.cover(Path::new(RUN))?;
        match fs::symlink_metadata(VAR_RUN) {
            Ok(meta) if meta.is_symlink() => {}
            Ok(_) => mounts.bind(Path::new(RUN), Path::new(VAR_RUN))?,
            Err(_) => {
                mounts.make(Path::new(VAR_RUN))?;
                mounts.bind(Path::new(RUN), Path::new(VAR_RUN))?;
            }
        }
        mounts.fresh_sys()?;
        Ok(mounts)
    }

    /// An empty directory at `path`, which only this mount namespace sees.
    pub(super) fn make(&mut self, path: &Path) -> Result<(), NsError> {
        if !path.is_absolute() {
            return Err(directory(path, "it is not an absolute path"));
        }
        let ancestor = path.ancestors().find(|a| a.is_dir()).unwrap_or(Path::new("/"));
        let real = fs::canonicalize(ancestor).map_err(self.io(path))?;
        if self.private.iter().any(|p| real.starts_with(p)) {
            return fs::create_dir_all(path).map_err(self.io(path));
        }
        if ancestor == path {
            return self.cover(&real);
        }
        if real == Path::new("/") {
            let why = format!("the root directory cannot be replaced; make {} on the machine", {
                let first: PathBuf = path.components().take(2).collect();
                first.display().to_string()
            });
            return Err(directory(path, &why));
        }
        self.replace(&real)?;
        fs::create_dir_all(path).map_err(self.io(path))
    }

    /// Covers an existing directory with an empty tmpfs.
    fn cover(&mut self, path: &Path) -> Result<(), NsError> {
        self.tmpfs(path)?;
        self.private.push(path.to_owned());
        Ok(())
    }

    /// Covers an existing directory with a tmpfs that shows all it held.
    fn replace(&mut self, real: &Path) -> Result<(), NsError> {
        let stage = Path::new(STAGE);
        fs::create_dir_all(stage).map_err(self.io(stage))?;
        self.tmpfs(stage)?;
        for entry in fs::read_dir(real).map_err(self.io(real))? {
            let entry = entry.map_err(self.io(real))?;
            let (from, to) = (entry.path(), stage.join(entry.file_name()));
            let kind = entry.file_type().map_err(self.io(&from))?;
            if kind.is_symlink() {
                fs::read_link(&from)
                    .and_then(|target| symlink(target, &to))
                    .map_err(self.io(&to))?;
                continue;
            }
            if kind.is_dir() {
                fs::create_dir(&to).map_err(self.io(&to))?;
            } else {
                File::create(&to).map_err(self.io(&to))?;
            }
            self.bind(&from, &to)?;
        }
        mount(Some(stage), real, NONE, MsFlags::MS_MOVE, NONE)
            .map_err(self.refused(&format!("replace {}", real.display())))?;
        fs::remove_dir(stage).map_err(self.io(stage))?;
        self.private.push(real.to_owned());
        Ok(())
    }

    /// The old `/sys` shows the links of the network namespace it was mounted in. Where a new one is
    /// refused, an empty one is better than a wrong one.
    fn fresh_sys(&mut self) -> Result<(), NsError> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        match mount(Some("sysfs"), "/sys", Some("sysfs"), flags, NONE) {
            Err(Errno::EPERM) => self.tmpfs(Path::new("/sys")),
            other => other.map_err(self.refused("mount a fresh /sys")),
        }
    }

    fn tmpfs(&self, path: &Path) -> Result<(), NsError> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some("mode=0755"))
            .map_err(self.refused(&format!("mount a tmpfs on {}", path.display())))
    }

    fn bind(&self, from: &Path, to: &Path) -> Result<(), NsError> {
        // A tree that another user namespace mounted can only be taken as a whole.
        mount(Some(from), to, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
            .map_err(self.refused(&format!("bind {} to {}", from.display(), to.display())))
    }

    fn refused(&self, step: &str) -> impl FnOnce(Errno) -> NsError + use<> {
        let error = NsError::step(self.name, step);
        move |errno| error(errno.into())
    }

    fn io(&self, path: &Path) -> impl FnOnce(io::Error) -> NsError + use<> {
        NsError::step(self.name, &format!("prepare {}", path.display()))
    }
}

fn directory(path: &Path, why: &str) -> NsError {
    NsError::Directory { path: path.display().to_string(), why: why.to_owned() }
}
