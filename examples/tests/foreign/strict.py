"""Checks an EC2 answer against botocore's model: each element known, each value of its type.

boto3 itself overlooks what it does not know, so a misspelt element would pass for an absent one.
"""

import re
import xml.etree.ElementTree as ElementTree

from botocore.utils import parse_timestamp

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"


class Mismatch(AssertionError):
    pass


def check(operation, body):
    """Raises Mismatch unless `body` is a well-formed answer of `operation`."""
    root = ElementTree.fromstring(body)
    expected = f"{{{NAMESPACE}}}{operation.name}Response"
    if root.tag != expected:
        raise Mismatch(f"{operation.name}: the root element is {root.tag}, not {expected}")
    names = [_local(child) for child in root]
    if names.count("requestId") != 1:
        raise Mismatch(f"{operation.name}: {names.count('requestId')} request ids")
    _structure(operation.output_shape, root, operation.name, also={"requestId", "return"})


def _local(element):
    return element.tag.removeprefix(f"{{{NAMESPACE}}}")


def _structure(shape, element, path, also=frozenset()):
    members = {}
    for name, member in shape.members.items() if shape else ():
        members[member.serialization.get("name", name)] = member
    seen = set()
    for child in element:
        name = _local(child)
        if name in seen:
            raise Mismatch(f"{path}.{name} is there twice")
        seen.add(name)
        if name in members:
            _value(members[name], child, f"{path}.{name}")
        elif name not in also:
            raise Mismatch(f"{path}.{name} is unknown; known: {', '.join(sorted(members))}")


def _value(shape, element, path):
    kind = shape.type_name
    if kind == "structure":
        _structure(shape, element, path)
    elif kind == "list":
        item = shape.member.serialization.get("name", "item")
        for number, child in enumerate(element):
            if _local(child) != item:
                raise Mismatch(f"{path}: an entry is called {_local(child)}, not {item}")
            _value(shape.member, child, f"{path}[{number}]")
    else:
        _scalar(kind, element, path)


def _scalar(kind, element, path):
    if len(element):
        raise Mismatch(f"{path} is a {kind} and has elements")
    text = element.text or ""
    if kind in ("integer", "long"):
        good = re.fullmatch(r"-?\d+", text)
    elif kind == "boolean":
        good = text in ("true", "false")
    elif kind == "timestamp":
        good = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", text) and parse_timestamp(text)
    else:
        good = True
    if not good:
        raise Mismatch(f"{path} is {text!r}, which is no {kind}")


def watch(client, log):
    """From now on each answer that `client` gets is checked; its operation is appended to `log`."""

    def parse(response_dict, operation_model, **_):
        if response_dict["status_code"] < 300:
            check(operation_model, response_dict["body"])
        log.append(operation_model.name)

    client.meta.events.register("before-parse.ec2", parse)
