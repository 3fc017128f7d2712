"""What packaging/kubernetes installs: that it applies, and what the agent may then do."""

import json

from case import case
from cluster import Cluster
from expect import expect, expect_in, expect_not_in
from lab import ROOT

LIMIT_SECONDS = 120
MANIFESTS = ROOT / "packaging/kubernetes"
AGENT = "system:serviceaccount:edged:clusteragent"
READ = ("get", "list", "watch")

# (verbs, resource, namespace): what the agent needs.
GRANTED = (
    (READ, "edgenodes.edged.dev", "-A"),
    (READ, "portbindings.edged.dev", "-A"),
    (READ, "services", "-A"),
    (READ, "namespaces", "-A"),
    (READ, "endpointslices.discovery.k8s.io", "-A"),
    (READ, "referencegrants.gateway.networking.k8s.io", "-A"),
    (("patch",), "edgenodes.edged.dev", "-A"),
    (("patch",), "edgenodes.edged.dev/status", "-A"),
    (("patch",), "portbindings.edged.dev/status", "-A"),
    (("patch",), "services", "-A"),
    (("patch",), "services/status", "-A"),
    (("create",), "events", "-A"),
    ((*READ, "create"), "uplinks.edged.dev", "edged"),
    (("patch",), "uplinks.edged.dev/status", "edged"),
    (("create",), "leases.coordination.k8s.io", "edged"),
    (("get", "update"), "leases.coordination.k8s.io/clusteragent", "edged"),
    (("create",), "secrets", "edged"),
    (("get",), "secrets/clusteragent", "edged"),
)
# What somebody who takes the agent over must not get by it.
REFUSED = (
    (READ, "secrets", "-A"),
    (("list", "watch"), "secrets", "edged"),
    (READ, "secrets/other", "edged"),
    (("get",), "secrets/clusteragent", "default"),
    (("create",), "secrets", "default"),
    (("get", "update"), "leases.coordination.k8s.io/other", "edged"),
    (("get", "update"), "leases.coordination.k8s.io/clusteragent", "kube-system"),
    ((*READ, "create"), "pods", "-A"),
    (("create",), "pods/exec", "-A"),
    (READ, "nodes", "-A"),
    (READ, "configmaps", "-A"),
    (("create", "update", "delete"), "services", "-A"),
    (("create", "update", "delete"), "edgenodes.edged.dev", "-A"),
    (("create", "update", "patch", "delete"), "portbindings.edged.dev", "-A"),
    (("update", "patch", "delete"), "secrets/clusteragent", "edged"),
    (READ, "uplinks.edged.dev", "default"),
    (("delete",), "uplinks.edged.dev", "edged"),
    (("create", "update", "patch"), "endpointslices.discovery.k8s.io", "-A"),
    (("update", "patch"), "namespaces", "-A"),
    (("create", "patch", "escalate", "bind"), "clusterroles.rbac.authorization.k8s.io", "-A"),
    (("impersonate",), "users", "-A"),
    (("create",), "serviceaccounts/token", "edged"),
)


def build(lab):
    cluster = Cluster.control_plane(lab)
    cluster.kubectl("apply", "-k", MANIFESTS)
    return cluster


def review(verb, resource, namespace):
    """The question whether the agent may."""
    name, _, sub = resource.partition("/")
    kind, _, group = name.partition(".")
    attributes = {"verb": verb, "resource": kind, "group": group}
    if sub in ("status", "exec", "token"):
        attributes["subresource"] = sub
    elif sub:
        attributes["name"] = sub
    if namespace != "-A":
        attributes["namespace"] = namespace
    return {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": AGENT, "groups": ["system:serviceaccounts", "system:authenticated"],
                 "resourceAttributes": attributes},
    }


def decisions(cluster, rules):
    """The API server's answers, by what was asked."""
    asked = [(verb, *rest) for verbs, *rest in rules for verb in verbs]
    done = cluster.kubectl(
        "create", "-f", "-", "-o", 'jsonpath={.status.allowed}{"\\n"}', seconds=60,
        input="\n---\n".join(json.dumps(review(*one)) for one in asked),
    )
    answers = [line == "true" for line in done.stdout.splitlines()]
    expect(len(answers), len(asked), "answers")
    return dict(zip(asked, answers))


