"""Makes a VPC and an instance at the moto server whose URL is given; prints what its metadata would say."""

import json
import sys

import boto3

ec2 = boto3.client(
    "ec2", endpoint_url=sys.argv[1], region_name="us-west-2", aws_access_key_id="a", aws_secret_access_key="b"
)
vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/20", AvailabilityZone="us-west-2a")["Subnet"]["SubnetId"]
group = ec2.create_security_group(GroupName="node", Description="node", VpcId=vpc)["GroupId"]
image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
instance = ec2.run_instances(
    ImageId=image, InstanceType="m5.large", MinCount=1, MaxCount=1, SubnetId=subnet, SecurityGroupIds=[group]
)["Instances"][0]
eni = instance["NetworkInterfaces"][0]
print(
    json.dumps(
        {
            "group": group,
            "instance": instance["InstanceId"],
            "ip": eni["PrivateIpAddress"],
            "mac": eni["MacAddress"],
            "primary": eni["NetworkInterfaceId"],
            "subnet": subnet,
            "vpc": vpc,
        }
    )
)
