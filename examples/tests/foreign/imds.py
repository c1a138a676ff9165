"""Instance metadata of the emulator, read by two foreign clients: ec2-metadata and botocore.

The first argument is the metadata URL of the instance, the second EC2's, to compare with.
"""

import sys

import boto3
import botocore.utils
import urllib3
from ec2_metadata import EC2Metadata


class Here(EC2Metadata):
    """The same client at another address; it has no setting for that."""

    def __init__(self, url):
        super().__init__()
        self.service_url = f"{url}/latest/"
        self.dynamic_url = f"{self.service_url}dynamic/"
        self.metadata_url = f"{self.service_url}meta-data/"


def compare(found, eni):
    ips = [a["PrivateIpAddress"] for a in eni["PrivateIpAddresses"]]
    assert found.interface_id == eni["NetworkInterfaceId"]
    assert found.mac == eni["MacAddress"]
    assert found.device_number == eni["Attachment"]["DeviceIndex"]
    assert found.private_ipv4s == ips, (found.private_ipv4s, ips)
    assert found.subnet_id == eni["SubnetId"] and found.vpc_id == eni["VpcId"]
    assert found.security_group_ids == [g["GroupId"] for g in eni["Groups"]]
    assert found.owner_id == eni["OwnerId"]
    assert found.subnet_ipv4_cidr_block and found.vpc_ipv4_cidr_block in found.vpc_ipv4_cidr_blocks
    assert found.ipv6s == [a["Ipv6Address"] for a in eni.get("Ipv6Addresses", [])]
    assert found.ipv6_prefix == [] and found.public_ipv4s == []


def main(url, ec2_url):
    ec2 = boto3.client(
        "ec2", endpoint_url=ec2_url, region_name="us-west-2", aws_access_key_id="a", aws_secret_access_key="b"
    )
    here = Here(url)
    instance = ec2.describe_instances(InstanceIds=[here.instance_id])["Reservations"][0]["Instances"][0]
    assert here.instance_type == instance["InstanceType"]
    assert here.private_ipv4 == instance["PrivateIpAddress"]
    document = here.instance_identity_document
    assert document["instanceId"] == here.instance_id and document["region"] == here.region == "us-west-2"
    assert here.availability_zone.startswith(here.region)
    enis = ec2.describe_network_interfaces(
        Filters=[{"Name": "attachment.instance-id", "Values": [here.instance_id]}]
    )["NetworkInterfaces"]
    enis = {e["MacAddress"]: e for e in enis}
    assert here.mac in enis and set(here.network_interfaces) == set(enis)
    for mac, found in here.network_interfaces.items():
        compare(found, enis[mac])
    print(f"ec2-metadata: {here.instance_id} has {len(enis)} ENI(s) as EC2 says")

    fetcher = botocore.utils.InstanceMetadataFetcher(timeout=5, num_attempts=1, base_url=url)
    credentials = fetcher.retrieve_iam_role_credentials()
    assert credentials["access_key"] and credentials["secret_key"] and credentials["token"], credentials
    region = botocore.utils.InstanceMetadataRegionFetcher(timeout=5, num_attempts=1, base_url=url).retrieve_region()
    assert region == "us-west-2", region
    print(f"botocore: role {credentials['role_name']} in {region}")

    # Without a token nothing is told, and what does not exist is a 404, not an empty text.
    http = urllib3.PoolManager()
    assert http.request("GET", f"{url}/latest/meta-data/mac").status == 401
    token = http.request(
        "PUT", f"{url}/latest/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    ).data.decode()
    absent = http.request("GET", f"{url}/latest/meta-data/none", headers={"X-aws-ec2-metadata-token": token})
    assert absent.status == 404, absent.status


if __name__ == "__main__":
    main(*sys.argv[1:])
