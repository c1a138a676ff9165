//! XML of ENIs, instances, types and subnets.

use std::{collections::BTreeMap, net::Ipv4Addr};

use vpc_ipam_core::testkit::ec2::{
    Attachment, DescribedInstance, Eni, InstanceType, SecurityGroup, Subnet, Vpc, World,
};

use crate::emulator::{rfc3339, xml::Xml};

/// An ENI as `CreateNetworkInterface` and `DescribeNetworkInterfaces` show it.
pub(super) fn eni(x: &mut Xml, world: &World, eni: &Eni) {
    x.text("networkInterfaceId", &eni.id);
    x.text("subnetId", &eni.subnet);
    x.text("vpcId", &eni.vpc);
    x.text("availabilityZone", &eni.availability_zone);
    x.text("description", &eni.description);
    x.text("ownerId", world.account());
    x.text("requesterManaged", false);
    x.text("status", eni.status().as_str());
    x.text("macAddress", eni.mac);
    if let Some(ip) = eni.primary_ip {
        x.text("privateIpAddress", ip);
        x.text("privateDnsName", dns_name(world.region(), ip));
    }
    x.text("sourceDestCheck", true);
    x.text("interfaceType", eni.kind);
    groups(x, world, eni);
    if let Some(attached) = &eni.attachment {
        x.element("attachment", |x| {
            x.text("instanceId", &attached.instance);
            x.text("instanceOwnerId", world.account());
            attachment(x, attached);
        });
    }
    addresses(x, world, eni);
    if let Some(tracking) = eni.connection_tracking {
        x.element("connectionTrackingConfiguration", |x| {
            for (name, seconds) in [
                ("tcpEstablishedTimeout", tracking.tcp_established_timeout),
                ("udpStreamTimeout", tracking.udp_stream_timeout),
                ("udpTimeout", tracking.udp_timeout),
            ] {
                if let Some(seconds) = seconds {
                    x.text(name, seconds);
                }
            }
        });
    }
    tags(x, &eni.tags);
}

/// An instance as `DescribeInstances` shows it.
pub(super) fn instance(x: &mut Xml, world: &World, found: &DescribedInstance) {
    let instance = &found.instance;
    x.text("instanceId", &instance.id);
    x.text("instanceType", instance.instance_type.name);
    x.element("instanceState", |x| {
        x.text("code", 16);
        x.text("name", "running");
    });
    x.text("launchTime", rfc3339::format(instance.launched));
    x.element("placement", |x| x.text("availabilityZone", &instance.availability_zone));
    x.text("subnetId", &instance.subnet);
    x.text("vpcId", &instance.vpc);
    x.text("architecture", "x86_64");
    if !instance.instance_type.bare_metal {
        x.text("hypervisor", "xen");
    }
    let primary = found.enis.iter().find(|e| e.id == instance.primary_eni);
    if let Some(ip) = primary.and_then(|e| e.primary_ip) {
        x.text("privateIpAddress", ip);
        x.text("privateDnsName", dns_name(world.region(), ip));
    }
    x.items("networkInterfaceSet", &found.enis, |x, eni| {
        x.text("networkInterfaceId", &eni.id);
        x.text("subnetId", &eni.subnet);
        x.text("vpcId", &eni.vpc);
        x.text("description", &eni.description);
        x.text("ownerId", world.account());
        x.text("status", eni.status().as_str());
        x.text("macAddress", eni.mac);
        if let Some(ip) = eni.primary_ip {
            x.text("privateIpAddress", ip);
        }
        x.text("sourceDestCheck", true);
        x.text("interfaceType", eni.kind);
        groups(x, world, eni);
        if let Some(attached) = &eni.attachment {
            x.element("attachment", |x| attachment(x, attached));
        }
        addresses(x, world, eni);
    });
    tags(x, &instance.tags);
}

/// A type as `DescribeInstanceTypes` shows it.
pub(super) fn instance_type(x: &mut Xml, found: &InstanceType) {
    x.text("instanceType", found.name);
    x.text("bareMetal", found.bare_metal);
    if !found.bare_metal {
        x.text("hypervisor", found.hypervisor.as_str());
    }
    x.element("networkInfo", |x| {
        x.text("maximumNetworkInterfaces", found.enis());
        x.text("maximumNetworkCards", found.card_enis.len());
        x.text("defaultNetworkCardIndex", 0);
        x.items("networkCards", found.card_enis.iter().enumerate(), |x, (card, enis)| {
            x.text("networkCardIndex", card);
            x.text("maximumNetworkInterfaces", enis);
        });
        x.text("ipv4AddressesPerInterface", found.ipv4_per_eni);
        x.text("ipv6AddressesPerInterface", found.ipv4_per_eni);
        x.text("ipv6Supported", true);
    });
}

