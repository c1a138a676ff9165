//! What the pool asks of the world, and what the world answers.

use std::net::IpAddr;

use crate::{
    addr::Prefix,
    cloud::{AddressCount, CloudEni, CloudError, CloudView, CreateEni},
    config::PoolConfig,
    datapath::{DatapathError, EniSpec},
    id::{EniId, OpId, SandboxKey},
    store::StoreError,
};

/// Something the pool wants done. Each comes back as one [`Event`] with the same `op`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Add addresses to an ENI; answered by [`Event::AddressesAssigned`].
    AssignAddresses {
        /// Operation.
        op: OpId,
        /// ENI to add to.
        eni: EniId,
        /// How many.
        count: AddressCount,
    },
    /// Create and attach an ENI; answered by [`Event::EniCreated`].
    CreateEni {
        /// Operation.
        op: OpId,
        /// What to create.
        request: CreateEni,
    },
    /// Detach and delete an ENI that has left the pool; answered by [`Event::EniDeleted`].
    DeleteEni {
        /// Operation.
        op: OpId,
        /// ENI to delete.
        eni: EniId,
    },
    /// List the attached ENIs; answered by [`Event::Described`].
    Describe {
        /// Operation.
        op: OpId,
    },
    /// Write the checkpoint as it is when this action is taken; answered by [`Event::Persisted`].
    Persist {
        /// Operation.
        op: OpId,
        /// Network card whose checkpoint it is: each has a
        /// [file of its own](crate::checkpoint::path_of_card).
        card: u32,
    },
    /// Store the [hint](crate::hint) as it is when this action is taken; answered by
    /// [`Event::Remembered`]. Asked for only if the configuration says so.
    Remember {
        /// Operation.
        op: OpId,
    },
    /// Make the host's side of an ENI what the spec says; answered by [`Event::EniSetUp`].
    SetUpEni {
        /// Operation.
        op: OpId,
        /// Desired state.
        eni: EniSpec,
    },
    /// Remove the host's side of an ENI; answered by [`Event::EniTornDown`].
    TearDownEni {
        /// Operation.
        op: OpId,
        /// What was set up.
        eni: EniSpec,
    },
    /// Take addresses from an ENI, after they left the pool; answered by
    /// [`Event::AddressesUnassigned`].
    UnassignAddresses {
        /// Operation.
        op: OpId,
        /// ENI to take from.
        eni: EniId,
        /// What to take.
        cidrs: Vec<Prefix>,
    },
}

impl Action {
    /// The variant's name, for logs and counters.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AssignAddresses { .. } => "AssignAddresses",
            Self::CreateEni { .. } => "CreateEni",
            Self::DeleteEni { .. } => "DeleteEni",
            Self::Describe { .. } => "Describe",
            Self::Persist { .. } => "Persist",
            Self::Remember { .. } => "Remember",
            Self::SetUpEni { .. } => "SetUpEni",
            Self::TearDownEni { .. } => "TearDownEni",
            Self::UnassignAddresses { .. } => "UnassignAddresses",
        }
    }

    /// The operation that the answer must carry.
    pub fn op(&self) -> OpId {
        match self {
            Self::AssignAddresses { op, .. }
            | Self::CreateEni { op, .. }
            | Self::DeleteEni { op, .. }
            | Self::Describe { op }
            | Self::Persist { op, .. }
            | Self::Remember { op }
            | Self::SetUpEni { op, .. }
            | Self::TearDownEni { op, .. }
            | Self::UnassignAddresses { op, .. } => *op,
        }
    }

    pub(crate) fn op_mut(&mut self) -> &mut OpId {
        match self {
            Self::AssignAddresses { op, .. }
            | Self::CreateEni { op, .. }
            | Self::DeleteEni { op, .. }
            | Self::Describe { op }
            | Self::Persist { op, .. }
            | Self::Remember { op }
            | Self::SetUpEni { op, .. }
            | Self::TearDownEni { op, .. }
            | Self::UnassignAddresses { op, .. } => op,
        }
    }
}

