"""The life of an ENI through the aws command-line client, against the emulator at the URL given.

Only what the client itself prints is looked at.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

AWS = pathlib.Path(sys.executable).parent / "aws"
PATIENCE_S = 60


class Refused(Exception):
    pass


def caller(url, home):
    # Nothing of this machine's own configuration plays a part.
    environment = {
        "AWS_ACCESS_KEY_ID": "emulator",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_DEFAULT_REGION": "us-west-2",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_PAGER": "",
        "AWS_SECRET_ACCESS_KEY": "emulator",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "HOME": home,
        "PATH": os.environ.get("PATH", ""),
    }

    def aws(*arguments):
        command = [sys.executable, str(AWS), "--endpoint-url", url, "--output", "json", "ec2", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
        if done.returncode != 0:
            raise Refused(done.stderr.strip())
        return json.loads(done.stdout) if done.stdout.strip() else None

    return aws


def main(url, home):
    aws = caller(url, home)
    instance = aws("describe-instances", "--query", "Reservations[0].Instances[0]")
    subnet, group = instance["SubnetId"], instance["NetworkInterfaces"][0]["Groups"][0]["GroupId"]
    listed = aws("describe-subnets", "--filters", f"Name=vpc-id,Values={instance['VpcId']}")["Subnets"]
    assert subnet in [s["SubnetId"] for s in listed]
    eni = aws(
        *("create-network-interface", "--subnet-id", subnet, "--groups", group, "--description", "by hand"),
        *("--secondary-private-ip-address-count", "2"),
        *("--tag-specifications", "ResourceType=network-interface,Tags=[{Key=a,Value=b}]"),
    )["NetworkInterface"]["NetworkInterfaceId"]
    attachment = aws(
        *("attach-network-interface", "--network-interface-id", eni, "--device-index", "1"),
        *("--instance-id", instance["InstanceId"]),
    )["AttachmentId"]
    aws(
        *("modify-network-interface-attribute", "--network-interface-id", eni),
        *("--attachment", f"AttachmentId={attachment},DeleteOnTermination=true"),
    )
    given = aws(
        "assign-private-ip-addresses", "--network-interface-id", eni, "--secondary-private-ip-address-count", "1"
    )["AssignedPrivateIpAddresses"][0]["PrivateIpAddress"]
    aws("unassign-private-ip-addresses", "--network-interface-id", eni, "--private-ip-addresses", given)
    aws("create-tags", "--resources", eni, "--tags", "Key=c,Value=d")
    tags = aws("describe-tags", "--filters", f"Name=resource-id,Values={eni}")["Tags"]
    assert {t["Key"]: t["Value"] for t in tags} == {"a": "b", "c": "d"}, tags
    aws("detach-network-interface", "--attachment-id", attachment)
    end = time.monotonic() + PATIENCE_S
    while aws("describe-network-interfaces", "--network-interface-ids", eni)["NetworkInterfaces"][0]["Status"] != "available":
        assert time.monotonic() < end, "the ENI is not detached"
    aws("delete-network-interface", "--network-interface-id", eni)
    try:
        aws("describe-network-interfaces", "--network-interface-ids", eni)
    except Refused as error:
        assert "(InvalidNetworkInterfaceID.NotFound)" in str(error) and f"'{eni}'" in str(error), error
    else:
        raise AssertionError(f"{eni} is still there")
    print("aws-cli: one ENI made, attached, filled, emptied, tagged, detached and deleted")


if __name__ == "__main__":
    main(*sys.argv[1:])
