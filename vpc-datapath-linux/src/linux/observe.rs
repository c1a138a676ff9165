//! What the kernel has, read in a few dumps.

use vpc_ipam_core::datapath::MAIN_TABLE;

use super::{LinuxDatapath, lock};
use crate::{
    desired::{Observed, ObservedTable, nft_table},
    layout::{MAP_SOURCES, SET_EXEMPT},
    netlink::{NetlinkError, RouteFilter},
    netns::NetnsError,
    nft::{Interval, Socket},
};

impl LinuxDatapath {
    /// Links alone.
    pub(super) fn observe_links(&self) -> Result<Observed, NetlinkError> {
        Ok(Observed { links: lock(&self.route).links()?, ..Observed::default() })
    }

    /// Everything; routes of the main table and of `table`.
    pub(super) fn observe(&self, table: Option<u32>) -> Result<Observed, NetlinkError> {
        let mut observed = {
            let mut socket = lock(&self.route);
            let mut routes = Vec::new();
            // A node plan looks at no route at all.
            for table in table.into_iter().chain(table.map(|_| MAIN_TABLE)) {
                routes.extend(socket.routes(true, RouteFilter { table: Some(table), dev: None })?);
            }
            Observed {
                links: socket.links()?,
                addresses: if table.is_some() { socket.addresses(true)? } else { Vec::new() },
                rules: socket.rules(true)?,
                routes,
                table: ObservedTable::default(),
            }
        };
        observed.table = self.with_nft(observe_table)?;
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
