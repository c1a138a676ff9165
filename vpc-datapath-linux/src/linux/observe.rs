//! What the kernel has, read in a few dumps.

use super::{LinuxDatapath, lock};
use crate::{
    desired::{Observed, ObservedTable, nft_table},
    layout::{MAP_SOURCES, POD_TABLE, SET_EXEMPT},
    netlink::{NetlinkError, RouteFilter},
    netns::NetnsError,
    nft::{Interval, Socket},
};

impl LinuxDatapath {
    /// What concerns the node as a whole, or a secondary ENI.
    pub(super) fn observe_node(&self) -> Result<Observed, NetlinkError> {
        let mut observed = {
            let mut socket = lock(&self.route);
            Observed {
                links: socket.links()?,
                addresses: socket.addresses(true)?,
                rules: socket.rules(true)?,
                routes: socket.routes(true, RouteFilter::default())?,
                ..Observed::default()
            }
        };
        observed.table = self.with_nft(observe_table)?;
        Ok(observed)
    }

    /// What concerns the primary ENI.
    pub(super) fn observe_primary(&self) -> Result<Observed, NetlinkError> {
        let mut socket = lock(&self.route);
        let filter = RouteFilter { table: Some(POD_TABLE), dev: None };
        let routes = socket.routes(true, filter)?;
        Ok(Observed { links: socket.links()?, routes, ..Observed::default() })
    }

    /// Uses the nfnetlink socket, which is opened at its first use.
    pub(super) fn with_nft<T>(
        &self,
        work: impl FnOnce(&mut Socket) -> Result<T, NetlinkError>,
    ) -> Result<T, NetlinkError> {
        let mut slot = lock(&self.nft);
        let socket = match slot.take() {
            Some(socket) => socket,
            None => self.inside(Socket::open).map_err(no_socket)??,
        };
        work(slot.insert(socket))
    }
}

fn no_socket(error: NetnsError) -> NetlinkError {
    NetlinkError::Io { op: "socket", source: std::io::Error::other(error) }
}

fn observe_table(socket: &mut Socket) -> Result<ObservedTable, NetlinkError> {
    let table = nft_table();
    if !socket.tables()?.contains(&table) {
        return Ok(ObservedTable::default());
    }
    let sets = socket.sets(&table)?;
    let mut intervals = |name: &str| -> Result<_, NetlinkError> {
        if !sets.iter().any(|s| s == name) {
            return Ok(Vec::new());
        }
        Ok(Interval::of_elements(&socket.elements(&table, name)?))
    };
    let (exempt, sources) = (intervals(SET_EXEMPT)?, intervals(MAP_SOURCES)?);
    Ok(ObservedTable {
        exists: true,
        chains: socket.chains(&table)?,
        rules: socket.rules(&table)?,
        sets,
        exempt,
        sources,
    })
}
