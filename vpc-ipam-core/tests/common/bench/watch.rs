//! What a test sees of a node.

use vpc_ipam_core::{
    checkpoint::Checkpoint,
    id::{OpId, SandboxKey},
    pool::{Action, Assign, AssignError, Event, Pool, Release, Reply},
    testkit::MemoryStore,
    time::Time,
};

/// A violation. What led to it is in the commands.
pub(crate) type Outcome = Result<(), String>;

/// A call of the pool, and what it returned.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// A daemon has started on this state file.
    Start(&'a Checkpoint),
    Add(&'a SandboxKey, &'a Result<Assign, AssignError>),
    Del(&'a SandboxKey, &'a Result<Release, AssignError>),
    /// Nobody wants the answer to that ADD any more.
    Abandon(&'a SandboxKey, OpId, &'a Release),
    Event(&'a Event),
    /// An answer that had come already.
    Repeated(&'a Event),
}

/// A node at one moment.
pub(crate) struct Seen<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) store: &'a MemoryStore,
    pub(crate) now: Time,
}

/// Looks on, and objects. After each call of the pool, in this order: `called` once, `answered` and
/// `asked` for each reply and action, `settled` once.
pub(crate) trait Watch {
    fn called(&mut self, _input: &Input<'_>, _seen: &Seen<'_>) -> Outcome {
        Ok(())
    }

    fn answered(&mut self, _reply: &Reply, _seen: &Seen<'_>) -> Outcome {
        Ok(())
    }

    /// All replies have been seen.
    fn all_answered(&mut self) -> Outcome {
        Ok(())
    }

    fn asked(&mut self, _action: &Action, _seen: &Seen<'_>) -> Outcome {
        Ok(())
    }

    fn settled(&mut self, _seen: &Seen<'_>) -> Outcome {
        Ok(())
    }

    /// A call has taken effect, and nobody has heard of it yet. `kept`: a write is in the file.
    fn took_effect(&mut self, _answer: &Event, _kept: bool) {}

    /// A command has been obeyed.
    fn obeyed(&mut self, _seen: &Seen<'_>) -> Outcome {
        Ok(())
    }

    /// Nothing fails any more, and there was time for everything.
    fn rested(&mut self, _seen: &Seen<'_>) -> Outcome {
        Ok(())
    }
}
