//! The node under test and everything around it.

mod audit;
mod calls;
mod node;
mod pods;
mod provoke;
mod scene;
mod script;

pub(crate) use self::{
    provoke::{prepare, provoke, with_spare_eni},
    scene::{FOREVER, Scene, in_virtual_time},
    script::Script,
};
