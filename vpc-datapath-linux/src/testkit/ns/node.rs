//! The namespaces of a node.

use std::{fs::File, ops::Deref, path::PathBuf, sync::Arc};

use nix::sched::{CloneFlags, unshare};

use super::{Namespace, NsError, mounts::Mounts, on_thread, set_up_network};
use crate::netns::NetnsFd;

/// How a node is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeOptions {
    /// Reverse path filter of links that are made later: 0 off, 1 strict, 2 loose. Amazon Linux has
    /// 2, most others 1 or 2.
    pub rp_filter: u8,
    /// Directories that the node has for itself, empty. `/run` and `/var/run` always are.
    pub private_dirs: Vec<PathBuf>,
}

impl Default for NodeOptions {
    /// Loose reverse path filter, and the directories that a CNI plugin and its daemon write to.
    fn default() -> Self {
        let dirs = [
            "/run/netns",
            "/var/run/aws-node",
            "/opt/cni/bin",
            "/etc/cni/net.d",
            "/var/log/aws-routed-eni",
        ];
        Self { rp_filter: 2, private_dirs: dirs.into_iter().map(PathBuf::from).collect() }
    }
}

/// A node: a network namespace that forwards, and a mount namespace with files of its own.
///
/// What processes inside see beside [`NodeOptions::private_dirs`] is the machine's, so programs and
/// their libraries are found. Everything goes when the last clone and the last process inside are
/// gone.
#[derive(Clone, Debug)]
pub struct NodeNs {
    ns: Namespace,
}

impl NodeNs {
    /// A node without links, apart from `lo`.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a step (outside a sandbox it does), or a directory cannot be private.
    pub fn new(name: &str, options: &NodeOptions) -> Result<Self, NsError> {
        on_thread(name, || {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
                .map_err(|e| NsError::step(name, "make its namespaces")(e.into()))?;
            let mut mounts = Mounts::set_up(name)?;
            for dir in &options.private_dirs {
                mounts.make(dir)?;
            }
            let rp_filter = options.rp_filter.to_string();
            let sysctls = [
                ("ipv4/ip_forward", "1"),
                // The larger of this and the link's own value counts, and it may be the machine's.
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/default/rp_filter", &rp_filter),
            ];
            set_up_network(name, &sysctls)?;
            let mounts = File::open("/proc/thread-self/ns/mnt")
                .map_err(NsError::step(name, "open its mount namespace"))?;
            let netns = NetnsFd::current()?;
            let ns = Namespace { name: name.to_owned(), netns, mounts: Some(Arc::new(mounts)) };
            Ok(Self { ns })
        })?
    }

    /// Its namespaces.
    pub fn namespace(&self) -> &Namespace {
        &self.ns
    }
}

impl Deref for NodeNs {
    type Target = Namespace;
    fn deref(&self) -> &Namespace {
        &self.ns
    }
}

impl AsRef<Namespace> for NodeNs {
    fn as_ref(&self) -> &Namespace {
        &self.ns
    }
}
