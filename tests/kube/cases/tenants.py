"""What one tenant may not do beside another."""

import time

from case import case
from controller import A2, CLASS, Setup, ingress, service
from expect import eventually, expect, expect_in
from product import port_binding, tcp
from world import BACKEND

LIMIT_SECONDS = 120


def build(lab):
    setup = Setup(lab)
    setup.agent.run()
    return setup.join()


def refused(setup, name, reason, *words):
    """That the PortBinding is refused with this reason, and a message of these words."""
    def look():
        status, why, message = setup.condition("pb", name)
        expect((status, why), ("False", reason), message)
        for word in words:
            expect_in(word, message)

    eventually(look, 10)


@case
def a_metadata_service_is_no_endpoint(setup):
    """Whoever writes the endpoints of a Service leads nobody to a cloud's metadata service;
    endpoints of the network are served."""
    web, endpoints = service("web")
    endpoints["endpoints"] = [{"addresses": ["100.100.100.200"]}]
    target = port_binding("web", {"name": "web", "protocol": "TCP", "listenPort": 80,
                                  "target": {"service": {"name": "web", "port": "80"}}})
    setup.cluster.apply(web, endpoints, target)
    refused(setup, "web", "InvalidTarget", "endpoint 100.100.100.200 of EndpointSlice web-1",
            "a cloud tells a machine its own keys")
    expect_in("refused", setup.page(80))
    setup.cluster.apply(*service("web"))
    setup.wait_ready("pb", "web")
    setup.becomes_served(80)


@case
def a_dedicated_address_is_one_services(setup):
    """A younger PortBinding gets no port of an address that a Service has alone."""
    alone = {"edged.dev/dedicated-ip": "true", "edged.dev/public-ip": A2}
    setup.cluster.apply(*service("own", annotations=alone, type="LoadBalancer",
                                 loadBalancerClass=CLASS))
    eventually(lambda: expect([one["ip"] for one in ingress(setup.cluster, "own")], [A2]), 10)
    setup.becomes_served(80, A2)
    time.sleep(1)  # creation times are of whole seconds
    setup.cluster.apply(port_binding("late", tcp(81, f"{BACKEND}:8080", publicIP=A2)))
    refused(setup, "late", "NoFreePublicIP", f"{A2} of EdgeNode a is dedicated to Service "
            "default/own, which is older")
    setup.cluster.kubectl("delete", "service", "own")
    setup.wait_ready("pb", "late")
    setup.becomes_served(81, A2)
