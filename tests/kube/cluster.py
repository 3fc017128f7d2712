"""A real Kubernetes on a host of a lab: a control plane alone, or a whole node.

Everything runs in a PID and a mount namespace of its own beside the host's network
namespace, and ends with the lab. Nothing is fetched: images come from archives.
"""

import json
import shutil
import subprocess
from pathlib import Path

import configs
from expect import eventually, expect
from images import archives
from init import has_come
from lab import NETNS_FOLDER, PYTHON, machine_lock, unshare
from programs import missing, path_of

INIT = Path(__file__).resolve().with_name("init.py")
DNS_MANIFEST = Path(__file__).resolve().with_name("coredns.yaml")
NODE = "node"
KEPT = "*/kubernetes/machine.json"  # in the folder of a lab
CGROUPS = Path("/sys/fs/cgroup")
# What the kubelet sets for the whole machine.
SYSCTLS = (
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/panic_on_oops",
    "/proc/sys/kernel/keys/root_maxkeys",
    "/proc/sys/kernel/keys/root_maxbytes",
)


def why_not(*sets):
    """Why there can be no cluster of these programs here; None when there can."""
    for tool in ("openssl", "runc") if "node" in sets else ("openssl",):
        if not shutil.which(tool):
            return f"no program {tool}"
    if absent := missing(*sets):
        return f"not built: {', '.join(absent)} (tests/kube/build)"
    return None


