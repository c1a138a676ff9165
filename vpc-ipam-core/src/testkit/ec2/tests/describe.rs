//! Reading calls and tags.

use std::collections::BTreeMap;

use super::*;

fn describe(w: &mut World, filters: &[(&str, &str)]) -> Vec<EniId> {
    let filters = filters.iter().map(|(n, v)| Filter::new(n, v)).collect();
    let request = DescribeNetworkInterfaces { filters, ..Default::default() };
    let page = w.describe_network_interfaces(&request, at(0)).unwrap();
    page.items.into_iter().map(|e| e.id).collect()
}

#[test]
fn filters_narrow_down_and_combine() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let mut request = CreateNetworkInterface::new(subnet(&w));
    request.description = "aws-K8S-i-1".to_owned();
    request.tags = BTreeMap::from([("node".to_owned(), "i-1".to_owned())]);
    let leaked = w.create_network_interface(&request, at(0)).unwrap();
    let first = primary(&w);
    let attached = instance(&w).to_string();
    let ip = leaked.primary_ip.unwrap().to_string();
    let mac = leaked.mac.to_string();
    for filters in [
        &[("status", "available"), ("tag-key", "node")][..],
        &[("tag:node", "i-?")],
        &[("description", "aws-K8S-*"), ("vpc-id", "vpc-*")],
        &[("private-ip-address", &ip)],
        &[("mac-address", &mac)],
    ] {
        assert_eq!(describe(&mut w, filters), std::slice::from_ref(&leaked.id), "{filters:?}");
    }
    for filters in [
        &[("attachment.instance-id", attached.as_str())][..],
        &[("attachment.device-index", "0"), ("attachment.status", "attached")],
        &[("status", "in-use"), ("interface-type", "interface")],
    ] {
        assert_eq!(describe(&mut w, filters), std::slice::from_ref(&first), "{filters:?}");
    }
    assert_eq!(describe(&mut w, &[("status", "available"), ("tag:node", "other")]), []);
    let either = Filter { name: "status".to_owned(), values: vec!["x".into(), "in-use".into()] };
    let request = DescribeNetworkInterfaces { filters: vec![either], ..Default::default() };
    assert_eq!(w.describe_network_interfaces(&request, at(0)).unwrap().items.len(), 1);
}

#[test]
fn an_unknown_filter_is_refused_even_where_it_could_not_matter() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let filters = vec![Filter::new("status", "none"), Filter::new("colour", "red")];
    let request = DescribeNetworkInterfaces { filters: filters.clone(), ..Default::default() };
    refused(w.describe_network_interfaces(&request, at(0)), code::INVALID_PARAMETER_VALUE);
    refused(w.describe_subnets(&[], &filters, at(0)), code::INVALID_PARAMETER_VALUE);
    refused(w.describe_tags(&filters, at(0)), code::INVALID_PARAMETER_VALUE);
}

#[test]
fn pages_cover_everything_once() {
    let mut w = world("10.0.0.0/24", "m5.large");
    for _ in 0..11 {
        create(&mut w, None).unwrap();
    }
    let mut request = DescribeNetworkInterfaces { max_results: Some(5), ..Default::default() };
    let (mut seen, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let page = w.describe_network_interfaces(&request, at(0)).unwrap();
        sizes.push(page.items.len());
        seen.extend(page.items.into_iter().map(|e| e.id));
        request.next_token = page.next_token;
        if request.next_token.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [5, 5, 2]);
    assert_eq!(seen, w.enis().map(|e| e.id.clone()).collect::<Vec<_>>());
    // A last page that is exactly full announces no other.
    w.evict_eni(&seen[3], at(0));
    w.evict_eni(&seen[4], at(0));
    let request = DescribeNetworkInterfaces { max_results: Some(10), ..Default::default() };
    assert_eq!(w.describe_network_interfaces(&request, at(0)).unwrap().next_token, None);
}

#[test]
fn bad_pages_are_refused() {
    let mut w = world("10.0.0.0/24", "m5.large");
    for size in [0, 4, 1001] {
        let request = DescribeNetworkInterfaces { max_results: Some(size), ..Default::default() };
        refused(w.describe_network_interfaces(&request, at(0)), code::INVALID_PARAMETER_VALUE);
    }
    let request = DescribeNetworkInterfaces {
        ids: vec![primary(&w)],
        max_results: Some(10),
        ..Default::default()
    };
    refused(w.describe_network_interfaces(&request, at(0)), code::INVALID_PARAMETER_COMBINATION);
    let request =
        DescribeNetworkInterfaces { next_token: Some("x".to_owned()), ..Default::default() };
    refused(w.describe_network_interfaces(&request, at(0)), code::INVALID_NEXT_TOKEN);
}

