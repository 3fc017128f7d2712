"""The objects as the API server takes them: refusals, defaults, columns, reference."""

import json
import re

from case import case
from cluster import Cluster
from expect import expect, expect_in
from lab import ROOT

LIMIT_SECONDS = 120
CRDS = ROOT / "packaging/kubernetes/crds"
OBJECTS = ROOT / "tests/kube/objects"
READY = {
    "type": "Ready", "status": "True", "reason": "Ready", "message": "",
    "lastTransitionTime": "2026-01-31T12:00:00Z",
}


def build(lab):
    cluster = Cluster.control_plane(lab)
    cluster.kubectl("apply", "-k", CRDS)
    for plural in ("edgenodes", "portbindings", "uplinks"):
        cluster.wait("crd", f"{plural}.edged.dev", "condition=Established")
    return cluster


def documents_of(path):
    import yaml  # not there where this tier is skipped

    return list(yaml.safe_load_all(path.read_text()))


def numbered(name):
    """The documents of a file as objects, by their names."""
    return {
        f"case-{number:03}": one for number, one in enumerate(documents_of(OBJECTS / name))
    }


def whole(kind, name, spec, **fields):
    return {
        "apiVersion": "edged.dev/v1alpha1", "kind": kind, "metadata": {"name": name},
        "spec": spec, **fields,
    }


def web_binding(name, edge, port, target):
    """A PortBinding with one binding and no more than it needs."""
    binding = {"name": "web", "protocol": "TCP", "listenPort": port, "target": target}
    return whole("PortBinding", name, {"edgeNodeRef": {"name": edge}, "bindings": [binding]})


def try_all(cluster, documents):
    """What the API server says of each, by name; nothing is kept."""
    objects = [whole(one["kind"], name, one["spec"]) for name, one in documents.items()]
    done = cluster.kubectl(
        "apply", "--dry-run=server", "-f", "-", seconds=90, check=False,
        input="\n---\n".join(map(json.dumps, objects)),
    )
    said = re.split(r"^(?=The |Error from server|[a-z.]+/case-)", done.stdout + done.stderr,
                    flags=re.M)
    return {
        name: "".join(text for text in said if f'"{name}"' in text or f"/{name} " in text)
        for name in documents
    }


@case
def refusals_name_field_and_value(setup):
    """What one object alone can get wrong is refused when it is applied."""
    documents = numbered("refused.yaml")
    said = try_all(setup, documents)
    wrong = []
    for name, one in documents.items():
        wanted = [one["field"], one.get("value", "")]
        if "is invalid" not in said[name] or not all(part in said[name] for part in wanted):
            wrong.append(f"{one['case']}: no {wanted} in {said[name]!r}")
    expect(wrong, [], f"of {len(documents)} cases")


@case
def good_objects_are_accepted(setup):
    """What the agent takes, the API server takes."""
    documents = numbered("accepted.yaml")
    said = try_all(setup, documents)
    wrong = [said[name] for name in documents if "created (server dry run)" not in said[name]]
    expect(wrong, [])


@case
def defaults_can_be_read_back(setup):
    """With everything optional left out, the object says what holds."""
    setup.apply(
        whole("EdgeNode", "plain", {"address": "203.0.113.1",
                                    "publicIPs": [{"address": "203.0.113.1"}]}),
        web_binding("plain", "plain", 80, {"address": "10.0.0.1", "port": 80}),
    )
    spec = setup.get("edgenode", "plain")["spec"]
    expect(spec["tunnel"], {"listenPort": 51820, "mtu": "auto", "persistentKeepalive": 25})
    expect(spec["healthCheck"], {"interval": "250ms", "unhealthyThreshold": 3})
    expect(spec["publicIPs"], [{"address": "203.0.113.1", "nicAddress": "auto"}])
    expect(setup.get("portbinding", "plain")["spec"]["bindings"][0]["clientIP"], "Masquerade")


def set_status(cluster, kind, name, status):
    patch = json.dumps({"status": status})
    cluster.kubectl("patch", kind, name, "--subresource=status", "--type=merge", "-p", patch)


@case
def what_is_enrolled_keeps_its_tunnel(setup):
    """Port and network of the tunnel change until the edge is enrolled, not after."""

    def change(**tunnel):
        patch = json.dumps({"spec": {"tunnel": tunnel}})
        done = setup.kubectl("patch", "en", "fixed", "--type=merge", "-p", patch, check=False)
        return done.stderr

    setup.apply(whole("EdgeNode", "fixed", {"address": "203.0.113.1"}))
    expect(change(listenPort=51821), "")
    enrolled = {**READY, "type": "Enrolled"}
    status = {"conditions": [enrolled], "network": "10.200.0.0/22", "network6": "fd00::/64"}
    set_status(setup, "edgenode", "fixed", status)
    for field, same, other in (
        ("listenPort", 51821, 51820),
        ("network", "10.200.0.0/22", "10.200.4.0/22"),
        ("network6", "fd00::/64", "fd00:1::/64"),
    ):
        expect(change(**{field: same}), "", field)
        expect_in(f"spec.tunnel.{field}", change(**{field: other}))
        expect_in("the edge is enrolled", change(**{field: other}))
    expect(change(persistentKeepalive=5), "")


