//! EC2 and instance metadata over HTTP, in front of the core's EC2 model.
//!
//! Real clients can talk to it: EC2's Query protocol with its XML, error bodies and status codes, and
//! IMDSv2 with tokens, per instance. What it does not understand it refuses; it never ignores a
//! parameter. The caller owns the sockets, which may have been made in other network namespaces; one
//! tokio runtime serves them all.
//!
//! ```
//! # use std::sync::{Arc, Mutex};
//! use vpc_eni_aws::emulator::{Emulator, serve, wall_clock};
//! use vpc_ipam_core::testkit::ec2::WorldConfig;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let world = WorldConfig::new("10.0.0.0/16".parse()?)
//!     .subnet("10.0.0.0/24".parse()?)
//!     .instance(0, "m5.large")
//!     .build()?;
//! let instance = world.instances().first().map(|i| i.id.clone()).ok_or("no instance")?;
//! let emulator = Emulator::new(Arc::new(Mutex::new(world)), wall_clock());
//! emulator.on_change(|change| println!("{change:?}"));
//!
//! let ec2 = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let imds = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let ec2 = tokio::spawn(serve(ec2, emulator.ec2_router(), async move {
//!     stopped.await.ok();
//! }));
//! let imds = tokio::spawn(serve(imds, emulator.imds_router(&instance), std::future::ready(())));
//! // … point clients at the two addresses …
//! stop.send(()).ok();
//! ec2.await??;
//! imds.await??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod control;
mod ec2;
mod faults;
mod file;
mod form;
mod imds;
mod rfc3339;
mod server;
mod world_file;
mod xml;

pub use control::{
    AttachmentState, CONTROL_PATH, Change, ChangeError, CreateEni, EniState, FaultState,
    InstanceState, State, SubnetState, VpcState,
};
pub use faults::{Ec2Fault, Faults, MetadataFault, Timing};
pub use file::{FileError, FileProblem};
pub use imds::{TOKEN_TTL_SECONDS_MAX, TOKEN_TTL_SECONDS_MIN};
pub use server::{Clock, Emulator, Service, serve, tokio_clock, wall_clock};
pub use world_file::WorldFile;
