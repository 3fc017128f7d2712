"""What a Service asks for beside its ports, with packets; what people see of an edge."""

import json
import re
import socket

import ask
from case import case
from expect import becomes, eventually, expect, expect_in
from kube_site import CLASS, Site, deployment, port_binding, service
from world import A, CLIENT

LIMIT_SECONDS = 240
OTHERS = "192.0.2.0/24"  # of another client, the home's provider
SHORT = 0.7


def build(lab):
    site = Site(lab).start()
    pair = [deployment(name, "page", ":8080") for name in ("one", "two")]
    for each in pair:
        each["spec"]["template"]["metadata"]["labels"]["pair"] = "yes"
    site.cluster.apply(*pair)
    site.serve("echo", "echo", ":7000")
    site.add_edge()
    site.join()
    for name in ("one", "two"):
        site.cluster.wait("deployment", name, "condition=Available", 60)
    return site


def balanced(name, port=80, target_port=8080, protocol="TCP", **spec):
    return service(name, port, target_port, protocol, type="LoadBalancer",
                   loadBalancerClass=CLASS, **spec)


def pages(site, port):
    """Whether the client and another one get a page."""
    found = []
    for host in (site.world.client, site.world.cgnat):
        with host.network():
            found.append(" saw " in ask.page(A, port, SHORT))
    return found


@case
def source_ranges_admit_their_clients(setup):
    """loadBalancerSourceRanges: clients of other networks get no answer, in TCP and UDP; a
    change holds at once, also for a UDP flow that is under way."""
    def ranges(*texts):
        setup.cluster.apply(
            balanced("tcp", 80, selector={"pair": "yes"}, loadBalancerSourceRanges=list(texts)),
            balanced("udp", 7000, 7000, "UDP", selector={"app": "echo"},
                     loadBalancerSourceRanges=list(texts)))

    ranges(f"{CLIENT}/32", "2001:db8::/32")
    becomes(lambda: pages(setup, 80), [True, False], 30)
    with setup.world.client.network(), ask.datagram_socket(A) as flow:
        flow.connect((A, 7000))
        flow.settimeout(SHORT)

        def hears():
            try:
                flow.send(b"hello")
                return flow.recv(1000).startswith(b"echo saw")
            except (TimeoutError, socket.error):
                return False

        becomes(hears, True, 20)
        ranges(OTHERS)
        becomes(lambda: pages(setup, 80), [False, True], 20)
        becomes(hears, False, 10)
        expect(hears(), False)
        ranges(" 198.51.100.0/24 ")  # the API server takes spaces
        becomes(hears, True, 20)
    becomes(lambda: pages(setup, 80), [True, False], 20)
    setup.cluster.kubectl("delete", "service", "tcp", "udp")


@case
def affinity_keeps_a_client_at_its_pod(setup):
    """sessionAffinity: ClientIP: every connection of one client goes to one Pod, whichever
    uplink it takes; without it they go to both."""
    def answers():
        return {re.sub(" saw .*", "", setup.ask(ask.page, A, 81)) for _ in range(24)}

    setup.cluster.apply(balanced("sticky", 81, selector={"pair": "yes"}))
    becomes(answers, {"one", "two"}, 30)
    setup.cluster.apply(balanced("sticky", 81, selector={"pair": "yes"},
                                 sessionAffinity="ClientIP"))
    becomes(lambda: len(answers()), 1, 20)
    expect(answers(), answers())
    setup.cluster.kubectl("delete", "service", "sticky")


@case
def the_clients_address_cannot_be_kept(setup):
    """externalTrafficPolicy: Local while uplinks are Pods: an Event of the Service says why,
    and nothing is served; with Cluster it is."""
    setup.cluster.apply(balanced("local", 82, selector={"pair": "yes"},
                                 externalTrafficPolicy="Local"))

    def told():
        found = dict(setup.events_of("local"))
        expect_in("PreserveNotPossible", found)
        expect_in("externalTrafficPolicy: Local needs an endpoint on the host of an uplink",
                  found["PreserveNotPossible"])

    eventually(told, 20, pause=0.2)
    expect(pages(setup, 82), [False, False])
    setup.cluster.apply(balanced("local", 82, selector={"pair": "yes"},
                                 externalTrafficPolicy="Cluster"))
    becomes(lambda: pages(setup, 82), [True, True], 20)
    setup.cluster.kubectl("delete", "service", "local")


@case
def a_binding_that_cannot_keep_the_address(setup):
    """clientIP: Preserve to Pods, with a Deployment of two uplinks: its own condition says why
    not, the other binding of the object is served; with Masquerade both are."""
    both = port_binding("keeps", 84, {"name": "keeps", "port": 80})
    [first] = both["spec"]["bindings"]
    second = {**first, "name": "kept", "listenPort": 85, "clientIP": "Preserve"}
    both["spec"]["bindings"].append(second)
    setup.cluster.apply(service("keeps", selector={"pair": "yes"}), both)

    def told():
        status = setup.cluster.get("portbinding", "keeps").get("status", {})
        expect_in("bindings", status)
        found = {one["name"]: one["conditions"][0] for one in status["bindings"]}
        expect(found["main"]["status"], "True")
        expect(found["kept"]["reason"], "PreserveNotPossible")
        expect_in('bindings[1] "kept": clientIP: Preserve needs an endpoint on the host of an '
                  "uplink, and Service default/keeps:80 has none", found["kept"]["message"])

    eventually(told, 20, pause=0.2)
    becomes(lambda: pages(setup, 84), [True, True], 20)
    expect(pages(setup, 85), [False, False])
    second["clientIP"] = "Masquerade"
    setup.cluster.apply(both)
    setup.becomes("keeps", "Ready")
    becomes(lambda: pages(setup, 85), [True, True], 20)
    setup.cluster.kubectl("delete", "portbinding/keeps", "service/keeps")


