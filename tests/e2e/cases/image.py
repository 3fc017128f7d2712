"""The image of the agent on a real node."""

from case import case
from cluster import Cluster
from expect import eventually, expect
from image import agent_image
from world import HOME, World

LIMIT_SECONDS = 180
LOCKED_DOWN = {
    "runAsUser": 0, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def build(lab):
    world = World(lab, edges=())
    cluster = Cluster(world.home, HOME)
    return cluster.start_node(images=[agent_image(lab.folder)])


def run(cluster, name, *command):
    """What a Pod of the image prints, locked down as the Deployment's."""
    cluster.apply({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{
                "name": "agent", "image": "edged.dev/clusteragent:0.1.0",
                "imagePullPolicy": "Never", "command": list(command),
                "securityContext": LOCKED_DOWN,
            }],
        },
    })

    def ended():
        phase = cluster.get("pod", name)["status"]["phase"]
        expect(phase in ("Succeeded", "Failed"), True, f"{name} is {phase}, and has ended")

    eventually(ended, 40, pause=0.3)
    return cluster.kubectl("logs", name).stdout


@case
def its_programs_run_in_a_pod(setup):
    """clusteragent and wireguard-go find their libraries, with one capability and a
    read-only root."""
    expect(run(setup, "agent", "/usr/bin/clusteragent", "version"), "clusteragent 0.1.0\n")
    said = run(setup, "wireguard", "/usr/bin/wireguard-go", "--version")
    expect(said.startswith("wireguard-go v"), True, said)
