"""The whole life of an ENI, through boto3, against the emulator whose EC2 is at the URL given.

Every answer is compared with botocore's model, element by element. Prints one line per operation used.
"""

import collections
import ipaddress
import sys
import time

import boto3
import botocore.config
import botocore.exceptions
import strict

PATIENCE_S = 30


def client(url):
    return boto3.client(
        "ec2",
        endpoint_url=url,
        region_name="us-west-2",
        aws_access_key_id="emulator",
        aws_secret_access_key="emulator",
        # A refused call shall be seen as it is.
        config=botocore.config.Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20),
    )


def refused(code, call, **parameters):
    try:
        call(**parameters)
    except botocore.exceptions.ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, f"{code} was expected, {found} came: {error}"
        assert error.response["Error"]["Message"], f"{code} without a message"
        assert error.response["ResponseMetadata"].get("RequestId"), f"{code} without a request id"
        return error.response["Error"]["Message"]
    raise AssertionError(f"{call.__name__} was not refused with {code}")


class Life:
    def __init__(self, ec2):
        self.ec2 = ec2
        reservations = ec2.describe_instances()["Reservations"]
        self.instances = [i for r in reservations for i in r["Instances"]]
        self.instance = next(i for i in self.instances if i["InstanceType"] == "m5.large")
        self.id = self.instance["InstanceId"]
        primary = next(e for e in self.instance["NetworkInterfaces"] if e["Attachment"]["DeviceIndex"] == 0)
        self.primary = self.one(primary["NetworkInterfaceId"])

    def one(self, eni):
        found = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"]
        assert len(found) == 1, found
        return found[0]

    def until(self, eni, what, good):
        end = time.monotonic() + PATIENCE_S
        while not good(found := self.one(eni)):
            assert time.monotonic() < end, f"{eni} does not become {what}: {found}"
            time.sleep(0.05)
        return found

    def surroundings(self):
        ec2 = self.ec2
        subnet, vpc = self.primary["SubnetId"], self.primary["VpcId"]
        found = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
        mine = next(s for s in found if s["SubnetId"] == subnet)
        assert mine["AvailableIpAddressCount"] > 0 and mine["AvailabilityZone"].startswith("us-west-2")
        zone = [{"Name": "availability-zone", "Values": [mine["AvailabilityZone"]]}]
        assert mine in ec2.describe_subnets(Filters=zone)["Subnets"]
        assert ec2.describe_subnets(SubnetIds=[subnet])["Subnets"] == [mine]
        refused("InvalidSubnetID.NotFound", ec2.describe_subnets, SubnetIds=["subnet-00000000000000000"])
        info = ec2.describe_instance_types(InstanceTypes=["m5.large"])["InstanceTypes"]
        network = info[0]["NetworkInfo"]
        assert (network["MaximumNetworkInterfaces"], network["Ipv4AddressesPerInterface"]) == (3, 10), network
        refused("InvalidInstanceType", ec2.describe_instance_types, InstanceTypes=["m5.none"])
        return mine

    def create(self, **more):
        groups = [g["GroupId"] for g in self.primary["Groups"]]
        tags = [{"Key": "Name", "Value": "a & <b> \"c\" é"}, {"Key": "node", "Value": ""}]
        made = self.ec2.create_network_interface(
            SubnetId=self.primary["SubnetId"],
            Groups=groups,
            Description=f"aws-K8S-{self.id}",
            TagSpecifications=[{"ResourceType": "network-interface", "Tags": tags}],
            **more,
        )["NetworkInterface"]
        assert made["Status"] in ("pending", "available"), made
        found = self.one(made["NetworkInterfaceId"])
        assert {t["Key"]: t["Value"] for t in found["TagSet"]} == {t["Key"]: t["Value"] for t in tags}
        assert [g["GroupId"] for g in found["Groups"]] == groups
        assert found["Description"] == f"aws-K8S-{self.id}"
        return found

    def secondary(self, subnet):
        ec2 = self.ec2
        tracking = {"TcpEstablishedTimeout": 600, "UdpTimeout": 45}
        eni = self.create(SecondaryPrivateIpAddressCount=3, ConnectionTrackingSpecification=tracking, ClientToken="one")
        again = self.ec2.describe_network_interfaces(
            Filters=[{"Name": "description", "Values": ["aws-K8S-*"]}, {"Name": "status", "Values": ["available"]}]
        )["NetworkInterfaces"]
        assert [e["NetworkInterfaceId"] for e in again] == [eni["NetworkInterfaceId"]], again
        assert eni["ConnectionTrackingConfiguration"] == tracking, eni
        own = [a for a in eni["PrivateIpAddresses"] if a["Primary"]]
        assert len(own) == 1 and len(eni["PrivateIpAddresses"]) == 4
        block = ipaddress.ip_network(subnet["CidrBlock"])
        assert all(ipaddress.ip_address(a["PrivateIpAddress"]) in block for a in eni["PrivateIpAddresses"])
        attachment = self.attach(eni, 1)
        ec2.modify_network_interface_attribute(
            NetworkInterfaceId=eni["NetworkInterfaceId"],
            Attachment={"AttachmentId": attachment, "DeleteOnTermination": True},
        )
        assert self.one(eni["NetworkInterfaceId"])["Attachment"]["DeleteOnTermination"] is True
        self.addresses(eni["NetworkInterfaceId"])
        self.tags(eni["NetworkInterfaceId"])
        refused("InvalidParameterValue", ec2.delete_network_interface, NetworkInterfaceId=eni["NetworkInterfaceId"])
        self.end(eni["NetworkInterfaceId"], attachment)

    def attach(self, eni, device):
        attachment = self.ec2.attach_network_interface(
            NetworkInterfaceId=eni["NetworkInterfaceId"], InstanceId=self.id, DeviceIndex=device, NetworkCardIndex=0
        )["AttachmentId"]
        found = self.until(
            eni["NetworkInterfaceId"], "attached", lambda e: e.get("Attachment", {}).get("Status") == "attached"
        )
        assert found["Status"] == "in-use" and found["Attachment"]["InstanceId"] == self.id
        assert (found["Attachment"]["DeviceIndex"], found["Attachment"]["AttachmentId"]) == (device, attachment)
        listed = self.ec2.describe_network_interfaces(
            Filters=[{"Name": "attachment.instance-id", "Values": [self.id]}]
        )["NetworkInterfaces"]
        assert eni["NetworkInterfaceId"] in [e["NetworkInterfaceId"] for e in listed]
        shown = self.ec2.describe_instances(InstanceIds=[self.id])["Reservations"][0]["Instances"][0]
        assert eni["NetworkInterfaceId"] in [e["NetworkInterfaceId"] for e in shown["NetworkInterfaces"]]
        return attachment

    def addresses(self, eni):
        ec2 = self.ec2
        given = ec2.assign_private_ip_addresses(NetworkInterfaceId=eni, SecondaryPrivateIpAddressCount=2)
        new = [a["PrivateIpAddress"] for a in given["AssignedPrivateIpAddresses"]]
        assert len(new) == 2 and given["NetworkInterfaceId"] == eni, given
        held = [a["PrivateIpAddress"] for a in self.one(eni)["PrivateIpAddresses"]]
        assert set(new) < set(held) and len(held) == 6, held
        message = refused(
            "PrivateIpAddressLimitExceeded",
            ec2.assign_private_ip_addresses,
            NetworkInterfaceId=eni,
            SecondaryPrivateIpAddressCount=9,
        )
        assert eni in message or "limit" in message.lower() or "exceed" in message.lower(), message
        ec2.unassign_private_ip_addresses(NetworkInterfaceId=eni, PrivateIpAddresses=new)
        given = ec2.assign_private_ip_addresses(NetworkInterfaceId=eni, Ipv4PrefixCount=1)
        prefix = given["AssignedIpv4Prefixes"][0]["Ipv4Prefix"]
        assert ipaddress.ip_network(prefix).prefixlen == 28
        assert [p["Ipv4Prefix"] for p in self.one(eni)["Ipv4Prefixes"]] == [prefix]
        ec2.unassign_private_ip_addresses(NetworkInterfaceId=eni, Ipv4Prefixes=[prefix])
        assert len(self.one(eni)["PrivateIpAddresses"]) == 4 and not self.one(eni).get("Ipv4Prefixes")

    def tags(self, eni):
        ec2 = self.ec2
        ec2.create_tags(Resources=[eni], Tags=[{"Key": "node", "Value": "x"}, {"Key": "new", "Value": "y"}])
        asked = [{"Name": "resource-id", "Values": [eni]}, {"Name": "key", "Values": ["new", "node"]}]
        found = ec2.describe_tags(Filters=asked)["Tags"]
        assert {t["Key"]: t["Value"] for t in found} == {"node": "x", "new": "y"}, found
        assert all(t["ResourceType"] == "network-interface" for t in found)
        for name, values in (("tag-key", ["new"]), ("tag:new", ["y"]), ("network-interface-id", [eni])):
            listed = ec2.describe_network_interfaces(Filters=[{"Name": name, "Values": values}])
            assert [e["NetworkInterfaceId"] for e in listed["NetworkInterfaces"]] == [eni], name

    def prefixes(self):
        eni = self.create(Ipv4PrefixCount=2)
        assert len(eni["Ipv4Prefixes"]) == 2 and len(eni["PrivateIpAddresses"]) == 1, eni
        self.ec2.delete_network_interface(NetworkInterfaceId=eni["NetworkInterfaceId"])

    def end(self, eni, attachment):
        ec2 = self.ec2
        ec2.detach_network_interface(AttachmentId=attachment)
        self.until(eni, "available", lambda e: e["Status"] == "available" and "Attachment" not in e)
        ec2.delete_network_interface(NetworkInterfaceId=eni)
        message = refused("InvalidNetworkInterfaceID.NotFound", self.one, eni=eni)
        assert f"'{eni}'" in message, message
        refused("InvalidNetworkInterfaceID.NotFound", ec2.delete_network_interface, NetworkInterfaceId=eni)
        refused("InvalidAttachmentID.NotFound", ec2.detach_network_interface, AttachmentId="eni-attach-0000000000000000a")

    def pages(self):
        ec2 = self.ec2
        made = [self.create()["NetworkInterfaceId"] for _ in range(12)]
        pages = ec2.get_paginator("describe_network_interfaces").paginate(
            Filters=[{"Name": "status", "Values": ["available"]}, {"Name": "tag-key", "Values": ["node"]}],
            PaginationConfig={"PageSize": 5},
        )
        pages = [[e["NetworkInterfaceId"] for e in page["NetworkInterfaces"]] for page in pages]
        assert [len(page) for page in pages] == [5, 5, 2], pages
        assert sorted(sum(pages, [])) == sorted(made)
        refused("InvalidNextToken", ec2.describe_network_interfaces, MaxResults=5, NextToken="made-up")
        for eni in made:
            ec2.delete_network_interface(NetworkInterfaceId=eni)

    def refusals(self):
        ec2, eni = self.ec2, self.primary["NetworkInterfaceId"]
        refused("DryRunOperation", ec2.create_network_interface, SubnetId=self.primary["SubnetId"], DryRun=True)
        refused("InvalidSubnetID.NotFound", ec2.create_network_interface, SubnetId="subnet-0123456789abcdef0")
        refused("InvalidNetworkInterfaceID.Malformed", self.one, eni="no-eni")
        refused("InvalidInstanceID.NotFound", ec2.describe_instances, InstanceIds=["i-0123456789abcdef0"])
        # What the emulator does not do it refuses; it never leaves a parameter out.
        refused("UnknownParameter", ec2.describe_network_interfaces, IncludeManagedResources=True)
        refused("InvalidAction", ec2.describe_volumes)
        groups = [g["GroupId"] for g in self.primary["Groups"]]
        ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, Groups=groups)
        assert [g["GroupId"] for g in self.one(eni)["Groups"]] == groups


def main(url):
    log = []
    ec2 = client(url)
    strict.watch(ec2, log)
    life = Life(ec2)
    before = ec2.describe_network_interfaces()["NetworkInterfaces"]
    subnet = life.surroundings()
    life.secondary(subnet)
    life.prefixes()
    life.pages()
    life.refusals()
    after = ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert [e["NetworkInterfaceId"] for e in before] == [e["NetworkInterfaceId"] for e in after], "something is left"
    for name, count in sorted(collections.Counter(log).items()):
        print(f"boto3 {boto3.__version__} {name} {count}")


if __name__ == "__main__":
    main(sys.argv[1])
