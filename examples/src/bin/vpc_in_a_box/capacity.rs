//! How many pods the chosen instances hold. Asked before anything is started, so that a wish that
//! cannot come true ends at once.

use thiserror::Error;
use vpc_ipam_core::{cloud::InstanceLimits, config::AllocationMode};

/// Addresses of a delegated /28.
const PREFIX_SIZE: u32 = 16;
/// Pods that EKS recommends at the most on instances below 30 vCPU, however many addresses a node
/// has; only prefix mode comes near it.
const MAX_PODS_RECOMMENDED: u32 = 110;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand<'a> {
    pub(crate) instance_type: &'a str,
    pub(crate) limits: &'a InstanceLimits,
    pub(crate) mode: AllocationMode,
    pub(crate) nodes: u32,
    pub(crate) pods: u32,
    /// Per node, if the user said so.
    pub(crate) max_pods: Option<u32>,
}

/// Why it cannot be had.
#[derive(Debug, Eq, Error, PartialEq)]
pub(crate) enum CapacityError {
    #[error(
        "--max-pods {asked}: one {instance_type} holds {holds} pods ({why}); \
         lower --max-pods or choose a larger --instance-type"
    )]
    MaxPods { asked: u32, instance_type: String, holds: u32, why: String },

    #[error(
        "{instance_type} cannot hold prefixes (its hypervisor is Xen); \
         use --mode secondary or a Nitro --instance-type"
    )]
    NoPrefixes { instance_type: String },

    #[error(
        "{pods} pods do not fit: {nodes} x {instance_type} hold {holds} pods, {each} each ({why}); \
         ask for {holds} or fewer pods{remedy}"
    )]
    Pods {
        pods: u32,
        nodes: u32,
        instance_type: String,
        holds: u32,
        each: u32,
        why: String,
        remedy: String,
    },
}

/// Pods that each node may run.
pub(crate) fn max_pods(demand: &Demand<'_>) -> Result<u32, CapacityError> {
    let Demand { instance_type, limits, mode, nodes, pods, max_pods } = *demand;
    let instance_type = || instance_type.to_owned();
    if mode == AllocationMode::Prefix && !limits.prefixes {
        return Err(CapacityError::NoPrefixes { instance_type: instance_type() });
    }
    let addresses = addresses(limits, mode);
    let (each, why) = match max_pods {
        Some(asked) if asked > addresses => {
            let why = arithmetic(limits, mode);
            let instance_type = instance_type();
            return Err(CapacityError::MaxPods { asked, instance_type, holds: addresses, why });
        }
        Some(asked) => (asked, "as --max-pods says".to_owned()),
        None if addresses > MAX_PODS_RECOMMENDED && mode == AllocationMode::Prefix => {
            (MAX_PODS_RECOMMENDED, "what EKS recommends; --max-pods raises it".to_owned())
        }
        None => (addresses, arithmetic(limits, mode)),
    };
    let holds = each.saturating_mul(nodes);
    if pods <= holds {
        return Ok(each);
    }
    let remedy = remedy(demand, each);
    Err(CapacityError::Pods {
        pods,
        nodes,
        instance_type: instance_type(),
        holds,
        each,
        why,
        remedy,
    })
}

fn addresses(limits: &InstanceLimits, mode: AllocationMode) -> u32 {
    let slots = limits.enis.saturating_mul(limits.slots());
    match mode {
        AllocationMode::Prefix => slots.saturating_mul(PREFIX_SIZE),
        AllocationMode::Secondary => slots,
    }
}

fn arithmetic(limits: &InstanceLimits, mode: AllocationMode) -> String {
    let (enis, slots) = (limits.enis, limits.slots());
    match mode {
        AllocationMode::Prefix => {
            format!("{enis} ENIs x {slots} prefixes x {PREFIX_SIZE} addresses")
        }
        AllocationMode::Secondary => format!("{enis} ENIs x {slots} secondary addresses"),
    }
}

fn remedy(demand: &Demand<'_>, each: u32) -> String {
    let nodes = demand.pods.div_ceil(each.max(1));
    let mut text = format!(", or --nodes {nodes}");
    let prefixes = demand.mode == AllocationMode::Secondary && demand.limits.prefixes;
    if demand.max_pods.is_none() && prefixes {
        let each = addresses(demand.limits, AllocationMode::Prefix).min(MAX_PODS_RECOMMENDED);
        text.push_str(&format!(", or --mode prefix ({each} each)"));
    }
    text.push_str(", or a larger --instance-type");
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn limits(enis: u32, ipv4: u32, prefixes: bool) -> InstanceLimits {
        InstanceLimits { enis, ipv4_per_eni: ipv4, card_enis: vec![enis], prefixes }
    }

    fn ask(
        limits: &InstanceLimits,
        mode: AllocationMode,
        nodes: u32,
        pods: u32,
    ) -> Result<u32, CapacityError> {
        max_pods(&Demand { instance_type: "m5.large", limits, mode, nodes, pods, max_pods: None })
    }

    #[test]
    fn an_m5_large_holds_twenty_seven_pods() {
        let m5 = limits(3, 10, true);
        assert_eq!(ask(&m5, AllocationMode::Secondary, 2, 54), Ok(27));
        let error = ask(&m5, AllocationMode::Secondary, 2, 55).unwrap_err().to_string();
        for part in ["55 pods", "hold 54", "27 each", "3 ENIs x 9", "--nodes 3", "--mode prefix"] {
            assert!(error.contains(part), "{part:?} in {error:?}");
        }
    }

    #[test]
    fn prefixes_are_capped_at_what_eks_recommends_until_the_user_says_more() {
        let t3 = limits(3, 4, true);
        assert_eq!(ask(&t3, AllocationMode::Prefix, 1, 60), Ok(110));
        assert!(ask(&t3, AllocationMode::Prefix, 1, 111).is_err());
        let raised = Demand {
            instance_type: "t3.small",
            limits: &t3,
            mode: AllocationMode::Prefix,
            nodes: 1,
            pods: 144,
            max_pods: Some(144),
        };
        assert_eq!(max_pods(&raised), Ok(144));
        assert!(max_pods(&Demand { max_pods: Some(145), ..raised }).is_err());
    }

    #[test]
    fn xen_instances_have_no_prefixes() {
        let m4 = limits(2, 10, false);
        assert!(matches!(
            ask(&m4, AllocationMode::Prefix, 1, 1),
            Err(CapacityError::NoPrefixes { .. })
        ));
        let error = ask(&m4, AllocationMode::Secondary, 1, 99).unwrap_err().to_string();
        assert!(!error.contains("--mode prefix"), "{error}");
    }
}
