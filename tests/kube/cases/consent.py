"""Addresses that are of another namespace: of its Pods, of its Services, of the API server."""

import json

from case import case
from controller import Setup, service
from expect import becomes, eventually, expect, expect_in
from product import port_binding, tcp
from world import BACKEND, BACKEND2

LIMIT_SECONDS = 120
LABEL = "edged.dev/allow-port-bindings"
API = "10.77.0.2:6443"


def build(lab):
    setup = Setup(lab)
    setup.agent.run()
    setup.join()
    for name in ("shop", "evil"):
        setup.cluster.kubectl("create", "namespace", name)
        eventually(lambda name=name: setup.cluster.kubectl(
            "-n", name, "get", "serviceaccount", "default"), 30, pause=0.2)
    return setup


def add_pod(setup, name, address, namespace="shop"):
    """A Pod as if a kubelet ran it, and the Service that selects it, filled."""
    kubectl = setup.cluster.kubectl
    meta = {"name": name, "namespace": namespace, "labels": {"app": name}}
    container = {"name": "main", "image": "tests.local/none"}
    # Pods without a node are endpoints of such a Service alone.
    made, _ = service(name, namespace=namespace, selector={"app": name},
                      publishNotReadyAddresses=True)
    setup.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta,
                         "spec": {"containers": [container]}}, made)
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
              "conditions": [{"type": "Ready", "status": "True"}]}
    kubectl("-n", namespace, "patch", "pod", name, "--subresource=status", "--type=merge",
            "-p", json.dumps({"status": status}))
    becomes(lambda: addresses_of(setup, namespace, f"kubernetes.io/service-name={name}"),
            [address], 15)


def addresses_of(setup, namespace, selector):
    """The endpoints of the EndpointSlices that the labels select."""
    slices = setup.cluster.get("-n", namespace, "endpointslice", "-l", selector)["items"]
    return [one for each in slices for endpoint in each["endpoints"] or []
            for one in endpoint["addresses"]]


def denied(setup, name, *words, namespace="default"):
    def look():
        status, reason, message = setup.condition("pb", name, namespace=namespace)
        expect((status, reason), ("False", "TargetDenied"), message)
        for word in words:
            expect_in(word, message)

    eventually(look, 10)


@case
def a_pod_of_another_namespace_is_published_with_its_consent_alone(setup):
    """A binding to the address of a Pod of another namespace is refused with the namespace's
    name; it serves as soon as that has the label, and ends when it goes."""
    kubectl = setup.cluster.kubectl
    add_pod(setup, "web", BACKEND)
    setup.cluster.apply(port_binding("theirs", tcp(80, f"{BACKEND}:8080")))
    denied(setup, "theirs", f"target.address: {BACKEND} is of namespace \"shop\"")
    expect_in("refused", setup.page(80))
    for _ in range(2):
        kubectl("label", "namespace", "shop", f"{LABEL}=true")
        setup.wait_ready("pb", "theirs", seconds=5)
        setup.becomes_served(80)
        kubectl("label", "namespace", "shop", f"{LABEL}-")
        denied(setup, "theirs", BACKEND)
        becomes(lambda: "refused" in setup.page(80), True, 5)
    # Nor is there a way round it, by its own Service with an endpoint written by hand.
    mine, endpoints = service("mine")
    setup.cluster.apply(mine, endpoints, port_binding("around", {
        "name": "web", "protocol": "TCP", "listenPort": 81,
        "target": {"service": {"name": "mine", "port": "80"}}}))
    denied(setup, "around", f"endpoint {BACKEND} of EndpointSlice mine-1 is of namespace \"shop\"")
    expect_in("refused", setup.page(81))
    # The Pod gone, nobody has the address.
    kubectl("-n", "shop", "delete", "pod", "web", "--now", "--wait=false")
    setup.wait_ready("pb", "theirs", seconds=40)
    setup.becomes_served(80)


@case
def a_cluster_ip_and_the_api_server_are_of_their_namespaces(setup):
    """A cluster IP of another namespace, the API server's too, and the port of the API server
    on its own address are refused; the port beside it on that machine is not."""
    other, _ = service("other", namespace="shop")
    setup.cluster.apply(other)
    found = setup.cluster.get("-n", "shop", "service", "other")
    api = setup.cluster.get("-n", "default", "service", "kubernetes")
    setup.cluster.apply(
        port_binding("ip", tcp(90, f"{found['spec']['clusterIP']}:80")),
        port_binding("api-ip", tcp(91, f"{api['spec']['clusterIP']}:443"), namespace="evil"),
        port_binding("api", tcp(92, API), namespace="evil"),
        port_binding("beside", tcp(93, API.replace("6443", "6444")), namespace="evil"))
    denied(setup, "ip", "is of namespace \"shop\"")
    denied(setup, "api-ip", "is of namespace \"default\"", namespace="evil")
    denied(setup, "api", "10.77.0.2 is of namespace \"default\"", namespace="evil")
    eventually(lambda: expect(setup.condition("pb", "beside", namespace="evil")[0], "True"), 10)


@case
def nobody_takes_an_address_by_writing_it_down(setup):
    """An EndpointSlice that a tenant writes, whatever it says of itself, keeps no other tenant
    from an address outside of the cluster: it is not believed, or Kubernetes corrects it."""
    setup.cluster.apply(port_binding("lan", tcp(85, f"{BACKEND2}:8080")))
    setup.wait_ready("pb", "lan")
    pod = {"kind": "Pod", "name": "claim", "namespace": "evil"}
    for name, selector in (("plain", None), ("filled", {"app": "none"})):
        spec = {"selector": selector} if selector else {}
        claim, slice_ = service(name, namespace="evil", **spec)
        slice_["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = (
            "endpointslice-controller.k8s.io")
        slice_["endpoints"] = [{"addresses": [BACKEND2], "targetRef": pod}]
        setup.cluster.apply(claim, slice_)
    becomes(lambda: addresses_of(setup, "evil", "kubernetes.io/service-name=filled"), [], 15)
    expect(addresses_of(setup, "evil", "kubernetes.io/service-name=plain"), [BACKEND2])
    # What was said last before this is told.
    setup.cluster.apply(port_binding("later", tcp(86, f"{BACKEND2}:8080")))
    setup.wait_ready("pb", "later")
    setup.wait_ready("pb", "lan")
    expect_in("backend:8080 saw", setup.page(85))
