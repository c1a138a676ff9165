//! The table of environment variables: the only place that knows their names, ranges and defaults.

/// What becomes of a value that does not parse or lies outside its range.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Invalid {
    /// There is none: every text counts.
    Any,
    /// The default is used and a warning is logged.
    Default,
    /// The daemon refuses to start.
    Fatal,
    /// Bad entries of the list are skipped with a warning, good ones count.
    Skip,
}

/// One environment variable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Variable {
    /// Name in the environment.
    pub name: &'static str,
    /// Default as text, for the documentation.
    pub default: &'static str,
    /// Accepted values, in words.
    pub values: &'static str,
    /// Treatment of other values.
    pub invalid: Invalid,
    /// What it does.
    pub doc: &'static str,
}

macro_rules! variables {
    ($($ident:ident, $default:literal, $values:expr, $invalid:ident, $doc:literal;)*) => {
        $(
            #[doc = $doc]
            #[allow(non_upper_case_globals)]
            pub const $ident: Variable = Variable {
                name: stringify!($ident),
                default: $default,
                values: $values,
                invalid: Invalid::$invalid,
                doc: $doc,
            };
        )*
        /// Every variable that the daemon honours, by name.
        pub const VARIABLES: &[Variable] = &[$($ident),*];
    };
}

const BOOL: &str = "`1 t T TRUE true True 0 f F FALSE false False`";
const CIDRS: &str = "comma-separated IPv4 CIDR blocks";
const COUNT: &str = "integer, 0 to 100000";

