//! Names of the pool's actions and failures, as logs and metrics have them.

use vpc_ipam_core::pool::{Action, Event};

/// What `action` is for, in the reference's words for `awscni_ipamd_action_inprogress`.
pub(super) fn purpose(action: &Action) -> &'static str {
    match action {
        Action::AssignAddresses { .. } | Action::CreateEni { .. } | Action::SetUpEni { .. } => {
            "increaseDatastorePool"
        }
        Action::DeleteEni { .. }
        | Action::TearDownEni { .. }
        | Action::UnassignAddresses { .. } => "decreaseDatastorePool",
        Action::Describe { .. } => "nodeIPPoolReconcile",
        Action::Persist { .. } | Action::Remember { .. } => "persist",
        _ => "other",
    }
}

/// The outcome of a job.
pub(super) struct Outcome {
    /// What was tried.
    pub what: &'static str,
    /// Value of `fn` of `awscni_ipamd_error_count` if it failed.
    pub error_fn: &'static str,
    /// The failure, as one sentence.
    pub error: Option<String>,
}

impl Outcome {
    /// Of the answer to an action; `None` for events that answer none.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let (what, error_fn, error) = match event {
            Event::AddressesAssigned { result, .. } => {
                ("assign_addresses", "increaseIPPoolAllocIPAddressesFailed", text(result))
            }
            Event::AddressesUnassigned { result, .. } => {
                ("unassign_addresses", "decreaseIPPool", text(result))
            }
            Event::Described { result, .. } => ("describe", "reconcileFailedGetENIs", text(result)),
            Event::EniCreated { result, .. } => {
                ("create_eni", "increaseIPPoolAllocENI", text(result))
            }
            Event::EniDeleted { result, .. } => {
                ("delete_eni", "decreaseIPPoolFreeENIFailed", text(result))
            }
            Event::EniSetUp { result, .. } => {
                ("set_up_eni", "increaseIPPoolsetupENIFailed", text(result))
            }
            Event::EniTornDown { result, .. } => {
                ("tear_down_eni", "freeENIDeleteRulesFailed", text(result))
            }
            Event::Persisted { result, .. } => ("persist", "persistFailed", text(result)),
            Event::Remembered { result, .. } => ("remember", "persistFailed", text(result)),
            _ => return None,
        };
        Some(Self { what, error_fn, error })
    }
}

fn text<T, E: ToString>(result: &Result<T, E>) -> Option<String> {
    result.as_ref().err().map(ToString::to_string)
}