class Cluster:
    """`address` is the host's own, that of the API server and the node; `apiserver` are more
    options of the former."""

    def __init__(self, host, address, address6=None, apiserver=()):
        self.host = host
        self.address = address
        self.address6 = address6
        self.apiserver = apiserver
        self.folder = host.folder / "kubernetes"
        self.admin = self.folder / "admin.conf"
        self.process = None

    @classmethod
    def control_plane(cls, lab, name="control"):
        """etcd, API server and controllers on a new host of the lab, up."""
        host = lab.host(name)
        address = "10.77.0.2"
        host.ip(f"address add {address}/32 dev lo")
        return cls(host, address).start()

    def start(self):
        """Until the API server answers; the controllers may come a little later."""
        self._begin(self._control_programs(), mounts=[])
        self.wait_ready()
        return self

    def start_node(self, images=()):
        """All of it, until the node is Ready and names are resolved. `images` are more
        archives for its Pods."""
        with_ipv6 = Path("/proc/sys/net/ipv6").exists()
        self.host.sysctl({"ip_forward": "1"})
        if with_ipv6:
            self.host.sysctl({"conf/all/forwarding": "1"}, "ipv6")
        self._keep_machine()
        programs = self._control_programs() + self._node_programs([*archives(), *images])
        self._begin(programs, mounts=_node_mounts(self.folder))
        self.wait_ready()
        self.wait("node", NODE, "condition=Ready", seconds=60)
        # Of controllers; Pods have it.
        eventually(lambda: self.kubectl("get", "serviceaccount", "default"), 30, pause=0.1)
        self.kubectl("apply", "-f", DNS_MANIFEST)
        self.kubectl(
            "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s",
            seconds=70,
        )
        return self

    # What cases do with it.

    def kubectl(self, *words, seconds=20, **options):
        """One kubectl command as the administrator; its completed process."""
        return self.host.run(self.command(*words), seconds=seconds, **options)

    def command(self, *words):
        return [path_of("kubectl"), "--kubeconfig", self.admin, *words]

    def apply(self, *objects, check=True):
        """Creates or changes objects, given as dicts or as one text of YAML."""
        text = "".join(
            one if isinstance(one, str) else json.dumps(one) + "\n---\n" for one in objects
        )
        return self.kubectl("apply", "-f", "-", input=text, check=check)

    def get(self, *words):
        return json.loads(self.kubectl("get", *words, "-o", "json").stdout)

    def wait(self, kind, name, what, seconds=20, namespace="default"):
        """kubectl wait --for=WHAT, also for what is not there yet."""

        def attempt():
            self.kubectl("-n", namespace, "wait", f"--for={what}", f"{kind}/{name}",
                         "--timeout=2s")

        eventually(attempt, seconds, pause=0.2)

    def wait_ready(self, seconds=60):
        """Until the API server says that it is ready."""

        def look():
            with self.host.network():
                expect(has_come(self._ready, self.folder), True, "the API server is ready")

        eventually(look, seconds, pause=0.1)

    def stop(self, program):
        """Ends one of its programs until start_again."""
        off = self.folder / "off" / program
        off.touch()
        self.kill(program)

    def start_again(self, program):
        (self.folder / "off" / program).unlink()

    def kill(self, program):
        """Ends one of its programs; it comes back by itself."""
        self.inside(["sh", "-c", f"kill -9 $(pidof {program})"])

    def ctr(self, *words):
        """containerd's own tool on the node."""
        socket = "/run/containerd/containerd.sock"
        return self.inside([path_of("ctr"), "-a", socket, "-n", "k8s.io", *words])

    # How it comes up.

    def _control_programs(self):
        def program(name, argv, **more):
            return {"name": name, "argv": [str(path_of(name)), *argv], **more}

        return [
            program("etcd", configs.etcd_argv(self.folder)),
            program("kube-apiserver", [*configs.apiserver_argv(self.address), *self.apiserver]),
            program("kube-controller-manager", configs.controller_argv(), after=self._ready),
        ]

    def _node_programs(self, images):
        def program(name, *argv, **more):
            return {"name": more.pop("called", name), "argv": [str(path_of(name)), *argv], **more}

        socket = "/run/containerd/containerd.sock"
        addresses = ",".join(filter(None, (self.address, self.address6)))
        return [
            program("containerd", "-c", "containerd.toml"),
            *(
                program("ctr", "-a", socket, "-n", "k8s.io", "images", "import", str(archive),
                        called=f"import-{Path(archive).stem}", after=socket, once=True)
                for archive in images
            ),
            program("kube-scheduler", "--kubeconfig", "scheduler.conf", *configs.FAST,
                    after=self._ready),
            program("kubelet", "--config", "kubelet.yaml", "--kubeconfig", "node.conf",
                    "--hostname-override", NODE, "--node-ip", addresses, "--v", "2",
                    after=self._ready),
            program("kube-proxy", "--config", "kube-proxy.yaml", "--v", "2",
                    after=self._ready),
        ]

    @property
    def _ready(self):
        return f"https://{self.address}:{configs.PORT}/readyz"

    def _begin(self, programs, mounts):
        for name in ("certs", "cni", "off", "lib", "cgroup"):
            (self.folder / name).mkdir(parents=True)
        # The lab keeps its logs folder when a case fails: programs, and Pods below log/.
        logs = self.host.lab.folder / "logs" / "kubernetes"
        (logs / "log").mkdir(parents=True)
        (self.folder / "logs").symlink_to(logs)
        self._write_configs()
        path = f"{path_of('containerd').parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        plan = {"path": path, "mounts": mounts, "programs": programs}
        (self.folder / "plan.json").write_text(json.dumps(plan))
        self.process = self.host.start(
            [*unshare(), "--pid", "--fork", "--kill-child", "--mount-proc",
             PYTHON, "-B", INIT, self.folder],
            "kubernetes",
        )

    def _write_configs(self):
        folder = self.folder
        files = {
            "tokens.csv": configs.tokens(NODE),
            "kubelet.yaml": configs.kubelet(folder, self._cgroup),
            "kube-proxy.yaml": configs.kube_proxy(folder, NODE),
            "containerd.toml": configs.containerd(folder, shutil.which("runc") or "runc"),
            "cni/10-pods.conflist": configs.cni(),
        }
        for user in configs.users(NODE):
            files[f"{user}.conf"] = configs.kubeconfig(folder, self.address, user)
        for name, text in files.items():
            (folder / name).write_text(text)
        _make_keys(folder)

    def inside(self, argv):
        """Runs a program of this machine among those of the cluster."""
        init = self._init_pid()
        words = ["nsenter", "-t", str(init), "-m", "-n", "-p", "--", *map(str, argv)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, argv))}: {done.stderr.strip()}")
        return done

    def _init_pid(self):
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(task.read_text().split()[0])

    # What is the machine's, not the lab's.

    @property
    def _cgroup(self):
        return self.host.netns

    def _keep_machine(self):
        """Makes the cgroups; when the lab goes, they go, and with the last such lab the
        sysctls are as before."""
        self.folder.mkdir(parents=True)
        with machine_lock():
            kept = next(_others_keep(self.host.lab), None)
            sysctls = kept["sysctls"] if kept else _read_sysctls()
            machine = {"cgroup": self._cgroup, "sysctls": sysctls}
            (self.folder / "machine.json").write_text(json.dumps(machine))
        put_back_with(self.host.lab)
        _make_cgroups(self._cgroup)