@case
def what_is_changed_in_a_pod_is_put_right(setup):
    """Rules, routes and the table that somebody deletes in the network of an agent's Pod are
    there again at once, its log says what was repaired, and clients are answered."""
    # Elements of a set have no order.
    look = ("ip rule; ip route show table all | grep eu- | sort;"
            "nft --stateless list table inet clusteragent | tr '{,}' '\\n' | tr -d ' \\t' | sort")
    setup.cluster.apply(balanced("damaged", 86, selector={"pair": "yes"}))
    becomes(lambda: pages(setup, 86), [True, True], 20)
    for pod in setup.agents():
        before = setup.in_network_of(pod, look)
        expect_in("fwmark", before)
        for damage, said in (
            ("for each in $(ip rule | sed -n 's/:.*fwmark.*//p'); do ip rule del pref $each; done",
             "rule"),
            ("for each in $(ip rule | sed -n 's/.*fwmark.* lookup \\([0-9]*\\).*/\\1/p'); do"
             " ip route flush table $each; done", "route"),
            ("nft delete table inet clusteragent", "table deleted"),
        ):
            count = setup.agent_log(pod).count("repaired in")
            setup.in_network_of(pod, damage)
            becomes(lambda: setup.in_network_of(pod, look), before, 10, damage)

            def told():
                lines = [line for line in setup.agent_log(pod).splitlines()
                         if "repaired in" in line]
                expect(len(lines) > count, True, "it is told")
                expect_in(said, lines[-1])

            eventually(told, 10, pause=0.2)
    for _ in range(4):
        expect(pages(setup, 86), [True, True])
    setup.cluster.kubectl("delete", "service", "damaged")


@case
def uplinks_can_be_waited_for(setup):
    """kubectl wait for every Uplink, and what kubectl get says of them."""
    setup.cluster.kubectl("-n", "edged", "wait", "--for=condition=Ready", "uplink", "--all",
                          "--timeout=60s", seconds=70)
    rows = setup.cluster.kubectl("-n", "edged", "get", "uplinks", "--no-headers").stdout
    rows = [row.split() for row in rows.splitlines()]
    expect([row[2:5] for row in rows], [["True", "Carrying", "1/1"]] * 2)


@case
def a_repair_is_an_event(setup):
    """What somebody changes on the VPS is put right, and told as an Event of the EdgeNode."""
    setup.edges["a"].host.run(["nft", "flush", "chain", "inet", "edged", "forward"])

    def told():
        [message] = [message for reason, message in setup.events_of("vps")
                     if reason == "Repaired"]
        expect_in("nft (pid ", message)
        expect_in("repaired in ", message)

    eventually(told, 20, pause=0.2)


@case
def a_new_key_loses_no_page(setup):
    """The edge replaces its WireGuard key while both replicas carry its traffic."""
    edge = setup.edges["a"]
    setup.cluster.apply(balanced("keyed", 83, selector={"pair": "yes"}))
    becomes(lambda: pages(setup, 83), [True, True], 20)
    before = edge.status()["tunnel"]["publicKey"]
    edge.cli("rotate-key")

    def replaced():
        expect(pages(setup, 83), [True, True])
        tunnel = edge.status()["tunnel"]
        expect((tunnel["publicKey"] != before, tunnel.get("nextPublicKey", "")), (True, ""))

    eventually(replaced, 30, pause=0.1)
    for _ in range(8):
        expect(pages(setup, 83), [True, True])
    alive = [one for one in edge.status()["uplinks"] if one.get("alive")]
    expect(len(alive), 2, "uplinks")
    setup.cluster.kubectl("delete", "service", "keyed")


@case
def an_uplink_on_the_hosts_network_keeps_the_address(setup):
    """With hostNetwork, a Service whose endpoints are on that host sees its clients by TCP and
    UDP, with externalTrafficPolicy: Local and by clientIP: Preserve; Pods see the uplink."""
    patch = {"spec": {"replicas": 1, "strategy": {"type": "Recreate", "rollingUpdate": None}}}
    setup.cluster.kubectl("-n", "edged", "patch", "deployment", "clusteragent", "-p",
                          json.dumps(patch))
    setup.patch_agent(hostNetwork=True)
    for name, *command in (("page", "page", ":8086"), ("udp", "echo", ":7086")):
        pods = deployment(name, *command)
        pods["spec"]["template"]["spec"]["hostNetwork"] = True
        setup.cluster.apply(pods)
    kept = port_binding("kept", 90, {"name": "page", "port": 87})
    kept["spec"]["bindings"][0]["clientIP"] = "Preserve"
    setup.cluster.apply(
        balanced("page", 87, 8086, externalTrafficPolicy="Local"),
        balanced("udp", 88, 7086, "UDP", externalTrafficPolicy="Local"),
        balanced("pods", 89, selector={"pair": "yes"}),
        kept)
    becomes(lambda: setup.ask(ask.page, A, 87), f"page saw {CLIENT}", 60)
    becomes(lambda: setup.ask(ask.echo, A, 88), f"udp saw {CLIENT}: hello", 20)
    becomes(lambda: setup.ask(ask.page, A, 90), f"page saw {CLIENT}", 20)
    becomes(lambda: re.sub("^(one|two) ", "", setup.ask(ask.page, A, 89)),
            "saw 10.244.0.1", 20)