@case
def unknown_fields_are_refused(setup):
    """kubectl says which field nobody knows."""
    done = setup.apply(whole("EdgeNode", "typo", {"address": "203.0.113.1", "publicIps": []}),
                       check=False)
    expect_in('unknown field "spec.publicIps"', done.stderr)


def create(cluster, one, **options):
    """Unlike apply, keeps no copy in an annotation, which would be too long."""
    return cluster.kubectl("create", "-f", "-", input=json.dumps(one), **options)


@case
def the_largest_objects_are_accepted(setup):
    """As many bindings, addresses and networks as the schemas allow."""
    cidrs = [f"10.{n}.0.0/16" for n in range(256)]
    bindings = [
        {"name": f"b{n:03}-" + "x" * 58, "protocol": "TCP", "listenPort": 1000 + 10 * n,
         "endPort": 1009 + 10 * n, "publicIP": "2001:db8:1111:2222:3333:4444:5555:6666",
         "target": {"address": "fd00:1111:2222:3333:4444:5555:6666:7777"},
         "tcp": {"idleTimeout": "1h30m"}, "access": {"allowCIDRs": cidrs}}
        for n in range(128)
    ]
    ips = [{"address": f"2001:db8::{n + 1:x}"} for n in range(64)]
    create(
        setup, whole("PortBinding", "large", {"edgeNodeRef": {"name": "v" * 253},
                                              "bindings": bindings})
    )
    create(setup, whole("EdgeNode", ".".join(["x" * 63] * 3 + ["x" * 61]), {
        "address": "vps.example.com", "publicIPs": ips,
        "allowedNamespaces": [f"n{n}" for n in range(256)],
    }))
    bindings.append({**bindings[0], "name": "more", "listenPort": 60000, "endPort": 60001})
    spec = {"edgeNodeRef": {"name": "v"}, "bindings": bindings}
    done = create(setup, whole("PortBinding", "larger", spec), check=False)
    expect_in("spec.bindings: Too many: 129: must have at most 128 items", done.stderr)


@case
def columns_tell_the_story(setup):
    """kubectl get en,pb says where, whether and why."""
    setup.apply(
        whole("EdgeNode", "vps", {"address": "203.0.113.1"}),
        web_binding("shop", "vps", 443, {"service": {"name": "web", "port": "https"}}),
    )
    set_status(setup, "edgenode", "vps", {
        "conditions": [READY], "uplinks": 2, "mappings": 17, "network": "10.200.0.0/22",
        "mtu": "1420",
    })
    refused = {**READY, "status": "False", "reason": "ServiceNotFound", "message": "no web"}
    set_status(setup, "portbinding", "shop", {
        "conditions": [refused],
        "summary": {"addresses": "203.0.113.1", "ports": "443/TCP", "targets": "web:https"},
    })

    def columns(*words):
        lines = setup.kubectl("get", *words).stdout.splitlines()
        return [re.split(r"\s{2,}", line.strip()) for line in lines]

    header, row = columns("en", "vps")
    expect(header, ["NAME", "ADDRESS", "READY", "REASON", "UPLINKS", "MAPPINGS", "AGE"])
    expect(row[:6], ["vps", "203.0.113.1", "True", "Ready", "2", "17"])
    expect(columns("en", "vps", "-o", "wide")[1][7:], ["10.200.0.0/22", "1420"])
    header, row = columns("pb", "shop")
    expect(header, ["NAME", "READY", "REASON", "ADDRESS", "PORTS", "TARGET", "AGE"])
    expect(row[:6],
           ["shop", "False", "ServiceNotFound", "203.0.113.1", "443/TCP", "web:https"])
    expect(columns("pb", "shop", "-o", "wide")[1][7:], ["no web"])
    together = setup.kubectl("get", "edged", "-o", "name").stdout
    expect_in("edgenode.edged.dev/vps", together)
    expect_in("portbinding.edged.dev/shop", together)


@case
def ready_can_be_waited_for(setup):
    """kubectl wait --for=condition=Ready works on each kind."""
    setup.apply(
        whole("EdgeNode", "wait", {"address": "203.0.113.1"}),
        web_binding("wait", "wait", 443, {"address": "10.0.0.1", "port": 443}),
        whole("Uplink", "wait", {"nodeName": "node"}),
    )
    for kind in ("edgenode", "portbinding", "uplink"):
        set_status(setup, kind, "wait", {"conditions": [READY], "observedGeneration": 1})
        setup.wait(kind, "wait", "condition=Ready", seconds=5)


def schemas():
    for path in sorted(CRDS.glob("*s.yaml")):
        [crd] = documents_of(path)
        if crd["kind"] == "CustomResourceDefinition":
            version = crd["spec"]["versions"][0]
            yield crd["spec"]["names"]["singular"], version["schema"]["openAPIV3Schema"]


def undescribed(schema, path):
    for name, value in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        if "description" not in value and here.count(".") > 1:
            yield here
        yield from undescribed(value.get("items", value), here)


@case
def explain_is_the_reference(setup):
    """Every field has a description, and kubectl explain prints it."""
    missing = [path for name, schema in schemas() for path in undescribed(schema, name)]
    expect(missing, [])
    said = setup.kubectl("explain", "portbinding.spec.bindings.clientIP").stdout
    expect_in("Masquerade: the target sees the uplink", said)
    expect_in("persistentKeepalive", setup.kubectl("explain", "en.spec", "--recursive").stdout)
