"""Services of a real cluster, reached from the internet."""

import re

import ask
from case import case
from expect import becomes, eventually, expect, expect_in
from kube_site import CLASS, Site, service
from world import A

LIMIT_SECONDS = 240


def build(lab):
    site = Site(lab).start()
    site.serve("web", "page", ":8080")
    site.serve("echo", "echo", ":7000")
    site.add_edge()
    site.join()
    return site


def page_is(site, port, wanted, seconds=20):
    def look():
        said = site.ask(ask.page, A, port)
        expect(bool(re.fullmatch(wanted, said)), True, f"{said!r} is {wanted}")

    eventually(look, seconds, pause=0.1)


@case
def a_service_of_our_class_is_reached(setup):
    """Its status has the edge's address, and a client is answered through it."""
    setup.cluster.apply(service("web", 80, 8080, type="LoadBalancer", loadBalancerClass=CLASS))
    expect(setup.public_address("web"), A)
    page_is(setup, 80, r"web saw 10\.244\.0\.\d+")
    [ingress] = setup.cluster.get("service", "web")["status"]["loadBalancer"]["ingress"]
    expect(ingress["ipMode"], "VIP")


@case
def a_service_for_udp_is_reached(setup):
    """The same by UDP, beside the other on one address."""
    setup.cluster.apply(
        service("echo", 7000, 7000, "UDP", type="LoadBalancer", loadBalancerClass=CLASS)
    )
    expect(setup.public_address("echo"), A)

    def look():
        expect_in("echo saw 10.244.0.", setup.ask(ask.echo, A, 7000))

    eventually(look, 20, pause=0.1)


@case
def every_replica_is_an_uplink(setup):
    """Both Pods of the Deployment become ready and carry the edge's traffic."""
    setup.cluster.wait("deployment", "clusteragent", "condition=Available", seconds=60,
                       namespace="edged")
    becomes(lambda: setup.cluster.get("edgenode", "vps")["status"].get("uplinks"), 2, 60)
    expect(len(setup.cluster.get("-n", "edged", "uplink")["items"]), 2)


@case
def a_binding_leads_to_a_service(setup):
    """A PortBinding to a ClusterIP Service by the name of its port, with its columns."""
    setup.cluster.apply(service("web", 80, 8080, type="LoadBalancer", loadBalancerClass=CLASS))
    setup.cluster.apply({
        "apiVersion": "edged.dev/v1alpha1", "kind": "PortBinding",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "edgeNodeRef": {"name": "vps"},
            "bindings": [{"name": "http", "protocol": "TCP", "listenPort": 8081,
                          "target": {"service": {"name": "web", "port": "main"}}}],
        },
    })
    setup.cluster.wait("portbinding", "web", "condition=Ready", seconds=30)
    page_is(setup, 8081, r"web saw 10\.244\.0\.\d+")
    line = setup.cluster.kubectl("get", "pb", "web", "--no-headers").stdout
    expect(line.split()[:6], ["web", "True", "Ready", A, "8081/TCP", "web:main"])


@case
def a_deleted_service_is_refused_at_once(setup):
    """The mapping goes with the Service; a new one is served anew."""
    setup.cluster.apply(service("web", 80, 8080, type="LoadBalancer", loadBalancerClass=CLASS))
    page_is(setup, 80, r"web saw .*")
    setup.cluster.kubectl("delete", "service", "web")
    page_is(setup, 80, r"no: .*refused.*")
    setup.cluster.apply(service("web", 80, 8080, type="LoadBalancer", loadBalancerClass=CLASS))
    page_is(setup, 80, r"web saw .*")
