//! On which terms the calls of a piece of work are made. They travel with the task, so that each
//! call need not carry them; what a task spawns is on the usual terms.

use tokio::task::futures::TaskLocalFuture;

/// Who goes first.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Urgency {
    /// A pod may wait for it.
    #[default]
    Urgent,
    /// It has time.
    Background,
}

/// Terms of calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Terms {
    pub(crate) urgency: Urgency,
    /// The SDK may send a request again.
    pub(crate) retries: bool,
    /// What is read is not this node's own.
    pub(crate) listing: bool,
}

const USUAL: Terms = Terms { urgency: Urgency::Urgent, retries: true, listing: false };

tokio::task_local! {
    static TERMS: Terms;
}

/// Those of the caller.
pub(crate) fn terms() -> Terms {
    TERMS.try_with(|terms| *terms).unwrap_or(USUAL)
}

/// `work` has time: calls for pods go first.
pub(crate) fn in_background<F: Future>(work: F) -> TaskLocalFuture<Terms, F> {
    TERMS.scope(Terms { urgency: Urgency::Background, ..terms() }, work)
}

/// `work` looks at what is not this node's own, and has time.
pub(crate) fn sweeping<F: Future>(work: F) -> TaskLocalFuture<Terms, F> {
    TERMS.scope(Terms { urgency: Urgency::Background, listing: true, ..terms() }, work)
}

/// Each request of `work` is sent once: it will be repeated by whoever made it.
pub(crate) fn once<F: Future>(work: F) -> TaskLocalFuture<Terms, F> {
    TERMS.scope(Terms { retries: false, ..terms() }, work)
}
