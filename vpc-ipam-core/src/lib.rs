//! Warm-pool and prefix-delegation IPAM for pods with AWS VPC addresses, as a pure state machine.
//!
//! This crate owns no clock, socket, thread, file, environment variable or random source. The caller
//! says what happened and when; the [`Pool`](pool::Pool) answers with what to do. The same calls with
//! the same times and seed give the same answers, byte for byte, so that a simulation of a year tests
//! the code that ships.
//!
//! # Contract
//!
//! - Time is a parameter, [`Time`](time::Time), and never runs backwards.
//! - After every call that takes `&mut Pool`, drain [`poll_action`](pool::Pool::poll_action) and
//!   [`poll_reply`](pool::Pool::poll_reply), then wait until
//!   [`poll_timeout`](pool::Pool::poll_timeout) or until something happens.
//! - Each [`Action`](pool::Action) is answered by one [`Event`](pool::Event) with the same number.
//!   Answers may come in any order and late; unknown ones are counted and ignored.
//! - An ADD or DEL is answered only once the state file says so ([two phases](pool::Reply)). If it
//!   cannot be written, the request is undone.
//! - An address that was leased is never leased again, nor given back to the cloud, before its lease
//!   has ended durably, whatever the cloud shows. An address that the cloud does not confirm is not
//!   given to anyone.
//! - An address that the [state file](checkpoint) names without explaining who has it is
//!   [quarantined](pool::QUARANTINE_NETWORK) until the sandboxes in question have gone. Without a
//!   cloud, the pool serves what it [recalls](pool::Pool::recall), and gives nothing up.
//!
//! A pool minds one network card. A [`Node`](node::Node) has one per card behind one interface, for
//! instances with several.
//!
//! [`Driver`](driver::Driver) turns actions into calls on the ports
//! ([`CloudBackend`](cloud::CloudBackend), [`Datapath`](datapath::Datapath), [`Store`](store::Store))
//! and their results into events, on any executor.
//!
//! [`differences`] lists what it does otherwise than the daemon that it replaces, and why.
//!
//! # Which ENIs serve pods
//!
//! [`Standing`](class::Standing) says what the pool does with each ENI, and follows every reading of
//! EC2: tags decide whose it is, its kind what may be done with it, the tags of its subnet and custom
//! networking whether it serves new pods. None of these ever cuts off a pod that is there. An ENI that
//! serves no new pods does not count for the targets; its addresses go back as they fall idle, and
//! it goes with its last pod. One that is somebody else's is left alone.
//!
//! # How much is kept ready
//!
//! The configured [`WarmTargets`](config::WarmTargets) decide, as the reference's do, or a
//! [`WarmPolicy`](policy::WarmPolicy): [`Adaptive`](policy::Adaptive), or one that you bring. The
//! adaptive policy learns what pods take from the pool. It holds the peak of the last half minute,
//! fetches two minutes ahead the burst that this time of the hour or of the day has brought before,
//! and adds the bursts that went beyond, weighed so that no more than one pod in 200 would have had to
//! wait. What counts as a burst depends on how long this cloud takes to give more, which it measures.
//! It keeps within [`Bounds`](policy::Bounds) and the node's pods, takes less than 1280 bytes, and
//! has no memory across restarts: a new daemon begins with a guess of ten addresses for an hour. The
//! reason of each [`Plan`](plan::Plan) says in one sentence what was learned.
//!
//! What that saves depends on the load; `docs/warm-policies.md` has the figures and how to get them.
//!
//! # When it grows, and by how much
//!
//! Demand is an event, not a tick: each ADD, DEL, answer and setting is followed by a new
//! [`plan`](plan::plan), and one plan asks for all that is missing at once, on several ENIs if it must:
//! for the pods that wait, what the targets want beyond them, and no more than the node's pods can use.
//! An ADD for which no address is free waits up to [`add_wait`](config::PoolConfig::add_wait) and
//! gets the first one that arrives, in the order in which pods came; one for which none can come is
//! refused at once. [`Plan::reason`](plan::Plan::reason) is data, and prints as one sentence with the numbers
//! that decided: the same one in the log, in an answer to a failed ADD, and in what an operator reads.
//!
//! # Which address a pod gets
//!
//! Pods are packed: the ENI with most pods first, in it the prefix with most pods, in that an address
//! that was never used, else the one that has been free for longest. So prefixes and ENIs drain, and
//! can be given back, while a released address rests for as long as possible.
//!
//! # What may be believed, and what may be given up
//!
//! EC2 is the authority; instance metadata is a hint that must have been there for a while before pods
//! get what it alone shows, and that never removes anything. Nothing is given back to EC2 without proof
//! that nobody uses it: no lease, and a view of EC2 newer than the pool's own last change of that ENI.
//! A lease whose address EC2 no longer shows is *orphaned*: counted, reported, answered as before, and
//! not given to anyone else until its DEL.
//!
//! # When the subnet is fragmented
//!
//! A prefix takes an aligned, free block of 16 addresses. In a subnet that has none left, however
//! many single addresses it has, the pool in prefix mode asks for single addresses: what the pods
//! that wait and the targets need, on the ENIs that are there first. Pods get them only while no
//! address in a prefix is free. A request for one prefix, after two minutes and then less and less
//! often up to every ten, finds out whether there are blocks again; the last slot of the node is
//! kept for it unless a pod waits. Once prefixes cover the targets, single addresses go as their
//! pods do.
//!
//! # How many EC2 calls a node makes
//!
//! EC2 throttles per account and API, so each pool keeps within a [`Budget`](budget::Budget): a token bucket per
//! kind of call, far larger than a node needs on an ordinary day. A request without a token waits,
//! and is planned anew when there is one, so that one larger request replaces several. A throttled
//! call halves its bucket and raises the [`CallLevel`](budget::CallLevel): first nothing is given
//! back, then nothing is requested but for pods that wait. Those always get their next attempt
//! within 20 seconds. Time without throttling, and a change that EC2 takes, bring it all back.
//!
//! The ENIs are read a minute after each change. While reads show what was expected, the time
//! between two doubles, up to five minutes; until the next one, the pool does not know what others
//! took from the node. On the simulator's workloads a node makes 12 to 43 calls an hour with
//! `WARM_ENI_TARGET=1`, 56 to 78 with a read each minute.
//!
//! # The loop
//!
//! Here without a driver, with a cloud of one ENI that is made up on the spot:
//!
//! ```
//! use std::{collections::BTreeMap, time::Duration};
//!
//! use vpc_ipam_core::{
//!     addr::Prefix,
//!     cloud::{Authority, CloudEni, CloudView, EniKind},
//!     config::{AllocationMode, PoolConfig, WarmTargets},
//!     id::{PodRef, SandboxKey},
//!     pool::{Action, Assign, Event, Pool},
//!     time::Time,
//! };
//!
//! let targets = WarmTargets { ips: 2, ..WarmTargets::default() };
//! let config = PoolConfig::new(AllocationMode::Secondary, targets, 3, 9)?;
//! let mut now = Time::ZERO;
//! let mut pool = Pool::new(config, now);
//! let mut eni = CloudEni {
//!     id: "eni-1".parse()?,
//!     mac: "02:00:00:00:00:01".parse()?,
//!     device: 0,
//!     card: 0,
//!     kind: EniKind::Interface,
//!     primary: true,
//!     excluded: false,
//!     subnet: "subnet-1".parse()?,
//!     subnet_cidr: "10.0.0.0/24".parse()?,
//!     primary_ip: "10.0.0.4".parse()?,
//!     cidrs: Vec::new(),
//!     tags: BTreeMap::new(),
//! };
//!
//! let key = SandboxKey::new("aws-cni", "9f1c0d7e", "eth0")?;
//! let pod = PodRef { namespace: "shop".to_owned(), name: "cart".to_owned() };
//! let Assign::Pending(add) = pool.assign(key, pod, now)? else { unreachable!() };
//!
//! let answer = loop {
//!     if let Some(reply) = pool.poll_reply() {
//!         assert_eq!(reply.op, add);
//!         break reply.result?;
//!     }
//!     let Some(action) = pool.poll_action(now) else {
//!         // Nothing to do: sleep until something happens, or until the pool has an idea.
//!         now = pool.poll_timeout().unwrap_or(now + Duration::from_secs(1));
//!         pool.handle(Event::Timeout, now);
//!         continue;
//!     };
//!     let event = match action {
//!         Action::Describe { op } => {
//!             let view = CloudView { enis: vec![eni.clone()], authority: Authority::Ec2 };
//!             Event::Described { op, result: Ok(view) }
//!         }
//!         Action::AssignAddresses { op, count, .. } => {
//!             let have = eni.cidrs.len() as u8;
//!             let new: Vec<Prefix> = (0..count.slots() as u8)
//!                 .map(|n| Prefix::host([10, 0, 0, 10 + have + n].into()))
//!                 .collect();
//!             eni.cidrs.extend(&new);
//!             Event::AddressesAssigned { op, result: Ok(new) }
//!         }
//!         Action::SetUpEni { op, .. } => Event::EniSetUp { op, result: Ok(()) },
//!         // Write `checkpoint::encode(&pool.checkpoint())` before anything else happens.
//!         Action::Persist { op, .. } => Event::Persisted { op, result: Ok(()) },
//!         other => unreachable!("{other:?}"),
//!     };
//!     pool.handle(event, now);
//! };
//! assert_eq!(answer.ip.to_string(), "10.0.0.10");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod addr;
mod address_map;
mod backoff;
pub mod branch;
pub mod budget;
pub mod checkpoint;
pub mod class;
pub mod cloud;
pub mod config;
pub mod datapath;
#[doc = include_str!("differences.md")]
pub mod differences {}
pub mod driver;
mod eni;
pub mod hint;
pub mod id;
pub mod k8s;
mod lookup;
pub mod node;
pub mod plan;
pub mod policy;
pub mod pool;
mod records;
mod slots;
pub mod stats;
pub mod store;
pub mod subnet;
mod tally;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod time;
