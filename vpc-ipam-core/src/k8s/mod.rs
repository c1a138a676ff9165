//! What the daemon derives from Kubernetes objects and puts into them, as functions of data: no client.
//!
//! Pods with an ENI of their own are in [`branch`](crate::branch).

pub mod cni_node;
pub mod eni_config;
