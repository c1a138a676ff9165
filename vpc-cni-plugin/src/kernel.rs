//! Port to the kernel, and the real one.

use vpc_datapath_linux::LinuxDatapath;
use vpc_ipam_core::datapath::{Datapath, DatapathError, PodSpec, PodTeardown, PodWiring};

/// The half of [`Datapath`] that concerns pods; every `Datapath` has it.
///
/// A plugin that asks for no more does not carry the code for the other half, a tenth of the file that
/// is loaded for every pod.
pub trait PodDatapath {
    /// See [`Datapath::set_up_pod`].
    ///
    /// # Errors
    ///
    /// At the first step that fails.
    fn set_up_pod(&self, pod: &PodSpec) -> Result<PodWiring, DatapathError>;

    /// See [`Datapath::tear_down_pod`].
    ///
    /// # Errors
    ///
    /// After trying every step, the failures together.
    fn tear_down_pod(&self, pod: &PodTeardown) -> Result<(), DatapathError>;
}

impl<T: Datapath> PodDatapath for T {
    fn set_up_pod(&self, pod: &PodSpec) -> Result<PodWiring, DatapathError> {
        Datapath::set_up_pod(self, pod)
    }

    fn tear_down_pod(&self, pod: &PodTeardown) -> Result<(), DatapathError> {
        Datapath::tear_down_pod(self, pod)
    }
}

/// The kernel that runs this process, opened when it is first needed: VERSION, and every command that
/// fails before it comes to wiring, needs no rights.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct NodeKernel;

impl NodeKernel {
    /// The kernel, in the network namespace that each caller is in.
    pub fn new() -> Self {
        Self
    }
}

impl PodDatapath for NodeKernel {
    fn set_up_pod(&self, pod: &PodSpec) -> Result<PodWiring, DatapathError> {
        Datapath::set_up_pod(&LinuxDatapath::open()?, pod)
    }

    fn tear_down_pod(&self, pod: &PodTeardown) -> Result<(), DatapathError> {
        Datapath::tear_down_pod(&LinuxDatapath::open()?, pod)
    }
}
