//! The daemon in this process, on fakes of cloud, kernel and store, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod companions;
mod leaving;
mod node;
mod pages;
mod requests;
mod trouble;