/// Something that happened. Late, duplicate and unknown operations are counted and ignored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Answer to [`Action::AssignAddresses`]: what was added.
    AddressesAssigned {
        /// Operation.
        op: OpId,
        /// New secondary addresses or prefixes.
        result: Result<Vec<Prefix>, CloudError>,
    },
    /// Answer to [`Action::UnassignAddresses`].
    AddressesUnassigned {
        /// Operation.
        op: OpId,
        /// Whether they are gone.
        result: Result<(), CloudError>,
    },
    /// Answer to [`Action::Describe`].
    Described {
        /// Operation.
        op: OpId,
        /// The view.
        result: Result<CloudView, CloudError>,
    },
    /// The node is going away: grow and free nothing any more, keep serving.
    Draining,
    /// Answer to [`Action::CreateEni`].
    EniCreated {
        /// Operation.
        op: OpId,
        /// The ENI.
        result: Result<CloudEni, CloudError>,
    },
    /// Answer to [`Action::DeleteEni`].
    EniDeleted {
        /// Operation.
        op: OpId,
        /// Whether it is gone.
        result: Result<(), CloudError>,
    },
    /// Answer to [`Action::SetUpEni`].
    EniSetUp {
        /// Operation.
        op: OpId,
        /// Whether the host is ready for the ENI's pods.
        result: Result<(), DatapathError>,
    },
    /// Answer to [`Action::TearDownEni`].
    EniTornDown {
        /// Operation.
        op: OpId,
        /// Whether the host forgot the ENI.
        result: Result<(), DatapathError>,
    },
    /// Answer to [`Action::Persist`].
    Persisted {
        /// Operation.
        op: OpId,
        /// Whether a restart would find it.
        result: Result<(), StoreError>,
    },
    /// Answer to [`Action::Remember`].
    Remembered {
        /// Operation.
        op: OpId,
        /// Whether a restart would find it.
        result: Result<(), StoreError>,
    },
    /// New settings.
    Reconfigured(Box<PoolConfig>),
    /// Whether the scheduler places new pods on the node; it is taken to until this says otherwise.
    /// While it does not, the pool neither grows nor frees ENIs, unless it is
    /// [told to](PoolConfig::manage_unschedulable).
    Schedulable(bool),
    /// Nothing but time passed; see [`Pool::poll_timeout`](super::Pool::poll_timeout).
    Timeout,
}

impl Event {
    /// The operation that it answers; `None` for what happened by itself.
    pub(crate) fn op_mut(&mut self) -> Option<&mut OpId> {
        match self {
            Self::AddressesAssigned { op, .. }
            | Self::AddressesUnassigned { op, .. }
            | Self::Described { op, .. }
            | Self::EniCreated { op, .. }
            | Self::EniDeleted { op, .. }
            | Self::EniSetUp { op, .. }
            | Self::EniTornDown { op, .. }
            | Self::Persisted { op, .. }
            | Self::Remembered { op, .. } => Some(op),
            Self::Draining | Self::Reconfigured(_) | Self::Schedulable(_) | Self::Timeout => None,
        }
    }
}

/// An address that belongs to a sandbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Assignment {
    /// Owner.
    pub key: SandboxKey,
    /// The address.
    pub ip: IpAddr,
    /// ENI that holds it; `None` for the release of a lease whose ENI the cloud does not show.
    pub eni: Option<EniId>,
    /// Device index of that ENI; 0 without one.
    pub device: u32,
    /// Network card of that ENI, or of the pool without one.
    pub card: u32,
    /// Routing table of that ENI; the main table without one.
    pub table: u32,
}

/// Immediate answer to an ADD.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Assign {
    /// The sandbox has this address, durably (a repeated ADD).
    Ready(Assignment),
    /// A [`Reply`] with this number will follow: the record is being written, or the pool is
    /// waiting for an address.
    Pending(OpId),
}

/// Immediate answer to a DEL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Release {
    /// Nobody holds an address under this key.
    Absent,
    /// A [`Reply`] with this number will follow once the release is durable.
    Pending(OpId),
}

/// The delayed answer to an ADD or DEL.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The number given by [`Assign::Pending`] or [`Release::Pending`].
    pub op: OpId,
    /// The outcome. For a DEL the assignment is the one that was released.
    pub result: Result<Assignment, super::AssignError>,
}