/// A subnet as `DescribeSubnets` shows it.
pub(super) fn subnet(x: &mut Xml, account: &str, subnet: &Subnet) {
    x.text("subnetId", &subnet.id);
    x.text("state", "available");
    x.text("ownerId", account);
    x.text("vpcId", &subnet.vpc);
    x.text("cidrBlock", subnet.cidr);
    x.items("ipv6CidrBlockAssociationSet", subnet.ipv6_cidr, |x, cidr| {
        x.text("ipv6CidrBlock", cidr);
        x.element("ipv6CidrBlockState", |x| x.text("state", "associated"));
    });
    x.text("availableIpAddressCount", subnet.available_ips());
    x.text("availabilityZone", &subnet.availability_zone);
    tags(x, &subnet.tags);
}

/// A VPC as `DescribeVpcs` shows it.
pub(super) fn vpc(x: &mut Xml, account: &str, vpc: &Vpc) {
    x.text("vpcId", &vpc.id);
    x.text("ownerId", account);
    x.text("state", "available");
    if let Some(cidr) = vpc.cidrs.first() {
        x.text("cidrBlock", cidr);
    }
    x.text("instanceTenancy", "default");
    x.text("isDefault", false);
    x.items("cidrBlockAssociationSet", &vpc.cidrs, |x, cidr| {
        x.text("cidrBlock", cidr);
        x.element("cidrBlockState", |x| x.text("state", "associated"));
    });
    x.items("ipv6CidrBlockAssociationSet", &vpc.ipv6_cidrs, |x, cidr| {
        x.text("ipv6CidrBlock", cidr);
        x.element("ipv6CidrBlockState", |x| x.text("state", "associated"));
    });
    x.element("tagSet", |_| {});
}

/// A group as `DescribeSecurityGroups` shows it; it has no rules.
pub(super) fn security_group(x: &mut Xml, account: &str, group: &SecurityGroup) {
    x.text("groupId", &group.id);
    x.text("groupName", &group.name);
    x.text("groupDescription", &group.name);
    x.text("ownerId", account);
    x.text("vpcId", &group.vpc);
    x.element("ipPermissions", |_| {});
    x.element("ipPermissionsEgress", |_| {});
    x.element("tagSet", |_| {});
}

fn attachment(x: &mut Xml, attached: &Attachment) {
    x.text("attachmentId", &attached.id);
    x.text("deviceIndex", attached.device);
    x.text("networkCardIndex", attached.card);
    x.text("status", attached.status.as_str());
    x.text("deleteOnTermination", attached.delete_on_termination);
}

fn groups(x: &mut Xml, world: &World, eni: &Eni) {
    x.items("groupSet", &eni.groups, |x, id| {
        x.text("groupId", id);
        if let Some(group) = world.security_group(id) {
            x.text("groupName", &group.name);
        }
    });
}

fn addresses(x: &mut Xml, world: &World, eni: &Eni) {
    let primary = eni.primary_ip.iter().map(|ip| (true, ip));
    let all = primary.chain(eni.secondary_ips.iter().map(|ip| (false, ip)));
    x.items("privateIpAddressesSet", all, |x, (primary, ip)| {
        x.text("privateIpAddress", ip);
        x.text("privateDnsName", dns_name(world.region(), *ip));
        x.text("primary", primary);
    });
    x.items("ipv4PrefixSet", &eni.prefixes, |x, prefix| x.text("ipv4Prefix", prefix));
    x.items("ipv6AddressesSet", &eni.ipv6_addresses, |x, ip| x.text("ipv6Address", ip));
    x.items("ipv6PrefixSet", &eni.ipv6_prefixes, |x, prefix| x.text("ipv6Prefix", prefix));
}

fn tags(x: &mut Xml, tags: &BTreeMap<String, String>) {
    x.items("tagSet", tags, |x, (key, value)| {
        x.text("key", key);
        x.text("value", value);
    });
}

/// Name of an address, as EC2 gives them.
pub(super) fn dns_name(region: &str, ip: Ipv4Addr) -> String {
    format!("ip-{}.{region}.compute.internal", ip.to_string().replace('.', "-"))
}
