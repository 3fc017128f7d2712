"""What goes wrong with the API server, and what the agent says of it."""

import json
import time

from case import case
from controller import SAW, Controller, Setup
from expect import eventually, expect, expect_in
from lab import ROOT
from product import port_binding, tcp
from world import BACKEND

LIMIT_SECONDS = 150
PACKAGING = ROOT / "packaging/kubernetes/agent"


@case
def without_crds_it_waits(lab):
    """Without our kinds the agent says so and waits; then it goes on by itself."""
    setup = Setup(lab, with_crds=False)
    setup.agent.run()
    eventually(lambda: expect_in("edgenodes", setup.agent.probe("/readyz")[1]), 20, pause=0.3)
    expect(setup.agent.probe("/readyz")[0], 503)
    expect(setup.agent.probe("/healthz")[0], 200)
    setup.add_crds()
    eventually(lambda: expect(setup.agent.probe("/readyz"), (200, "ok\n")), 60, pause=0.5)
    setup.join()


@case
def an_api_server_that_is_gone_withdraws_nothing(lab):
    """While the API server is away everything goes on, also over a restart of the edge."""
    setup = Setup(lab)
    setup.agent.run()
    setup.join()
    setup.cluster.apply(port_binding("web", tcp(80, f"{BACKEND}:8080")))
    setup.wait_ready("pb", "web")
    setup.cluster.stop("kube-apiserver")
    eventually(lambda: expect_in("not leading any more", setup.agent.log()), 40, pause=0.5)
    expect(setup.page(), SAW)
    setup.edge.process.kill()
    setup.edge.run()
    setup.becomes_served(80, seconds=20)
    setup.cluster.start_again("kube-apiserver")

    def leads_again():
        expect(setup.agent.log().count("leading cluster") > 1, True, "it leads again")

    eventually(leads_again, 60, pause=0.5)
    setup.wait_ready("edgenode", "a")
    setup.cluster.apply(port_binding("later", tcp(81, f"{BACKEND}:8080")))
    setup.wait_ready("pb", "later", seconds=40)
    setup.becomes_served(81)


@case
def an_object_that_cannot_be_read_is_told_alone(lab):
    """An object that only the schema's absence let in says what is wrong; its last good
    version serves on, and others do, too."""
    setup = Setup(lab)
    setup.agent.run()
    setup.join()
    loosen(setup)
    setup.cluster.apply(port_binding("web", tcp(80, f"{BACKEND}:8080")),
                        port_binding("other", tcp(81, f"{BACKEND}:8080")))
    setup.wait_ready("pb", "web")
    wrong = port_binding("web", tcp(80, f"{BACKEND}:8080"))
    wrong["spec"]["colour"] = "red"

    def stored():  # the API server takes a moment to use the new schema
        setup.cluster.apply(wrong)
        expect(setup.cluster.get("pb", "web")["spec"].get("colour"), "red")

    eventually(stored, 20, pause=0.5)

    def told():
        status, reason, message = setup.condition("pb", "web")
        expect((status, reason), ("False", "Invalid"))
        expect_in("colour", message)

    eventually(told, 10)
    setup.becomes_served(80)
    setup.wait_ready("pb", "other")


def loosen(setup):
    """Lets PortBindings say anything, as a schema of another version may."""
    crd = setup.cluster.get("crd", "portbindings.edged.dev")
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"] = {
        "type": "object", "x-kubernetes-preserve-unknown-fields": True,
    }
    schema.pop("x-kubernetes-validations", None)
    for name in ("managedFields", "resourceVersion", "uid", "creationTimestamp"):
        crd["metadata"].pop(name, None)
    crd.pop("status", None)
    setup.cluster.kubectl("replace", "-f", "-", input=json.dumps(crd))


def run_with_rules(setup, *patches):
    """The agent as packaging/kubernetes lets it, its cluster's rules changed by patches."""
    setup.cluster.kubectl("apply", "-k", PACKAGING, check=False)
    setup.cluster.kubectl("patch", "clusterrole", "edged-clusteragent", "--type=json",
                          "-p", json.dumps(patches))
    token = setup.cluster.kubectl("-n", "edged", "create", "token", "clusteragent").stdout.strip()
    config = json.loads(setup.cluster.admin.read_text())
    config["users"][0]["user"]["token"] = token
    path = setup.cluster.folder / "agent.conf"
    path.write_text(json.dumps(config))
    setup.agent = Controller(setup.world.home, setup.cluster, "home", path).run()


