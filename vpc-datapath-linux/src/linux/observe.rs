//! What the kernel has, read in a few dumps.

use vpc_ipam_core::datapath::MAIN_TABLE;

use super::{LinuxDatapath, lock};
use crate::{
    desired::{Observed, ObservedTable, nft_table},
    layout::{MAP_SOURCES, POD_TABLE, SET_EXEMPT},
    netlink::{NetlinkError, RouteFilter},
    netns::NetnsError,
    nft::{Interval, Socket},
};

impl LinuxDatapath {
    /// What concerns the node as a whole.
    pub(super) fn observe_node(&self) -> Result<Observed, NetlinkError> {
        let mut observed = {
            let mut socket = lock(&self.route);
            Observed { links: socket.links()?, rules: socket.rules(true)?, ..Observed::default() }
        };
        observed.table = self.with_nft(observe_table)?;
        Ok(observed)
    }

    /// What concerns the primary ENI.
    pub(super) fn observe_primary(&self) -> Result<Observed, NetlinkError> {
        let mut socket = lock(&self.route);
        let routes = socket.routes(true, of_table(POD_TABLE))?;
        Ok(Observed { links: socket.links()?, routes, ..Observed::default() })
    }

    /// What concerns a secondary ENI that uses `table`.
    pub(super) fn observe_secondary(&self, table: u32) -> Result<Observed, NetlinkError> {
        let mut observed = self.observe_node()?;
        let mut socket = lock(&self.route);
        observed.addresses = socket.addresses(true)?;
        for table in [table, MAIN_TABLE, POD_TABLE] {
            observed.routes.extend(socket.routes(true, of_table(table))?);
        }
        Ok(observed)
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

fn of_table(table: u32) -> RouteFilter {
    RouteFilter { table: Some(table), dev: None }
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
