"""What the programs of a cluster read. JSON, which each of them takes for YAML."""

import json

from programs import path_of

SERVICES = ("10.96.0.0/16", "fd96::/112")
DNS = "10.96.0.10"
PODS = ("10.244.0.0/24", "fd44::/64")
PORT = 6443

# Who may log in: user, name, groups.
USERS = {
    "admin": ("admin", "system:masters"),
    "kcm": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
}


def users(node):
    """The users and the node's own."""
    return {**USERS, "node": (f"system:node:{node}", "system:nodes")}


def tokens(node):
    """A static token file: token,user,uid,"group"."""
    return "".join(
        f'{user}-token,{name},{user},"{groups}"\n' if groups else f"{user}-token,{name},{user}\n"
        for user, (name, groups) in users(node).items()
    )


def kubeconfig(folder, address, user):
    return json.dumps({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "cluster",
            "cluster": {
                "server": f"https://{address}:{PORT}",
                "certificate-authority": str(folder / "certs/apiserver.crt"),
            },
        }],
        "users": [{"name": user, "user": {"token": f"{user}-token"}}],
        "contexts": [{"name": "tests", "context": {"cluster": "cluster", "user": user}}],
        "current-context": "tests",
    })


def kubelet(folder, cgroup):
    return json.dumps({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "allowedUnsafeSysctls": ["net.ipv6.conf.all.forwarding"],
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(folder / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi", "nodefs.available": "0%",
            "nodefs.inodesFree": "0%", "imagefs.available": "0%",
        },
        "nodeStatusUpdateFrequency": "2s",
        "kubeAPIQPS": 500,
        "kubeAPIBurst": 1000,
        "registryPullQPS": 0,
        "syncFrequency": "5s",
        "shutdownGracePeriod": "0s",
    })


def kube_proxy(folder, node):
    return json.dumps({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(folder / "proxy.conf")},
        "hostnameOverride": node,
        "clusterCIDR": "10.244.0.0/16,fd44::/48",
        "conntrack": {"maxPerCore": 0, "min": 0},
        "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
    })


def containerd(folder, runc):
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE nobody may go below his own.
    return f"""\
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "tests.local/pause:1"
[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["{path_of('ptp').parent}"]
  conf_dir = "{folder}/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd]
  default_runtime_name = "runc"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = "{runc}"
  SystemdCgroup = false
"""


def cni():
    return json.dumps({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": subnet}] for subnet in PODS],
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
                    "dataDir": "/run/cni-ipam",
                },
            },
            {"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": True}},
        ],
    })


def etcd_argv(folder):
    clients, peers = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    return [
        "--data-dir", f"{folder}/etcd", "--unsafe-no-fsync", "--log-level", "error",
        "--listen-client-urls", clients, "--advertise-client-urls", clients,
        "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
        "--initial-cluster", f"default={peers}",
    ]


def apiserver_argv(address):
    return [
        "--etcd-servers", "http://127.0.0.1:2379", "--cert-dir", "certs",
        "--secure-port", str(PORT), "--bind-address", "0.0.0.0", "--advertise-address", address,
        "--service-cluster-ip-range", ",".join(SERVICES),
        "--service-account-issuer", "https://kubernetes.default.svc",
        "--service-account-key-file", "sa.key", "--service-account-signing-key-file", "sa.key",
        "--token-auth-file", "tokens.csv", "--authorization-mode", "Node,RBAC",
        "--enable-admission-plugins", "NodeRestriction",
        "--kubelet-client-certificate", "kubelet-client.crt",
        "--kubelet-client-key", "kubelet-client.key",
        "--kubelet-preferred-address-types", "InternalIP", "--allow-privileged", "--v", "1",
    ]


# With the usual rates the first service accounts take ten seconds.
FAST = ["--kube-api-qps", "500", "--kube-api-burst", "1000", "--leader-elect=false", "--v", "1"]


def controller_argv():
    return [
        "--kubeconfig", "kcm.conf", "--service-account-private-key-file", "sa.key",
        "--root-ca-file", "certs/apiserver.crt", "--use-service-account-credentials", *FAST,
    ]