#[test]
fn a_missing_id_fails_the_whole_call_and_is_quoted() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let gone = EniId::new("eni-gone").unwrap();
    let request = DescribeNetworkInterfaces { ids: vec![primary(&w), gone], ..Default::default() };
    let message =
        refused(w.describe_network_interfaces(&request, at(0)), code::INVALID_INTERFACE_NOT_FOUND);
    assert_eq!(message, "The networkInterface ID 'eni-gone' does not exist");
    let gone = InstanceId::new("i-gone").unwrap();
    refused(w.describe_instances(&[gone], at(0)), code::INVALID_INSTANCE_NOT_FOUND);
    let gone = SubnetId::new("subnet-gone").unwrap();
    refused(w.describe_subnets(&[gone], &[], at(0)), code::INVALID_SUBNET_NOT_FOUND);
    refused(
        w.describe_instance_types(&["m5.large".into(), "x9.tiny".into()], at(0)),
        code::INVALID_INSTANCE_TYPE,
    );
}

#[test]
fn instances_show_their_enis_in_order() {
    let mut w = world("10.0.0.0/24", "m5.large");
    for device in [2, 1] {
        let eni = create(&mut w, None).unwrap().id;
        attach(&mut w, &eni, device).unwrap();
    }
    let found = w.describe_instances(&[instance(&w)], at(0)).unwrap();
    let devices: Vec<u32> =
        found[0].enis.iter().map(|e| e.attachment.as_ref().unwrap().device).collect();
    assert_eq!(devices, [0, 1, 2]);
}

#[test]
fn subnets_are_found_by_place_and_tag() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let vpc = w.vpcs()[0].id.clone();
    let other = w.add_subnet(&vpc, "10.0.1.0/24".parse().unwrap(), "us-west-2b").unwrap();
    let tags = CreateTags {
        resources: vec![other.to_string()],
        tags: BTreeMap::from([("kubernetes.io/role/cni".to_owned(), "1".to_owned())]),
    };
    w.create_tags(&tags, at(0)).unwrap();
    for filter in
        [Filter::new("availability-zone", "us-west-2b"), Filter::new("tag-key", "kubernetes.io/*")]
    {
        let filters = [Filter::new("vpc-id", vpc.as_str()), filter];
        let found = w.describe_subnets(&[], &filters, at(0)).unwrap();
        assert_eq!(found.iter().map(|s| &s.id).collect::<Vec<_>>(), [&other]);
    }
}

#[test]
fn tags_are_set_replaced_and_bounded() {
    let mut w = world("10.0.0.0/24", "m5.large");
    let eni = primary(&w).to_string();
    let mut request = CreateTags {
        resources: vec![eni.clone(), instance(&w).to_string()],
        tags: BTreeMap::from([("k".to_owned(), "1".to_owned())]),
    };
    w.create_tags(&request, at(0)).unwrap();
    request.tags.insert("k".to_owned(), "2".to_owned());
    w.create_tags(&request, at(0)).unwrap();
    let found = w
        .describe_tags(&[Filter::new("resource-id", &eni), Filter::new("key", "k")], at(0))
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].value.as_str(), found[0].kind), ("2", "network-interface"));

    request.resources.push("eni-gone".to_owned());
    request.tags.insert("new".to_owned(), String::new());
    refused(w.create_tags(&request, at(0)), code::INVALID_INTERFACE_NOT_FOUND);
    assert_eq!(w.describe_tags(&[Filter::new("key", "new")], at(0)).unwrap(), []);
    request.resources = vec!["ami-1".to_owned()];
    refused(w.create_tags(&request, at(0)), code::INVALID_ID);
    request.resources = vec![eni];
    request.tags = (0..50).map(|n| (format!("t{n}"), String::new())).collect();
    refused(w.create_tags(&request, at(0)), code::TAG_LIMIT_EXCEEDED);
    for key in ["", "aws:x", &"k".repeat(129)] {
        request.tags = BTreeMap::from([(key.to_owned(), String::new())]);
        refused(w.create_tags(&request, at(0)), code::INVALID_PARAMETER_VALUE);
    }
}
