//! The life of an ENI.

use super::*;

#[test]
fn an_eni_lives_from_create_to_delete() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let free = w.subnets()[0].available_ips();
    let eni = create(&mut w, Some(Ipv4Request::Secondary(3))).unwrap();
    assert_eq!(eni.status(), EniStatus::Available);
    assert_eq!(eni.secondary_ips.len(), 3);
    assert_eq!(w.subnets()[0].available_ips(), free - 4);

    let attachment = attach(&mut w, &eni.id, 1).unwrap();
    assert_eq!(w.eni(&eni.id).unwrap().status(), EniStatus::InUse);
    let message =
        refused(w.delete_network_interface(&eni.id, at(0)), code::INVALID_PARAMETER_VALUE);
    assert!(message.contains("in use"), "{message}");

    w.detach_network_interface(&DetachNetworkInterface { attachment, force: false }, at(0))
        .unwrap();
    assert_eq!(w.eni(&eni.id).unwrap().status(), EniStatus::Available);
    w.delete_network_interface(&eni.id, at(0)).unwrap();
    assert_eq!(w.subnets()[0].available_ips(), free);
    let message =
        refused(w.delete_network_interface(&eni.id, at(0)), code::INVALID_INTERFACE_NOT_FOUND);
    assert_eq!(message, format!("The networkInterface ID '{}' does not exist", eni.id));
}
