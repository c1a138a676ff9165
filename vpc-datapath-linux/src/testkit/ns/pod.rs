//! The network namespace of a pod, bound at a path as container runtimes do.

use std::{
    fs::{self, File},
    ops::Deref,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

use super::{Namespace, NodeNs, NsError, set_up_network};
use crate::netns::NetnsFd;

/// A pod's network namespace, bound at a path in its node's mount namespace. Dropping it unbinds and
/// removes the path, and the namespace goes unless a process or socket is left in it.
#[derive(Debug)]
pub struct PodNs {
    ns: Namespace,
    node: NodeNs,
    path: PathBuf,
}

impl PodNs {
    /// A namespace at `path`, such as `/run/netns/cni-…`, without links, `lo` down as a runtime
    /// leaves it.
    ///
    /// # Errors
    ///
    /// If something is at `path` already, or the kernel refuses a step.
    pub fn new(node: &NodeNs, path: &Path) -> Result<Self, NsError> {
        let name = format!("{}:{}", node.name(), path.display());
        let netns = node.run(|| bind_new(&name, path))??;
        let ns = Namespace { name, netns, mounts: node.mounts.clone() };
        Ok(Self { ns, node: node.clone(), path: path.to_owned() })
    }

    /// Where it is bound, as processes of the node see it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its namespaces; the mounts are the node's.
    pub fn namespace(&self) -> &Namespace {
        &self.ns
    }

    /// Brings `lo` up, for pods that no plugin sets up.
    ///
    /// # Errors
    ///
    /// If the kernel refuses it.
    pub fn loopback_up(&self) -> Result<(), NsError> {
        self.ns.run(|| set_up_network(self.ns.name(), &[]))?
    }
}

/// Leaves the calling thread in a new network namespace that is bound at `path`.
fn bind_new(name: &str, path: &Path) -> Result<NetnsFd, NsError> {
    let place = || {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        File::options().write(true).create_new(true).open(path)
    };
    place().map_err(NsError::step(name, "make its mount point"))?;
    let none = None::<&str>;
    let own = Some("/proc/thread-self/ns/net");
    let bound = unshare(CloneFlags::CLONE_NEWNET)
        .and_then(|()| mount(own, path, none, MsFlags::MS_BIND, none));
    if let Err(errno) = bound {
        let _ = fs::remove_file(path);
        return Err(NsError::step(name, "bind its network namespace")(errno.into()));
    }
    Ok(NetnsFd::current()?)
}

impl Drop for PodNs {
    fn drop(&mut self) {
        // Whatever fails here goes with the node's mount namespace.
        let _ = self.node.run(|| {
            let _ = umount2(&self.path, MntFlags::MNT_DETACH);
            let _ = fs::remove_file(&self.path);
        });
    }
}

impl Deref for PodNs {
    type Target = Namespace;
    fn deref(&self) -> &Namespace {
        &self.ns
    }
}

impl AsRef<Namespace> for PodNs {
    fn as_ref(&self) -> &Namespace {
        &self.ns
    }
}
