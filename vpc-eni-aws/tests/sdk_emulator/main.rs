//! The backend, through the AWS SDK and real HTTP, against the emulator of EC2 and metadata.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod bodies;
mod errors;
mod generator;
mod in_process;
mod ipv6;
mod life_cycle;
mod limits;
mod metadata;
mod modes;
mod pace;
mod places;
mod process;
mod refresh;
mod support;
mod tls;
mod upkeep;
mod wire;
mod worst_case;
