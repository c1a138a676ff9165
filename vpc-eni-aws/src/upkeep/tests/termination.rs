//! ENIs that vanish with their instance.

use vpc_ipam_core::cloud::{CloudBackend as _, CloudErrorKind as Kind};

use super::{Fake, count, id, two_enis, upkeep};

/// As if the maker of the ENI had been stopped before it could say so.
fn unmark(fake: &Fake, eni: &str) {
    let mut state = fake.state();
    let attachment = state.enis.get_mut(&id(eni)).unwrap().attachment.as_mut().unwrap();
    attachment.delete_on_termination = Some(false);
}

fn stays(fake: &Fake, eni: &str) -> Option<bool> {
    let state = fake.state();
    state.enis[&id(eni)].attachment.as_ref().unwrap().delete_on_termination.map(|gone| !gone)
}

#[tokio::test(start_paused = true)]
async fn an_eni_whose_maker_was_stopped_vanishes_with_the_instance_all_the_same() {
    let (backend, fake) = two_enis().await;
    unmark(&fake, "eni-1");
    backend.describe().await.unwrap();
    let upkeep = upkeep(&backend);
    fake.refuse("delete_on_termination", Kind::PermissionDenied);
    assert_eq!(upkeep.mark_own().await.unwrap_err().kind, Kind::PermissionDenied);
    upkeep.mark_own().await.unwrap();
    assert_eq!(stays(&fake, "eni-1"), Some(false));
    // The primary ENI is the instance's own matter.
    assert_eq!(stays(&fake, "eni-primary"), Some(true));
    let calls = count(&fake, "delete_on_termination");
    upkeep.mark_own().await.unwrap();
    assert_eq!(count(&fake, "delete_on_termination"), calls, "asked again");
}

#[tokio::test(start_paused = true)]
async fn enis_that_others_have_made_are_left_as_they_are() {
    let (backend, fake) = two_enis().await;
    unmark(&fake, "eni-1");
    let _ = fake.state().enis.get_mut(&id("eni-1")).unwrap().tags.remove(crate::tags::CREATED_AT);
    backend.describe().await.unwrap();
    upkeep(&backend).mark_own().await.unwrap();
    assert_eq!(stays(&fake, "eni-1"), Some(true));
}
