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

#[test]
fn a_client_token_makes_one_eni() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let mut request = CreateNetworkInterface::new(subnet(&w));
    request.client_token = Some("t".to_owned());
    let first = w.create_network_interface(&request, at(0)).unwrap();
    let second = w.create_network_interface(&request, at(0)).unwrap();
    assert_eq!(first, second);
    assert_eq!(w.enis().count(), 2);
    request.description = "other".to_owned();
    refused(w.create_network_interface(&request, at(0)), code::IDEMPOTENT_PARAMETER_MISMATCH);
}

#[test]
fn detaching_takes_its_time_and_blocks_until_then() {
    let mut w = config("10.0.0.0/24", "t3.small")
        .delays(Delays { detach: std::time::Duration::from_secs(2), ..Delays::NONE })
        .build()
        .unwrap();
    let eni = create(&mut w, None).unwrap().id;
    let attachment = attach(&mut w, &eni, 1).unwrap();
    detach(&mut w, &attachment).unwrap();
    assert_eq!(w.eni(&eni).unwrap().status(), EniStatus::Detaching);
    refused(detach(&mut w, &attachment), code::INCORRECT_STATE);
    refused(w.delete_network_interface(&eni, at(1_999)), code::INVALID_PARAMETER_VALUE);
    let other = create(&mut w, None).unwrap().id;
    refused(attach(&mut w, &other, 1), code::INVALID_PARAMETER_VALUE);
    assert_eq!(w.poll_timeout(), Some(at(2_000)));
    w.delete_network_interface(&eni, at(2_000)).unwrap();
    attach(&mut w, &other, 1).unwrap();
    refused(detach(&mut w, &attachment), code::INVALID_ATTACHMENT_NOT_FOUND);
}

#[test]
fn a_forced_detachment_does_not_wait() {
    let mut w = config("10.0.0.0/24", "m5.large").delays(Delays::USUAL).build().unwrap();
    let eni = create(&mut w, None).unwrap().id;
    let attachment = attach(&mut w, &eni, 1).unwrap();
    assert_eq!(w.eni(&eni).unwrap().status(), EniStatus::Attaching);
    w.detach_network_interface(&DetachNetworkInterface { attachment, force: true }, at(0)).unwrap();
    assert_eq!(w.eni(&eni).unwrap().status(), EniStatus::Available);
    // Nothing of the old attachment comes back later.
    w.advance(at(60_000));
    assert_eq!(w.eni(&eni).unwrap().status(), EniStatus::Available);
}

#[test]
fn the_primary_eni_stays() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let eni = primary(&w);
    let attachment = w.eni(&eni).unwrap().attachment.clone().unwrap().id;
    refused(detach(&mut w, &attachment), code::OPERATION_NOT_PERMITTED);
    w.evict_eni(&eni, at(0));
    assert!(w.eni(&eni).is_some());
}

#[test]
fn an_instance_takes_as_many_enis_as_its_type_allows() {
    let mut w = world("10.0.0.0/24", "t3.small");
    for device in 1..3 {
        let eni = create(&mut w, None).unwrap().id;
        attach(&mut w, &eni, device).unwrap();
    }
    let eni = create(&mut w, None).unwrap().id;
    let message = refused(attach(&mut w, &eni, 3), code::ATTACHMENT_LIMIT_EXCEEDED);
    assert_eq!(message, "Interface count 4 exceeds the limit for t3.small");
    let message = refused(attach(&mut w, &eni, 2), code::INVALID_PARAMETER_VALUE);
    assert!(message.contains("device index '2'"), "{message}");
}

#[test]
fn cards_are_counted_apart() {
    let mut w = world("10.0.0.0/24", "p4d.24xlarge");
    let eni = create(&mut w, None).unwrap().id;
    let mut request = AttachNetworkInterface { eni, instance: instance(&w), device: 0, card: 4 };
    refused(w.attach_network_interface(&request, at(0)), code::INVALID_PARAMETER_VALUE);
    request.card = 1;
    w.attach_network_interface(&request, at(0)).unwrap();
    assert!(!w.eni(&request.eni).unwrap().is_primary());
}

#[test]
fn an_eni_that_is_attached_is_not_attached_again() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let eni = create(&mut w, None).unwrap().id;
    attach(&mut w, &eni, 1).unwrap();
    let message = refused(attach(&mut w, &eni, 2), code::INVALID_INTERFACE_IN_USE);
    assert!(message.contains(eni.as_str()), "{message}");
}

