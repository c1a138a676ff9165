//! The few settings that netlink cannot reach.

use std::{fs, io, path::PathBuf};

/// Makes `/proc/sys/<path>` hold `value`; writes only if it does not, since some of these take the
/// kernel's network lock.
///
/// The path is that of the calling thread's network namespace.
fn ensure(path: &str, value: &str) -> io::Result<()> {
    let path = PathBuf::from("/proc/sys").join(path);
    if fs::read_to_string(&path)?.trim() == value {
        return Ok(());
    }
    fs::write(&path, value)
}

/// Keeps a pod from configuring the host by router advertisements on its veth (CVE-2020-10749).
///
/// A kernel without IPv6 has nothing to set, and on a read-only `/proc/sys` nobody can.
pub(crate) fn harden_host_veth(name: &str) -> io::Result<()> {
    for (key, value) in [("accept_ra", "0"), ("accept_redirects", "1"), ("forwarding", "0")] {
        match ensure(&format!("net/ipv6/conf/{name}/{key}"), value) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => {}
            other => other?,
        }
    }
    Ok(())
}

/// Makes the calling thread's network namespace forward IPv4 packets.
///
/// On a cluster's node that is the operating system's business and nobody here calls this; a node
/// that was just made for a test or a demonstration has no operating system.
///
/// # Errors
///
/// If `/proc/sys` is not writable.
pub fn enable_ipv4_forwarding() -> io::Result<()> {
    ensure("net/ipv4/ip_forward", "1")
}
