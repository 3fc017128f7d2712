"""An API server that comes back as another one, and a store from a backup."""

import shutil
import signal

from case import case
from configs import kubeconfig
from controller import SAW, Setup, events_of
from expect import becomes, eventually, expect, expect_in
from product import port_binding, tcp
from world import BACKEND

LIMIT_SECONDS = 180


def serve(setup, name, port):
    setup.cluster.apply(port_binding(name, tcp(port, f"{BACKEND}:8080")))
    setup.wait_ready("pb", name, seconds=40)
    setup.becomes_served(port)


def keep(cluster, store, backup):
    """A backup of what etcd has."""
    cluster.stop("etcd")
    shutil.copytree(store, backup)
    cluster.start_again("etcd")


def put_back(cluster, store, backup):
    cluster.stop("kube-apiserver")
    cluster.stop("etcd")
    shutil.rmtree(store)
    backup.rename(store)
    cluster.start_again("etcd")
    cluster.start_again("kube-apiserver")
    cluster.wait_ready()


@case
def another_authority_withdraws_nothing(lab):
    """An API server whose certificate nobody here can check: the agent says so in /readyz and
    in the log, what was served is served on; with the new authority in its file it goes on by
    itself."""
    setup = Setup(lab)
    cluster = setup.cluster
    current, own = cluster.folder / "certs/apiserver.crt", cluster.folder / "agent-ca.crt"
    shutil.copy(current, own)
    setup.agent.config = cluster.folder / "agent.conf"
    text = kubeconfig(cluster.folder, cluster.address, "admin")
    setup.agent.config.write_text(text.replace(str(current), str(own)))
    setup.agent.run()
    setup.join()
    serve(setup, "web", 80)
    cluster.stop("kube-apiserver")
    for name in ("apiserver.crt", "apiserver.key"):
        (cluster.folder / "certs" / name).unlink()
    cluster.start_again("kube-apiserver")
    cluster.wait_ready()

    def told():
        status, body = setup.agent.probe("/readyz")
        expect(status, 503)
        expect_in("certificate", body)

    eventually(told, 30, pause=0.3)
    expect(setup.page(), SAW)
    expect(setup.agent.probe("/healthz")[0], 200)
    shutil.copy(current, own)
    eventually(lambda: expect(setup.agent.probe("/readyz"), (200, "ok\n")), 45, pause=0.5)
    serve(setup, "later", 81)
    expect(setup.page(), SAW)


@case
def a_store_from_a_backup(lab):
    """etcd as it was a while ago: what the backup does not know is withdrawn, what it knows is
    served all the time, and the agent leads the same edge in a term above the one that the
    edge has seen, though the Lease counts less."""
    setup = Setup(lab)
    setup.agent.run()
    setup.join()
    serve(setup, "old", 80)
    store, backup = setup.cluster.folder / "etcd", setup.cluster.folder / "backup"
    keep(setup.cluster, store, backup)
    serve(setup, "young", 81)
    setup.agent.process.stop()
    setup.agent.run()

    def term():
        return int(setup.edge.status()["epoch"]["number"])

    becomes(term, 2, 30)
    put_back(setup.cluster, store, backup)

    def followed():
        expect(setup.page(80), SAW)
        expect(setup.page(81)[:3], "no:")

    eventually(followed, 60)
    serve(setup, "later", 82)
    expect(setup.page(80), SAW)
    expect(term() > 2, True, f"term {term()}")
    expect_in("Ready", dict(events_of(setup.cluster, "PortBinding", "later")))


@case
def a_backup_that_no_watch_was_told_of(lab):
    """The same where the agent heard nothing of it: a watch that goes on from a version that is
    not there yet tells nothing, so the older Lease alone says that there is another store."""
    setup = Setup(lab)
    setup.agent.run()
    setup.join()
    serve(setup, "old", 80)
    store, backup = setup.cluster.folder / "etcd", setup.cluster.folder / "backup"
    keep(setup.cluster, store, backup)
    serve(setup, "young", 81)
    setup.agent.process.signal(signal.SIGSTOP)
    put_back(setup.cluster, store, backup)
    setup.agent.process.signal(signal.SIGCONT)
    becomes(lambda: setup.page(81)[:3], "no:", 20)
    expect_in("the cluster came back from a backup", setup.agent.log())
    setup.becomes_served(80)
    serve(setup, "later", 82)
