"""Files that are wrong: the message names file, line, field and value."""

import subprocess
import tempfile
from pathlib import Path

from case import case
from expect import expect, expect_in
from product import CLUSTERAGENT, EDGED

HEAD = "apiVersion: edged.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: x{more}}}\nspec:\n"
EDGE = HEAD.format(kind="EdgeNode", more="")
BINDING = HEAD.format(kind="PortBinding", more=", namespace: default")
GOOD_BINDING = BINDING + (
    "  edgeNodeRef: {name: vps}\n"
    "  bindings:\n"
    "  - {name: web, protocol: TCP, listenPort: 80, target: {address: 10.0.0.1, port: 80}}\n"
)


def judged(command, text):
    """Exit code and output of a command that reads one file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.yaml"
        path.write_text(text)
        done = subprocess.run([*command, path], capture_output=True, text=True, timeout=10)
        return done.returncode, done.stdout + done.stderr


def refused(command, text, *words):
    code, output = judged(command, text)
    expect(code != 0, True, f"exit code for {text!r}")
    for word in words:
        expect_in(word, output)


def validate(text, *words):
    refused([CLUSTERAGENT, "validate"], text, *words)


def check_config(text, *words):
    refused([EDGED, "check-config"], text, "file.yaml", *words)


@case
def good_files():
    """Right files are found right."""
    for command, text in (
        ([CLUSTERAGENT, "validate"], EDGE + "  address: 203.0.113.1\n---\n" + GOOD_BINDING),
        ([EDGED, "check-config"], "version: v1\nwireguard: auto\nreservedPorts: [22/tcp]\n"),
        ([EDGED, "check-config"], "version: v1\nownership: none\nlog: {format: json}\n"),
    ):
        code, output = judged(command, text)
        expect((code, text), (0, text), output)


@case
def manifests_that_are_no_yaml():
    """A file that is no YAML is refused with its name and line."""
    validate("kind: [EdgeNode\n", "file.yaml:")
    validate(EDGE + "  address: 203.0.113.1\n   tunnel: {}\n", "file.yaml:6")
    validate("just text\n", "file.yaml")


@case
def manifests_of_another_kind():
    """Another kind or version is refused by name."""
    validate(EDGE.replace("EdgeNode", "Pod") + "  address: 1.2.3.4\n", "file.yaml", "Pod")
    validate(EDGE.replace("v1alpha1", "v9") + "  address: 1.2.3.4\n", "file.yaml", "v9")


@case
def unknown_keys():
    """An unknown key is refused with file, line and key."""
    validate(EDGE + "  address: 203.0.113.1\n  adress: 1.2.3.4\n", "file.yaml:6", "adress")
    validate(EDGE + "  address: 1.2.3.4\n  tunnel: {prot: 1}\n", "file.yaml:6", "tunnel", "prot")
    validate(GOOD_BINDING.replace("listenPort", "listnPort"), "file.yaml:", "listnPort")
    validate(GOOD_BINDING.replace("{address", "{adress"), "file.yaml:", "adress")


@case
def edge_node_values():
    """What an EdgeNode says wrong is refused with field and value."""
    for fields, words in (
        ("address: ''", ["address"]),
        ("address: 'no host'", ["address", "no host"]),
        ("publicIPs: [{address: 1.2.3}]", ["publicIPs[0].address", "1.2.3"]),
        ("publicIPs: [{address: 1.2.3.4, nicAddress: x}]", ["publicIPs[0].nicAddress", "x"]),
        ("tunnel: {listenPort: 0}", ["tunnel.listenPort", "0"]),
        ("tunnel: {listenPort: 70000}", ["tunnel.listenPort", "70000"]),
        ("tunnel: {network: 10.0.0.0/33}", ["tunnel.network", "10.0.0.0/33"]),
        ("tunnel: {network: 10.0.0.1/22}", ["tunnel.network", "10.0.0.1/22"]),
        ("tunnel: {mtu: -1}", ["tunnel.mtu", "-1"]),
        ("tunnel: {persistentKeepalive: -5}", ["tunnel.persistentKeepalive", "-5"]),
        ("healthCheck: {interval: BOGUS}", ["healthCheck.interval", "BOGUS"]),
        ("healthCheck: {unhealthyThreshold: 0}", ["healthCheck.unhealthyThreshold", "0"]),
    ):
        address = "" if fields.startswith("address") else "  address: 203.0.113.1\n"
        validate(f"{EDGE}{address}  {fields}\n", "file.yaml", *words)


@case
def binding_values():
    """What a binding says wrong is refused with field and value."""
    for old, new, words in (
        ("listenPort: 80", "listenPort: 0", ["spec.bindings[0].listenPort", "0"]),
        ("listenPort: 80", "listenPort: 65536", ["spec.bindings[0].listenPort", "65536"]),
        ("listenPort: 80", "listenPort: 80, endPort: 79", ["spec.bindings[0].endPort", "79"]),
        ("protocol: TCP", "protocol: SCTP", ["spec.bindings[0].protocol", "SCTP"]),
        ("protocol: TCP", "protocol: TCP, udp: {}", ["spec.bindings[0].udp"]),
        ("protocol: TCP", "protocol: UDP, tcp: {}", ["spec.bindings[0].tcp"]),
        ("address: 10.0.0.1, ", "", ["spec.bindings[0].target"]),
        ("10.0.0.1", "10.0.0.0/8", ["spec.bindings[0].target.address", "10.0.0.0/8"]),
        ("10.0.0.1", "foo", ["spec.bindings[0].target.address", "foo"]),
        (", port: 80}", "}", ["spec.bindings[0].target.port"]),
        ("name: web", "name: ''", ["spec.bindings[0].name"]),
        ("listenPort: 80", "listenPort: 80, clientIP: Keep", ["clientIP", "Keep"]),
        (
            "protocol: TCP", "protocol: UDP, udp: {sessionTimeout: 500ms}",
            ["udp.sessionTimeout", "500ms"],
        ),
    ):
        validate(GOOD_BINDING.replace(old, new, 1), *words)


@case
def configuration():
    """edged.yaml is read strictly: the message has the field and the value."""
    for text, words in (
        ("wirguard: auto\n", ["wirguard", ":2"]),
        ("wireguard: maybe\n", ["wireguard", "maybe"]),
        ("ownership: all\n", ["ownership", "all"]),
        ("reservedPorts: [22]\n", ["reservedPorts[0]", "22"]),
        ("reservedPorts: [70000/tcp]\n", ["reservedPorts[0]", "70000"]),
        ("reservedPorts: [22/icmp]\n", ["reservedPorts[0]", "icmp"]),
        ("log: {format: xml}\n", ["log.format", "xml"]),
        ("log: {level: loud}\n", ["log.level", "loud"]),
        ("state: ''\n", ["state"]),
    ):
        check_config("version: v1\n" + text, *words)
    check_config("version: v2\n", "version", "v2")
    check_config("wireguard: auto\n", "version")
    check_config("version: v1\nlog: [\n", "file.yaml:")
