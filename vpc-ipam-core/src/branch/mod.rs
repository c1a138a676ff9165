//! Pods with an ENI of their own: a branch of the node's trunk, made by the cluster's resource controller.
//!
//! The controller decides; the daemon reads the pod and passes on what it finds. Nothing is leased
//! and nothing is stored here: these are functions from a pod, as the Kubernetes API shows it, to the
//! answer of an ADD or DEL. Whoever calls them reads the pod, finds the trunk's link, and answers.
//!
//! ```
//! use vpc_ipam_core::{
//!     config::Family,
//!     branch::{self, Add, POD_ENI, PodObject, Trunk},
//! };
//!
//! let mut pod = PodObject::default();
//! pod.first_container_limits.push(POD_ENI.to_owned());
//! let annotation = r#"[{"eniId":"eni-0ab","ifAddress":"0a:11:22:33:44:55","privateIp":"10.2.0.9",
//!     "ipv6Addr":"","vlanID":7,"subnetCidr":"10.2.0.0/24","subnetV6Cidr":""}]"#;
//! pod.annotations.insert(POD_ENI.to_owned(), annotation.to_owned());
//! let trunk = Trunk { eni: "eni-0cd".parse()?, link: Some(3) };
//!
//! let Add::Branch(eni) = branch::add(&pod, Some(&trunk), Family::V4)? else { unreachable!() };
//! assert_eq!((eni.ip, eni.vlan, eni.parent_link), ("10.2.0.9".parse()?, 7, 3));
//! assert_eq!(eni.gateway, "10.2.0.1".parse::<std::net::IpAddr>()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod annotation;
mod decide;
mod error;

pub use self::{
    annotation::POD_ENI,
    decide::{Add, BranchEni, Del, PodObject, Trunk, add, del, wants_branch},
    error::BranchError,
};

#[cfg(test)]
mod tests;