variables! {
    ADDITIONAL_ENI_TAGS, "`{}`", "JSON object of strings, keys up to 128 and values up to 256 characters", Skip,
        "Extra tags of the ENIs that the daemon creates. Keys that contain `k8s.amazonaws.com` are dropped.";
    AWS_CA_BUNDLE, "the system's", "path; empty is unset", Fatal,
        "File of certificates in PEM form that HTTPS servers are checked against, in place of the system's.";
    AWS_EC2_ENDPOINT, "the region's", "`http://` or `https://` URL; empty is unset", Fatal,
        "EC2 endpoint to use instead of the region's.";
    AWS_EC2_METADATA_DISABLED, "`false`", BOOL, Default,
        "True: instance metadata is never asked, for credentials neither. The daemon then knows its instance only if it remembers it.";
    AWS_EC2_METADATA_V1_DISABLED, "`false`", BOOL, Default,
        "True: instance metadata is read with tokens only. Otherwise it is read without (IMDSv1) where tokens are not to be had.";
    AWS_EXTERNAL_SERVICE_CIDRS, "none", CIDRS, Skip,
        "Destinations that always take the node's main routing table.";
    AWS_VPC_CNI_NODE_PORT_SUPPORT, "`true`", BOOL, Default,
        "Answer NodePort connections through the interface they came by.";
    AWS_VPC_ENI_MTU, "`9001`", "integer, 576 to 9001", Fatal,
        "MTU of the node's ENIs in bytes, and of pods unless the plugin's configuration says otherwise.";
    AWS_VPC_K8S_CNI_BACKING_STORE, "`/var/run/aws-node/ipam.json`", "path", Fatal,
        "State file: which pod has which address.";
    AWS_VPC_K8S_CNI_CONNMARK, "`0x80`", "integer, 1 to 4294967295, decimal or `0x…`, without the low seven bits", Default,
        "Mark of connections that belong to the primary ENI. The low seven bits (`0x7f`) carry the ENI's number.";
    AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS, "none", CIDRS, Skip,
        "Destinations outside the VPC that see the pod's own address. Without effect when `AWS_VPC_K8S_CNI_EXTERNALSNAT` is true.";
    AWS_VPC_K8S_CNI_EXTERNALSNAT, "`false`", BOOL, Default,
        "True: somebody else, such as a NAT gateway, translates what leaves the VPC.";
    AWS_VPC_K8S_CNI_LOGLEVEL, "`DEBUG`", "`DEBUG INFO WARN ERROR FATAL`, in any case", Default,
        "Least severe messages that are logged.";
    AWS_VPC_K8S_CNI_LOG_FILE, "`/host/var/log/aws-routed-eni/ipamd.log`", "`stdout`, `stderr` or a path; empty is the default", Any,
        "Where the log goes. If the file cannot be opened the log goes to stderr. The daemon does not rotate it.";
    AWS_VPC_K8S_CNI_RANDOMIZESNAT, "`prng`", "`prng hashrandom none`", Default,
        "Choice of source ports of translated connections: fully random, hash, or the pod's port where possible.";
    AWS_VPC_K8S_CNI_VETHPREFIX, "`eni`", "1 to 4 characters, not `eth`, `vlan` or `lo`", Fatal,
        "First characters of the names of the pods' host interfaces.";
    CLUSTER_NAME, "none", "text; empty is unset", Any,
        "Cluster that the ENIs are tagged with, and whose tag `cni.networking.k8s.aws/cluster/<name>` opens subnets that are reserved for clusters.";
    DISABLE_INTROSPECTION, "`false`", BOOL, Default,
        "True: no introspection server.";
    DISABLE_LEAKED_ENI_CLEANUP, "`false`", BOOL, Default,
        "True: do not delete ENIs that a node of the cluster has left behind. Otherwise each node looks for them hourly.";
    DISABLE_METRICS, "`false`", BOOL, Default,
        "True: no metrics server on port 61678.";
    DISABLE_NETWORK_RESOURCE_PROVISIONING, "`false`", BOOL, Default,
        "True: never create, change or delete anything in EC2; the pool follows what the instance has.";
    ENABLE_IMDS_ONLY_MODE, "`false`", BOOL, Default,
        "True: never ask EC2 for anything. The pool follows what instance metadata shows, nothing is created, changed or deleted, and ENIs that are somebody else's cannot be told apart. The instance type must be in the built-in table.";
    ENABLE_IPv4, "`true` unless `ENABLE_IPv6` is true", BOOL, Default,
        "Pods have IPv4 addresses. Exactly one of the two families must be on.";
    ENABLE_IPv6, "`false`", BOOL, Default,
        "Pods have IPv6 addresses. Not supported by this version: true stops the daemon.";
    ENABLE_POD_ENI, "`false`", BOOL, Default,
        "True: the pool leaves a place free for the trunk ENI until one is attached. The rest of security groups for pods is not in this version: no trunk is asked for, pods get no branch ENIs, and true is reported in the log.";
    ENABLE_PREFIX_DELEGATION, "`false`", BOOL, Default,
        "ENIs hold /28 prefixes instead of single addresses. Needs a warm or minimum target above 0; on instances without prefixes, single addresses are used with a warning.";
    ENABLE_SUBNET_DISCOVERY, "`true`", BOOL, Default,
        "New ENIs go into the subnet of the node's VPC and zone that has most free addresses, of those that the tag `kubernetes.io/role/cni` admits (any value but `0`) and of the node's own unless it is tagged `0`. ENIs in subnets that their tags exclude serve no new pods; that tags have changed is noticed within half an hour. False: the node's own subnet only.";
    HTTP_TIMEOUT, "`10`", "integer, at least 10", Default,
        "Seconds that one AWS request may take.";
    INTROSPECTION_BIND_ADDRESS, "`127.0.0.1:61679`", "`host:port` or `unix:<path>`", Default,
        "Where introspection and `/healthz` listen.";
    IP_COOLDOWN_PERIOD, "`30`", "integer, 0 to 86400", Fatal,
        "Seconds that a released address rests before another pod can have it.";
    MANAGE_UNTAGGED_ENI, "`true`", BOOL, Default,
        "False: leave ENIs alone that are not tagged `node.k8s.amazonaws.com/instance_id` with this instance's id. The primary ENI is always used, and one tagged `node.k8s.amazonaws.com/no_manage=true` never.";
    MAX_ENI, "the instance's limit", "integer, 1 to 100000", Default,
        "ENIs that the node may have, if that is less than the instance's limit.";
    MAX_PODS, "what the instance type's addresses allow; 110 with prefixes", "integer, 1 to 100000", Default,
        "Pods that the node runs at the most; the pool does not grow past it. Own addition, for nodes without Kubernetes.";
    MINIMUM_IP_TARGET, "unset", COUNT, Default,
        "Addresses that the node has at least, used or not. 0 is unset. Overrides `WARM_ENI_TARGET` and `WARM_PREFIX_TARGET`.";
    MY_NODE_NAME, "none", "text; empty is unset", Any,
        "Name of this node, for logs.";
    VPC_CNI_STATE_JOURNAL, "`false`", BOOL, Default,
        "Append to a journal beside the state file instead of writing the file for each pod. For state files on a disk that is slow to sync; on a tmpfs it gains nothing. Up to 32 addresses are then out of use when the reference takes the file over.";
    VPC_CNI_VERSION, "the daemon's version", "letters, digits and `.-+_`; empty is unset", Default,
        "Version in the user agent of AWS requests.";
    VPC_CNI_WARM_MAX, "one ENI's worth wanted, two kept", COUNT, Default,
        "Most free addresses that the adaptive policy keeps. Rules over `VPC_CNI_WARM_MIN`. Set it higher where larger bursts must not wait for EC2.";
    VPC_CNI_WARM_MIN, "`1`", COUNT, Default,
        "Fewest free addresses that the adaptive policy keeps.";
    VPC_CNI_WARM_POLICY, "`static`", "`static adaptive`", Default,
        "Who decides how many addresses are kept ready: the targets, or a policy that learns from the pods of the last minutes, hours and days.";
    WARM_ENI_TARGET, "`1`", COUNT, Default,
        "Spare ENIs to keep, filled completely. Without effect with address targets or prefix delegation.";
    WARM_IP_TARGET, "unset", COUNT, Default,
        "Free addresses to keep. 0 is unset. Overrides `WARM_ENI_TARGET` and `WARM_PREFIX_TARGET`.";
    WARM_PREFIX_TARGET, "`0`", COUNT, Default,
        "Prefixes without a pod to keep, with prefix delegation and without address targets.";
}

/// What [`ENABLE_POD_ENI`] does not do.
pub(super) const POD_ENI_PART: &str =
    "only a place for the trunk ENI is kept; pods get no branch ENIs in this version";

/// Variables of the reference system whose effect this version does not have. Setting one to
/// anything but its inert value is reported, not silently ignored.
pub const UNSUPPORTED: &[(&str, &[&str])] = &[
    ("ANNOTATE_POD_IP", FALSE),
    ("AWS_MANAGE_ENIS_NON_SCHEDULABLE", FALSE),
    ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", FALSE),
    ("ENABLE_BANDWIDTH_PLUGIN", FALSE),
    ("ENABLE_MULTI_NIC", FALSE),
    ("ENABLE_V6_EGRESS", FALSE),
    ("NETWORK_POLICY_ENFORCING_MODE", &["", "none"]),
];

const FALSE: &[&str] = &["0", "f", "F", "FALSE", "false", "False"];