@case
def the_agent_may_what_it_must(setup):
    """Every kind and verb that the agent uses is granted."""
    refused = [one for one, granted in decisions(setup, GRANTED).items() if not granted]
    expect(refused, [])


@case
def the_agent_may_nothing_else(setup):
    """Other Secrets, other leases, Pods, and whatever is not its own are refused."""
    granted = [one for one, granted in decisions(setup, REFUSED).items() if granted]
    expect(granted, [])


@case
def kubectl_agrees_about_the_agent(setup):
    """kubectl auth can-i lists for the agent what the reviews say."""
    done = setup.kubectl("auth", "can-i", "--list", "--as", AGENT, "-n", "edged")
    expect_in("secrets", done.stdout)
    expect_not_in("*.*", done.stdout)
    for verb, what, wanted in (
        ("get", "secrets/clusteragent", "yes"), ("get", "secrets/other", "no"),
        ("patch", "services", "yes"), ("delete", "services", "no"),
    ):
        answer = setup.kubectl(
            "auth", "can-i", verb, what, "--as", AGENT, "-n", "edged", check=False
        )
        expect(answer.stdout.strip(), wanted, f"{verb} {what}")


@case
def one_capability_more_than_baseline(setup):
    """Pod Security's baseline has nothing against the Pods but NET_ADMIN; in the form with
    wireguard-go, the node's /dev/net/tun too."""
    setup.apply({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "strict",
                     "labels": {"pod-security.kubernetes.io/warn": "baseline"}},
    })

    def warnings(folder):
        text = setup.kubectl("kustomize", MANIFESTS / folder).stdout
        [one] = [part for part in text.split("\n---\n") if "\nkind: Deployment\n" in part]
        one = one.replace("namespace: edged\n", "namespace: strict\n")
        done = setup.kubectl("apply", "--dry-run=server", "-f", "-", input=one)
        return [line for line in done.stderr.splitlines() if "would violate" in line]

    begin = 'Warning: would violate PodSecurity "baseline:latest": '
    capability = ('non-default capabilities (container "clusteragent" must not include '
                  '"NET_ADMIN" in securityContext.capabilities.add)')
    expect(warnings("agent"), [begin + capability])
    [found] = warnings("userspace")
    expect_in(capability, found)
    expect(found.removeprefix(begin).replace(capability, "").strip(" ,"),
           'hostPath volumes (volume "tun")')


@case
def it_can_be_applied_again(setup):
    """A second apply changes nothing; everything lies in one namespace."""

    def versions():
        kinds = "crd,clusterrole,clusterrolebinding,namespace"
        objects = setup.get(kinds)["items"]
        own = "serviceaccount,role,rolebinding,poddisruptionbudget"
        objects += setup.get("-n", "edged", own)["items"]
        return {
            (one["kind"], one["metadata"]["name"]): one["metadata"]["resourceVersion"]
            for one in objects
        }

    before = versions()
    said = setup.kubectl("apply", "-k", MANIFESTS).stdout
    expect_in("deployment.apps/clusteragent unchanged", said)
    expect(versions(), before)
    listed = setup.kubectl("-n", "edged", "get", "deployment,poddisruptionbudget", "-o", "name")
    expect(listed.stdout.split(),
           ["deployment.apps/clusteragent", "poddisruptionbudget.policy/clusteragent"])


@case
def the_pod_is_locked_down(setup):
    """Root with all capabilities dropped but one, a read-only root, and probes."""
    spec = setup.get("-n", "edged", "deployment", "clusteragent")["spec"]
    expect(spec["replicas"], 2)
    [container] = spec["template"]["spec"]["containers"]
    expect(container["securityContext"], {
        "runAsUser": 0, "runAsGroup": 0, "privileged": False,
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    })
    expect(container["livenessProbe"]["httpGet"]["path"], "/healthz")
    expect(container["readinessProbe"]["httpGet"]["path"], "/readyz")