def is_named(setup, *words):
    status, body = setup.agent.probe("/readyz")
    expect(status, 503)
    for word in words:
        expect_in(word, body)


def becomes_ready(setup):
    """With the rules as they should be."""
    setup.cluster.kubectl("apply", "-k", PACKAGING, check=False)
    eventually(lambda: expect(setup.agent.probe("/readyz"), (200, "ok\n")), 60, pause=0.5)


@case
def a_missing_verb_is_named(lab):
    """RBAC that lacks a verb: the log and /readyz say which, and it comes alive by itself."""
    setup = Setup(lab)
    run_with_rules(setup, {"op": "replace", "path": "/rules/2/verbs", "value": ["get"]})
    eventually(lambda: is_named(setup, "endpointslices", "forbidden"), 20, pause=0.3)
    becomes_ready(setup)
    setup.join()


@case
def a_missing_verb_of_statuses_is_named(lab):
    """RBAC that lets the agent write no status of PortBindings: they are served, /readyz and
    the log name the verb once. The log alone names that it may create no Events."""
    setup = Setup(lab)
    run_with_rules(
        setup,
        {"op": "replace", "path": "/rules/4/resources", "value": ["edgenodes/status"]},
        {"op": "replace", "path": "/rules/6/verbs", "value": ["get"]})
    setup.join()
    for port in (80, 81):
        setup.cluster.apply(port_binding(f"port-{port}", tcp(port, f"{BACKEND}:8080")))
        setup.becomes_served(port)
    eventually(lambda: is_named(setup, "patch portbindings/status"), 20, pause=0.3)
    said = setup.agent.log().count('cannot patch resource "portbindings/status"')
    expect(said, 1, "times that the log says so")
    expect(setup.agent.log().count("Events are lost: create events default/"), 1)
    expect("create events" in setup.agent.probe("/readyz")[1], False)
    becomes_ready(setup)
    setup.wait_ready("pb", "port-80")


@case
def what_is_refused_of_one_object_is_its_own(lab):
    """An admission policy that refuses one tenant's status leaves the agent ready, and all
    others served and told."""
    setup = Setup(lab)
    setup.agent.run()
    setup.join()
    setup.cluster.apply(*policy_against("refused"))
    time.sleep(3)  # the API server reads policies every second
    setup.cluster.apply(port_binding("refused", tcp(80, f"{BACKEND}:8080")),
                        port_binding("other", tcp(81, f"{BACKEND}:8080")))
    setup.wait_ready("pb", "other")
    eventually(lambda: expect_in("not this one", setup.agent.log()), 15)
    expect(setup.agent.probe("/readyz"), (200, "ok\n"))
    setup.becomes_served(80)


def policy_against(name):
    meta = {"name": "test"}
    version = "admissionregistration.k8s.io/v1"
    return [
        {"apiVersion": version, "kind": "ValidatingAdmissionPolicy", "metadata": meta,
         "spec": {
             "matchConstraints": {"resourceRules": [{
                 "apiGroups": ["edged.dev"], "apiVersions": ["*"], "operations": ["UPDATE"],
                 "resources": ["portbindings/status"]}]},
             "validations": [{"expression": f"object.metadata.name != '{name}'",
                              "message": "not this one", "reason": "Forbidden"}]}},
        {"apiVersion": version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": meta,
         "spec": {"policyName": "test", "validationActions": ["Deny"]}},
    ]


@case
def a_lost_count_begins_above_what_edges_know(lab):
    """Lease and control Secret deleted while no agent runs: the next one leads with the same
    edge, in a term that the edge takes."""
    setup = Setup(lab)
    setup.agent.run()
    setup.join()
    setup.agent.process.stop()
    setup.agent.run()
    eventually(lambda: setup.agent.leads(2), 30, pause=0.5)
    expect_in("in term 2", setup.agent.log())
    eventually(lambda: expect(setup.edge.status()["epoch"]["number"], "2"), 10)
    setup.agent.process.kill()
    setup.cluster.kubectl("-n", "edged", "delete", "secret/clusteragent", "lease/clusteragent")
    setup.agent.run()
    setup.cluster.apply(port_binding("web", tcp(80, f"{BACKEND}:8080")))
    setup.wait_ready("pb", "web", seconds=30)
    setup.becomes_served(80)