#[test]
fn an_eni_does_not_leave_its_zone() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let vpc = w.vpcs()[0].id.clone();
    let far = w.add_subnet(&vpc, "10.0.1.0/24".parse().unwrap(), "us-west-2b").unwrap();
    let eni = w.create_network_interface(&CreateNetworkInterface::new(far), at(0)).unwrap().id;
    refused(attach(&mut w, &eni, 1), code::INVALID_PARAMETER_COMBINATION);
}

#[test]
fn an_eni_that_holds_too_much_does_not_fit() {
    let mut w = world("10.0.0.0/24", "t3.small");
    let eni = create(&mut w, Some(Ipv4Request::Secondary(4))).unwrap().id;
    refused(attach(&mut w, &eni, 1), code::PRIVATE_IP_ADDRESS_LIMIT_EXCEEDED);
    let mut w = world("10.0.0.0/24", "m4.large");
    let eni = create(&mut w, Some(Ipv4Request::Prefixes(1))).unwrap().id;
    refused(attach(&mut w, &eni, 1), code::UNSUPPORTED_OPERATION);
}

#[test]
fn unknown_ids_are_told_apart() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let gone = EniId::new("eni-gone").unwrap();
    refused(attach(&mut w, &gone, 1), code::INVALID_INTERFACE_NOT_FOUND);
    let eni = create(&mut w, None).unwrap().id;
    let mut request = AttachNetworkInterface {
        eni: eni.clone(),
        instance: InstanceId::new("i-gone").unwrap(),
        device: 1,
        card: 0,
    };
    refused(w.attach_network_interface(&request, at(0)), code::INVALID_INSTANCE_NOT_FOUND);
    request.instance = instance(&w);
    refused(detach(&mut w, "eni-attach-gone"), code::INVALID_ATTACHMENT_NOT_FOUND);
    let mut create = CreateNetworkInterface::new(SubnetId::new("subnet-gone").unwrap());
    refused(w.create_network_interface(&create, at(0)), code::INVALID_SUBNET_NOT_FOUND);
    create.subnet = subnet(&w);
    create.groups = vec!["sg-gone".parse().unwrap()];
    refused(w.create_network_interface(&create, at(0)), code::INVALID_GROUP_NOT_FOUND);
    let modify = ModifyNetworkInterfaceAttribute::DeleteOnTermination {
        eni,
        attachment: "eni-attach-gone".to_owned(),
        value: true,
    };
    refused(
        w.modify_network_interface_attribute(&modify, at(0)),
        code::INVALID_ATTACHMENT_NOT_FOUND,
    );
}

#[test]
fn groups_and_delete_on_termination_can_be_changed() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let vpc = w.vpcs()[0].id.clone();
    let group = w.add_security_group(&vpc, "pods").unwrap();
    let eni = create(&mut w, None).unwrap();
    assert_eq!(eni.groups, [w.vpcs()[0].default_group.clone()]);
    let attachment = attach(&mut w, &eni.id, 1).unwrap();
    for request in [
        ModifyNetworkInterfaceAttribute::Groups {
            eni: eni.id.clone(),
            groups: vec![group.clone()],
        },
        ModifyNetworkInterfaceAttribute::DeleteOnTermination {
            eni: eni.id.clone(),
            attachment,
            value: true,
        },
    ] {
        w.modify_network_interface_attribute(&request, at(0)).unwrap();
    }
    let eni = w.eni(&eni.id).unwrap();
    assert_eq!(eni.groups, [group]);
    assert!(eni.attachment.as_ref().unwrap().delete_on_termination);
}

#[test]
fn an_efa_only_eni_has_no_address() {
    let mut w = world("10.0.0.0/24", "c5n.18xlarge");
    let mut request = CreateNetworkInterface::new(subnet(&w));
    request.kind = InterfaceType::EfaOnly;
    let eni = w.create_network_interface(&request, at(0)).unwrap();
    assert_eq!(eni.primary_ip, None);
    refused(assign(&mut w, &eni.id, Ipv4Request::Secondary(1)), code::INVALID_PARAMETER_VALUE);
    attach(&mut w, &eni.id, 1).unwrap();
    let told = w.take_changes();
    assert!(!told.iter().any(|c| matches!(c, WorldChange::EniAttached(a) if a.eni == eni.id)));
}
