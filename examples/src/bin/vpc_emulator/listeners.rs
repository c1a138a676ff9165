//! The sockets: one for EC2, one per instance.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context as _, anyhow};

/// A socket on that address.
pub(crate) fn bind(what: &str, option: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| {
        format!("serve {what} on {address}; choose another address with {option}, or port 0")
    })
}

/// A socket for each of `count` instances, on ports counted up from that of `first`.
pub(crate) fn bind_imds(first: SocketAddr, count: usize) -> anyhow::Result<Vec<TcpListener>> {
    (0..count)
        .map(|n| {
            let port = nth_port(first.port(), n).ok_or_else(|| {
                anyhow!(
                    "{count} instances need {count} ports from {} on, but ports end at {}; choose a lower one with --imds",
                    first.port(),
                    u16::MAX
                )
            })?;
            bind("instance metadata", "--imds", SocketAddr::new(first.ip(), port))
        })
        .collect()
}

/// Port 0 stays 0: the kernel picks.
fn nth_port(first: u16, n: usize) -> Option<u16> {
    if first == 0 { Some(0) } else { first.checked_add(u16::try_from(n).ok()?) }
}

/// The URL under which the socket is reached from this machine.
pub(crate) fn url(listener: &TcpListener) -> anyhow::Result<String> {
    let address = listener.local_addr().context("ask a socket for its address")?;
    Ok(format!("http://{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_counted_up_and_end() {
        assert_eq!(nth_port(0, 7), Some(0));
        assert_eq!(nth_port(1338, 2), Some(1340));
        assert_eq!(nth_port(65_535, 1), None);
        assert_eq!(nth_port(1, 1 << 16), None);
    }
}
