//! The backend itself: what it holds, and the port it implements.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::{Mutex as AsyncMutex, Notify, OnceCell};
use vpc_ipam_core::{
    addr::Prefix,
    cloud::{
        AddressCount, CloudBackend, CloudEni, CloudError, CloudView, CreateEni, InstanceFacts,
        InstanceLimits,
    },
    id::EniId,
};

use crate::{
    api::Ec2Api,
    config::{AwsConfig, AwsConfigError, validate_region},
    counts::{CallCounts, CallObserver, Recorder},
    imds::Imds,
    instance::Identity,
    memory::Memory,
    pace::{PaceReport, Pacer, in_background},
    sdk,
};

/// The core's cloud on EC2 and instance metadata. EC2 is the authority, metadata a hint.
///
/// Making one sends nothing. Region, credentials and the identity of the instance are found out
/// when they are first needed, so that a node whose cloud is out of reach can start and say so. Its
/// methods need a tokio runtime with time and IO.
pub struct AwsBackend {
    pub(crate) config: AwsConfig,
    pub(crate) imds: Imds,
    pub(crate) identity: OnceCell<Identity>,
    pub(crate) limits: OnceCell<InstanceLimits>,
    /// Held from choosing a device index until it is taken.
    pub(crate) attaching: AsyncMutex<()>,
    /// Held while the subnets are looked up.
    pub(crate) listing_subnets: AsyncMutex<()>,
    /// EC2 has given a view.
    pub(crate) viewed: Notify,
    api: OnceCell<Arc<dyn Ec2Api>>,
    memory: Mutex<Memory>,
    pub(crate) recorder: Arc<Recorder>,
    pacer: Arc<Pacer>,
}

impl fmt::Debug for AwsBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsBackend")
            .field("config", &self.config)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl AwsBackend {
    /// A backend; sends nothing yet.
    ///
    /// # Errors
    ///
    /// If an endpoint is not a URL.
    pub fn new(config: AwsConfig) -> Result<Self, AwsConfigError> {
        Self::with_observer(config, None)
    }

    /// A backend whose EC2 calls are reported to `observer` as they end.
    ///
    /// # Errors
    ///
    /// If an endpoint is not a URL.
    pub fn with_observer(
        config: AwsConfig,
        observer: Option<Arc<dyn CallObserver>>,
    ) -> Result<Self, AwsConfigError> {
        let recorder = Arc::new(Recorder::new(observer));
        Ok(Self {
            imds: Imds::new(&config, Arc::clone(&recorder))?,
            pacer: Arc::new(Pacer::new(config.pace)),
            config,
            identity: OnceCell::new(),
            limits: OnceCell::new(),
            attaching: AsyncMutex::new(()),
            listing_subnets: AsyncMutex::new(()),
            viewed: Notify::new(),
            api: OnceCell::new(),
            memory: Mutex::default(),
            recorder,
        })
    }

    #[cfg(test)]
    pub(crate) fn with_api(config: AwsConfig, api: Arc<dyn Ec2Api>, identity: Identity) -> Self {
        let mut backend = Self::new(config).unwrap_or_else(|error| unreachable!("{error}"));
        backend.api = OnceCell::new_with(Some(api));
        backend.identity = OnceCell::new_with(Some(identity));
        backend
    }

    /// How often AWS was asked since this backend was made.
    pub fn call_counts(&self) -> CallCounts {
        self.recorder.snapshot()
    }

    /// State of the buckets that pace what is sent to EC2, one for each
    /// [`CallClass`](crate::CallClass).
    pub fn pace(&self) -> Vec<PaceReport> {
        self.pacer.report()
    }

    /// Why the last [`describe`](CloudBackend::describe) had to make do with instance metadata;
    /// `None` if EC2 answered it.
    pub fn ec2_failure(&self) -> Option<CloudError> {
        self.memory().ec2_failure.clone()
    }

    /// EC2 actions that the IAM role lacks, such as `DetachNetworkInterface`, with EC2's code: those that
    /// were refused the last time they were tried.
    pub fn denied_actions(&self) -> BTreeMap<String, String> {
        self.recorder.denied()
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// EC2, connected on first use.
    ///
    /// # Errors
    ///
    /// If it must not be asked for anything, or the region cannot be found out.
    pub(crate) async fn api(&self) -> Result<&dyn Ec2Api, CloudError> {
        // Whatever is asked, reading is the least.
        self.config.permit().check("DescribeNetworkInterfaces")?;
        let connect = || async {
            let region = self.region().await?;
            let (recorder, pacer) = (Arc::clone(&self.recorder), Arc::clone(&self.pacer));
            let node = self.identity.get().map(|me| &me.instance);
            let sdk = sdk::connect(&self.config, region, &self.imds, node, recorder, pacer).await;
            Ok::<Arc<dyn Ec2Api>, CloudError>(Arc::new(sdk))
        };
        self.api.get_or_try_init(connect).await.map(AsRef::as_ref)
    }

    /// Region as configured, else as the instance identity document says.
    pub(crate) async fn region(&self) -> Result<String, CloudError> {
        if let Some(region) = &self.config.region {
            return Ok(region.clone());
        }
        if let Some(me) = self.identity.get() {
            return Ok(me.region.clone());
        }
        let region = self.imds.region().await?;
        validate_region(&region).map_err(|e| {
            let kind = vpc_ipam_core::cloud::CloudErrorKind::Malformed;
            CloudError::new(kind, "IMDS instance identity document", e.to_string())
        })?;
        Ok(region)
    }
}

#[async_trait]
impl CloudBackend for AwsBackend {
    async fn instance(&self) -> Result<InstanceFacts, CloudError> {
        self.facts().await
    }

    async fn describe(&self) -> Result<CloudView, CloudError> {
        self.view().await
    }

    async fn create_eni(&self, request: &CreateEni) -> Result<CloudEni, CloudError> {
        self.config.permit().check("CreateNetworkInterface")?;
        self.create(request).await
    }

    async fn delete_eni(&self, eni: &EniId) -> Result<(), CloudError> {
        self.config.permit().check("DeleteNetworkInterface")?;
        in_background(self.delete(eni)).await
    }

    async fn assign_addresses(
        &self,
        eni: &EniId,
        count: AddressCount,
    ) -> Result<Vec<Prefix>, CloudError> {
        self.config.permit().check("AssignPrivateIpAddresses")?;
        self.assign(eni, count).await
    }

    async fn unassign_addresses(&self, eni: &EniId, cidrs: &[Prefix]) -> Result<(), CloudError> {
        self.config.permit().check("UnassignPrivateIpAddresses")?;
        in_background(self.unassign(eni, cidrs)).await
    }
}
