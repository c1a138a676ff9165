//! The node under test and everything around it.

mod audit;
mod calls;
mod node;
mod pods;
mod scene;
mod script;

pub(crate) use self::{scene::Scene, script::Script};
