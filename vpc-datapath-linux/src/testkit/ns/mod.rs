//! Network and mount namespaces of nodes, pods and other hosts, and work inside them.

mod error;
mod mounts;
mod node;
mod pod;

use std::{
    fs::{self, File},
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    process::{Child, Command},
    sync::Arc,
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

pub use self::{
    error::NsError,
    node::{NodeNs, NodeOptions},
    pod::PodNs,
};
use crate::{
    netlink::{LinkChange, Socket},
    netns::NetnsFd,
};

/// A network namespace, and a mount namespace if it has one of its own. Clones are the same one.
///
/// It lives as long as a clone, a socket or a process in it does.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
    netns: NetnsFd,
    mounts: Option<Arc<File>>,
}

impl Namespace {
    /// A new network namespace with `lo` up and nothing else, sharing the caller's mounts.
    ///
    /// `name` is for error messages. `sysctls` are pairs of a path below `/proc/sys/net` and a value.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a step; outside a sandbox it does.
    pub fn new(name: &str, sysctls: &[(&str, &str)]) -> Result<Self, NsError> {
        on_thread(name, || {
            let refused = NsError::step(name, "make a network namespace");
            unshare(CloneFlags::CLONE_NEWNET).map_err(|e| refused(e.into()))?;
            set_up_network(name, sysctls)?;
            Ok(Self { name: name.to_owned(), netns: NetnsFd::current()?, mounts: None })
        })?
    }

    /// What error messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The network namespace itself.
    pub fn netns(&self) -> &NetnsFd {
        &self.netns
    }

    /// Runs `work` inside, on a thread of its own that then ends, and waits for it.
    ///
    /// Sockets that `work` returns stay in the namespace; paths that it opens are the namespace's.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered or `work` panics.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NsError> {
        on_thread(&self.name, || {
            self.enter()?;
            Ok(work())
        })?
    }

    /// Like [`run`](Self::run) for work that can fail.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), or the work's own error with `step` as its name.
    pub fn try_run<T: Send>(
        &self,
        step: &str,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> Result<T, NsError> {
        self.run(work)?.map_err(NsError::step(&self.name, step))
    }

    /// Starts a program inside; it sees the namespace's files, links and sockets.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered or the program cannot be started.
    pub fn spawn(&self, mut command: Command) -> Result<Child, NsError> {
        let step = format!("start {}", command.get_program().to_string_lossy());
        self.try_run(&step, move || command.spawn())
    }

    /// A listening socket inside, for use from anywhere.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered or the address cannot be bound there.
    pub fn bind_tcp(&self, addr: SocketAddr) -> Result<TcpListener, NsError> {
        self.try_run(&format!("listen on {addr}"), || TcpListener::bind(addr))
    }

    /// A datagram socket inside, for use from anywhere.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered or the address cannot be bound there.
    pub fn bind_udp(&self, addr: SocketAddr) -> Result<UdpSocket, NsError> {
        self.try_run(&format!("bind {addr}"), || UdpSocket::bind(addr))
    }

    /// Writes a setting; `path` is below `/proc/sys/net`.
    ///
    /// # Errors
    ///
    /// If there is no such setting or it cannot be changed here.
    pub fn set_sysctl(&self, path: &str, value: &str) -> Result<(), NsError> {
        self.run(|| write_sysctl(&self.name, path, value))?
    }

    fn enter(&self) -> Result<(), NsError> {
        let refused = NsError::step(&self.name, "enter the namespace");
        // A thread that shares its root and working directory may not change mount namespaces.
        let entered = unshare(CloneFlags::CLONE_FS)
            .and_then(|()| setns(&self.netns, CloneFlags::CLONE_NEWNET))
            .and_then(|()| match &self.mounts {
                Some(mounts) => setns(mounts, CloneFlags::CLONE_NEWNS),
                None => Ok(()),
            });
        entered.map_err(|e| refused(e.into()))
    }
}

impl AsRef<Namespace> for Namespace {
    fn as_ref(&self) -> &Namespace {
        self
    }
}

/// Runs `work` on a thread that then ends: one that has changed namespaces can do nothing else.
fn on_thread<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T, NsError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .spawn_scoped(scope, work)
            .map_err(NsError::step(name, "start a thread"))?;
        thread.join().map_err(|_| NsError::Panicked { name: name.to_owned() })
    })
}

/// What every new network namespace needs, from inside it.
fn set_up_network(name: &str, sysctls: &[(&str, &str)]) -> Result<(), NsError> {
    for (path, value) in sysctls {
        write_sysctl(name, path, value)?;
    }
    Socket::open()?.request(LinkChange::of_name("lo").up().request())?;
    Ok(())
}

fn write_sysctl(name: &str, path: &str, value: &str) -> Result<(), NsError> {
    let step = format!("set net/{path} to {value}");
    fs::write(format!("/proc/sys/net/{path}"), value).map_err(NsError::step(name, &step))
}