def put_back_with(lab):
    """The machine is as before when `lab` has gone, also one that another process made."""
    for path in lab.folder.glob(KEPT):
        lab.on_removed.append(lambda path=path: _put_back(lab, path))


def _put_back(lab, path):
    machine = json.loads(path.read_text())
    _remove_cgroups(machine["cgroup"])
    with machine_lock():
        path.unlink()
        if not any(_others_keep(lab)):
            for name, value in machine["sysctls"].items():
                Path(name).write_text(value)


def _others_keep(lab):
    """What other labs that are up have written down of the machine."""
    for path in lab.folder.parent.glob(f"edged-*/{KEPT}"):
        machine = json.loads(path.read_text())
        if not path.is_relative_to(lab.folder) and (NETNS_FOLDER / machine["cgroup"]).exists():
            yield machine


def _read_sysctls():
    return {str(path): path.read_text() for path in map(Path, SYSCTLS) if path.exists()}


def _node_mounts(folder):
    """A /sys of this network namespace, folders of its own, and mounts that Pods share."""
    return [
        ["mount", "--rbind", str(CGROUPS), f"{folder}/cgroup"],
        ["mount", "-t", "sysfs", "sysfs", "/sys"],
        ["mount", "--move", f"{folder}/cgroup", str(CGROUPS)],
        ["mount", "--bind", f"{folder}/lib", "/var/lib"],
        ["mount", "--bind", f"{folder}/logs/log", "/var/log"],
        ["mount", "-t", "tmpfs", "tmpfs", "/run"],
        ["mkdir", "-p", "/run/containerd", "/run/netns", "/var/lib/kubelet", "/var/log/pods",
         "/var/lib/containerd", "/var/log/containers"],
        ["mount", "--make-rshared", "/"],
    ]


def _make_keys(folder):
    """The key of service accounts, and the API server's certificate towards kubelets."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for words in (
        ["req", "-x509", *curve, "-days", "30", "-subj", "/CN=tests", "-keyout", "ca.key",
         "-out", "ca.crt"],
        ["req", *curve, "-subj", "/O=system:masters/CN=kube-apiserver", "-keyout",
         "kubelet-client.key", "-out", "kubelet-client.csr"],
        ["x509", "-req", "-in", "kubelet-client.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
         "-CAcreateserial", "-days", "30", "-out", "kubelet-client.crt"],
        ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sa.key"],
    ):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def _cgroup_roots():
    """One of version 2, or one for each controller of version 1."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [path for path in CGROUPS.iterdir() if path.is_dir()]


def _make_cgroups(name):
    for root in _cgroup_roots():
        group = root / name
        group.mkdir(exist_ok=True)
        if root == CGROUPS:  # version 2
            wanted = " ".join(f"+{one}" for one in
                              (root / "cgroup.controllers").read_text().split())
            for folder in (root, group):
                (folder / "cgroup.subtree_control").write_text(wanted)
        if root.name == "cpuset":
            for setting in ("cpuset.cpus", "cpuset.mems"):
                (group / setting).write_text((root / setting).read_text())


def _remove_cgroups(name):
    """As soon as what ran in them has ended."""

    def attempt():
        for root in _cgroup_roots():
            for folder in sorted((root / name).rglob("*/"), reverse=True):
                _rmdir(folder)
            _rmdir(root / name)

    eventually(attempt, 5, pause=0.1)


def _rmdir(folder):
    try:
        folder.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise AssertionError(f"{folder}: {error.strerror}") from None
