"""The programs of a Kubernetes cluster: what they are built from, and where they lie.

Everything comes from the Go modules that tests/kube/tools pins. A module's folder in
the cache is named after a digest of its pins, so an old build is never taken for a
new one.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).resolve().parent / "tools"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edged/kube"

KUBERNETES = "v1.36.3"
CONTAINERD = "v2.3.7"

_KUBERNETES_FLAGS = " ".join(
    f"-X {package}.{name}={value}"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    for name, value in (
        ("gitVersion", KUBERNETES),
        ("gitMajor", "1"),
        ("gitMinor", KUBERNETES.split(".")[1]),
        ("gitTreeState", "clean"),
        ("gitCommit", "0" * 40),
        ("buildDate", "2026-01-01T00:00:00Z"),
    )
)
_CONTAINERD = "github.com/containerd/containerd/v2"
_PLUGINS = "github.com/containernetworking/plugins/plugins"


@dataclass(frozen=True)
class Program:
    name: str
    module: str  # a folder of tests/kube/tools
    package: str = "."
    flags: str = ""  # of the linker
    tags: str = ""

    @property
    def path(self):
        return CACHE / f"{self.module}-{_digest(self.module)}" / self.name


def _digest(module):
    pins = hashlib.sha256()
    for path in sorted((TOOLS / module).iterdir()):
        pins.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return pins.hexdigest()[:12]


def _kubernetes(name):
    return Program(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", _KUBERNETES_FLAGS)


def _containerd(name):
    flags = f"-X {_CONTAINERD}/version.Version={CONTAINERD}"
    tags = "no_btrfs,no_zfs,no_devmapper,no_tracing"
    return Program(name, "containerd", f"{_CONTAINERD}/cmd/{name}", flags, tags)


# A control plane alone, and what a node needs beside it.
SETS = {
    "control": (
        Program("etcd", "kubernetes", "go.etcd.io/etcd/server/v3"),
        *map(_kubernetes, ("kubectl", "kube-apiserver", "kube-controller-manager")),
    ),
    "node": (
        *map(_kubernetes, ("kubelet", "kube-proxy", "kube-scheduler")),
        *map(_containerd, ("containerd", "containerd-shim-runc-v2", "ctr")),
        *(
            Program(name, "cni", f"{_PLUGINS}/{kind}/{name}")
            for kind, name in (
                ("main", "ptp"), ("main", "loopback"), ("ipam", "host-local"), ("meta", "portmap")
            )
        ),
        *(Program(name, name) for name in ("coredns", "pause", "testbox")),
    ),
}
_BY_NAME = {program.name: program for programs in SETS.values() for program in programs}


def path_of(name):
    return _BY_NAME[name].path


def missing(*sets):
    """Names of the programs that are not built."""
    return [
        program.name for one in sets for program in SETS[one] if not program.path.exists()
    ]
