//! Missing permissions.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use vpc_eni_aws::{Call, CallObserver};
use vpc_ipam_core::{
    cloud::{CloudBackend as _, CloudErrorKind},
    testkit::ec2::{Ec2Action, Ec2Error},
};

use super::Region;
use crate::{
    in_process::in_virtual_time,
    support::{m5_large, secondary},
};

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<(String, String)>>);

impl CallObserver for Heard {
    fn observe(&self, _: &Call<'_>) {}

    fn denied(&self, action: &str, code: &str) {
        self.0.lock().unwrap().push((action.to_owned(), code.to_owned()));
    }
}

#[test]
fn quirk_q4_a_missing_permission_to_detach_is_told() {
    in_virtual_time(async {
        let heard = Arc::new(Heard::default());
        let observer: Arc<dyn CallObserver> = Arc::<Heard>::clone(&heard);
        let region = Region::with(m5_large(), Some(observer), |config| config);
        let eni = region.backend.create_eni(&secondary(1)).await.unwrap().id;
        let denied = Ec2Error::unauthorized();
        region.world().faults_mut().fail(Ec2Action::DetachNetworkInterface, denied, 2);
        for _ in 0..2 {
            let error = region.backend.delete_eni(&eni).await.unwrap_err();
            assert_eq!(error.kind, CloudErrorKind::PermissionDenied);
            let denied = ("DetachNetworkInterface".to_owned(), "UnauthorizedOperation".to_owned());
            // Once, however often it is tried.
            assert_eq!(heard.0.lock().unwrap().as_slice(), std::slice::from_ref(&denied));
            assert_eq!(region.backend.denied_actions(), BTreeMap::from([denied]));
        }
        let unfinished = region.backend.call_counts().unfinished;
        assert_eq!(unfinished[&("FreeENIDeleteErr", "PermissionDenied".to_owned())], 2);

        region.backend.delete_eni(&eni).await.unwrap();
        assert!(region.backend.denied_actions().is_empty());
    });
}

#[test]
fn each_step_that_leaves_something_behind_is_counted_under_the_reference_s_name() {
    in_virtual_time(async {
        let region = Region::start(m5_large());
        let fail = |action| {
            let error = Ec2Error::unauthorized();
            region.world().faults_mut().fail(action, error, 1);
        };
        let unfinished = || -> Vec<_> {
            region.backend.call_counts().unfinished.into_keys().map(|(step, _)| step).collect()
        };
        fail(Ec2Action::AttachNetworkInterface);
        fail(Ec2Action::DeleteNetworkInterface);
        region.backend.create_eni(&secondary(1)).await.unwrap_err();
        assert_eq!(unfinished(), ["AllocENIDeleteErr"]);
        fail(Ec2Action::ModifyNetworkInterfaceAttribute);
        fail(Ec2Action::DetachNetworkInterface);
        region.backend.create_eni(&secondary(1)).await.unwrap_err();
        assert_eq!(unfinished(), ["AllocENIDeleteErr", "ENICleanupUponModifyNetworkErr"]);
        fail(Ec2Action::DescribeNetworkInterfaces);
        region.backend.delete_eni(&"eni-0a1".parse().unwrap()).await.unwrap_err();
        assert!(unfinished().contains(&"getENIAttachmentIDFailed"), "{:?}", unfinished());
    });
}
