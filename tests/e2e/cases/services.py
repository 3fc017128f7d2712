"""Services of a real cluster, reached from the internet."""

import re

import ask
from case import case
from expect import becomes, eventually, expect, expect_in
from kube_site import CLASS, Site, namespace, port_binding, service
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
    setup.cluster.apply(port_binding("web", 8081, {"name": "web", "port": "main"}))
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


@case
def another_namespace_must_consent(setup):
    """A Service of another namespace is served while that one has the label; toggling it
    needs no other edit."""
    label = "edged.dev/allow-port-bindings"
    setup.cluster.apply(namespace("shop"))
    setup.serve("shop", "page", ":8080", namespace="shop")
    setup.cluster.apply(
        service("shop", namespace="shop"),
        port_binding("shop", 8082, {"name": "shop", "namespace": "shop", "port": 80}),
    )
    expect_in("shop", setup.becomes("shop", "TargetDenied"))
    setup.cluster.kubectl("label", "namespace", "shop", f"{label}=true")
    setup.becomes("shop", "Ready")
    page_is(setup, 8082, r"shop saw .*")
    setup.cluster.kubectl("label", "namespace", "shop", f"{label}-")
    setup.becomes("shop", "TargetDenied")
    page_is(setup, 8082, r"no: .*refused.*")


@case
def a_binding_follows_its_service(setup):
    """Missing, of the wrong kind, without the port, deleted and made again: the binding says
    which, and comes to life by itself."""

    def make(**spec):
        setup.cluster.kubectl("delete", "service", "late", "--ignore-not-found")
        setup.cluster.apply({**service("late", **spec)})

    setup.serve("late", "page", ":8080")
    setup.cluster.apply(port_binding("late", 8083, {"name": "late", "port": 80}))
    expect_in("late", setup.becomes("late", "ServiceNotFound"))
    make(clusterIP="None")
    setup.becomes("late", "UnsupportedServiceType")
    make(type="ExternalName", externalName="example.com")
    setup.becomes("late", "UnsupportedServiceType")
    make(port=81)
    expect_in("80", setup.becomes("late", "TargetPortNotListening"))
    for kind in ("ClusterIP", "NodePort"):
        make(type=kind)
        setup.becomes("late", "Ready")
        page_is(setup, 8083, r"late saw .*")


@case
def a_namespace_can_be_exposed(setup):
    """The annotation on a Namespace exposes its LoadBalancer Services; without it they are
    nobody's any more."""
    setup.cluster.apply(namespace("open"))
    setup.serve("open", "page", ":8080", namespace="open")
    setup.cluster.apply(service("open", 8084, namespace="open", type="LoadBalancer"))
    page_is(setup, 8084, r"no: .*")
    setup.cluster.kubectl("annotate", "namespace", "open", "edged.dev/expose=true")
    page_is(setup, 8084, r"open saw .*")
    setup.cluster.kubectl("annotate", "namespace", "open", "edged.dev/expose-")
    page_is(setup, 8084, r"no: .*refused.*")


@case
def columns_tell_the_story(setup):
    """kubectl get en says how many uplinks and mappings there are."""
    line = setup.cluster.kubectl("get", "en", "vps", "--no-headers").stdout.split()
    expect(line[:4], ["vps", A, "True", "Ready"])
    expect(int(line[4]), 2, "uplinks")
    expect(int(line[5]) > 0, True, f"{line[5]} mappings")


@case
def the_agent_asks_for_nothing_it_may_not(setup):
    """After all that, no replica was refused anything, and none was started again."""
    for pod in setup.cluster.get("-n", "edged", "pods")["items"]:
        name = pod["metadata"]["name"]
        log = setup.cluster.kubectl("-n", "edged", "logs", name).stdout
        expect([line for line in log.splitlines() if "forbidden" in line], [], name)
        [container] = pod["status"]["containerStatuses"]
        expect(container["restartCount"], 0, name)
