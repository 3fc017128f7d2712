"""A dual-stack cluster: Services, Pods and clients of both families."""

import json

import ask
from case import case
from expect import becomes, eventually, expect, expect_in
from kube_site import CLASS, Site, port_binding, service
from world import A, A6, CLIENT, CLIENT6

LIMIT_SECONDS = 240


def build(lab):
    site = Site(lab, ipv6=True)
    site.start()
    site.serve("web", "page", ":8080")
    site.serve("echo", "echo", ":7000")
    site.add_edge(publicIPs=[{"address": A}, {"address": A6}])
    site.join()
    return site


def balanced(name, port, target_port, protocol="TCP", **spec):
    return service(name, port, target_port, protocol, type="LoadBalancer",
                   loadBalancerClass=CLASS, ipFamilyPolicy="RequireDualStack", **spec)


def answered(site, address, port, wanted):
    becomes(lambda: site.ask(ask.page, address, port)[:len(wanted)], wanted, 30)


@case
def a_pod_that_may_not_forward_ipv6(setup):
    """Where nobody switched IPv6 forwarding in the agent's Pods, IPv4 is served, and an Event
    says what is missing for the other family."""
    setup.cluster.apply(balanced("web", 80, 8080))
    answered(setup, A, 80, "web saw 10.244.0.")

    def told():
        found = dict(setup.events_of("web"))
        expect_in("Ipv6ForwardingOff", found)
        expect_in("forward", found["Ipv6ForwardingOff"])

    eventually(told, 20, pause=0.2)
    expect(setup.ask(ask.page, A6, 80)[:3], "no:")


@case
def a_dual_stack_service_has_both_families(setup):
    """With that sysctl in the Pods its status has an address of each, and a client of each
    family is answered, by TCP and by UDP, from a Pod's address of that family."""
    setup.patch_agent(securityContext={
        "sysctls": [{"name": "net.ipv6.conf.all.forwarding", "value": "1"}],
    })
    setup.cluster.apply(balanced("echo", 70, 7000, "UDP"))

    def addresses(name):
        status = setup.cluster.get("service", name)["status"]["loadBalancer"]
        return sorted(one["ip"] for one in status.get("ingress", []))

    for name in ("web", "echo"):
        becomes(lambda: addresses(name), sorted([A6, A]), 60)
    for address, pods in ((A, "10.244.0."), (A6, "fd44::")):
        answered(setup, address, 80, f"web saw {pods}")
        wanted = f"echo saw {pods}"
        becomes(lambda: setup.ask(ask.echo, address, 70)[:len(wanted)], wanted, 10)


@case
def every_uplink_carries_ipv6(setup):
    """Both replicas do, whichever one a connection takes; clients that are not admitted get
    no answer by that family either."""
    setup.cluster.kubectl("-n", "edged", "rollout", "status", "deployment/clusteragent",
                          "--timeout=60s", seconds=70)
    for pod in setup.agents():
        setup.cluster.wait("uplink", pod, "condition=Ready", 30, "edged")
    seen = {setup.ask(ask.page, A6, 80) for _ in range(24)}
    expect(len(seen), 2, f"uplinks' addresses in {sorted(seen)}")
    setup.cluster.apply(balanced("web", 80, 8080, loadBalancerSourceRanges=[f"{CLIENT}/32"]))
    becomes(lambda: setup.ask(ask.page, A6, 80), "no: timed out", 20)
    answered(setup, A, 80, "web saw 10.244.0.")
    setup.cluster.apply(balanced("web", 80, 8080, loadBalancerSourceRanges=[f"{CLIENT6}/128"]))
    answered(setup, A6, 80, "web saw fd44::")


@case
def a_binding_of_ipv6(setup):
    """A PortBinding listens on the edge's IPv6 address for a Service of IPv6 alone."""
    setup.cluster.apply(
        service("six", selector={"app": "web"}, ipFamilies=["IPv6"]),
        port_binding("six", 81, {"name": "six", "port": 80}))
    setup.cluster.kubectl("patch", "portbinding", "six", "--type=json", "-p", json.dumps(
        [{"op": "add", "path": "/spec/bindings/0/publicIP", "value": A6}]))
    setup.becomes("six", "Ready")
    answered(setup, A6, 81, "web saw fd44::")
    expect(setup.ask(ask.page, A, 81)[:3], "no:")
