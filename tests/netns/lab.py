"""Hosts and wires: network namespaces joined by veth, for tests and the demo.

Each host also has a mount namespace of its own, in which the folders that the
product uses by default are private: several edges run side by side, each with
default paths and device names. A lab's tag is in the name of everything it
makes; two labs never meet, and the tag is enough to find and remove one.
"""

import contextlib
import ctypes
import fcntl
import functools
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from slowness import SLOWNESS

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / os.environ.get("EDGED_BUILD", "dev")
PYTHON = "/usr/bin/python3"

PRIVATE_FOLDERS = (
    "/run/edged",
    "/run/wireguard",
    "/etc/edged",
    "/var/lib/edged",
    "/var/lib/clusteragent",
)
NETNS_FOLDER = Path("/run/netns")
CLONE_NEWNET = 0x40000000

# /proc/sys/net/ipv4 of a Debian 12 that nobody has configured.
DEBIAN_SYSCTLS = {
    "ip_forward": "0",
    "conf/all/rp_filter": "0",
    "conf/default/rp_filter": "0",
}


class LabError(Exception):
    """The lab itself, not the product, does not work."""


def why_not():
    """Why no lab can be made here; None when one can."""
    if os.geteuid() != 0:
        return "not root"
    for tool in ("ip", "nft", "wg", "mount", "nsenter", "unshare"):
        if not shutil.which(tool):
            return f"no program {tool}"
    probe = subprocess.run([*unshare(), "--net", "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        return f"no namespaces: {probe.stderr.strip()}"
    return None


@functools.cache
def unshare():
    """What begins a mount namespace. Mounts in it stay in it: the usual way is to make all
    private; in a chroot, whose root is no mount point, that fails, and whoever made the
    chroot must have done it (Host._hold looks)."""
    usual = ["unshare", "--mount", "--propagation", "private"]
    works = subprocess.run([*usual, "true"], capture_output=True).returncode == 0
    return usual if works else [*usual[:-1], "unchanged"]


class Process:
    """A program that runs on a host, with its output in a file."""

    def __init__(self, popen, log):
        self._popen = popen
        self.log = log
        self.pid = popen.pid

    def running(self):
        return self._popen.poll() is None

    def output(self):
        return self.log.read_text(errors="replace")

    def wait_for(self, text, seconds=10):
        """Returns when it has written `text`."""
        deadline = time.monotonic() + seconds * SLOWNESS
        while text not in self.output():
            if not self.running() or time.monotonic() > deadline:
                how = "runs" if self.running() else f"ended with {self._popen.returncode}"
                last = self.output().strip().splitlines()[-3:]
                raise AssertionError(
                    f"{self.log.stem} {how} and has not said {text!r}: {' / '.join(last)}"
                )
            time.sleep(0.005)

    def stop(self, seconds=5):
        """Asks it to end; its exit code. Fails when it does not within the time."""
        self._popen.terminate()
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"{self.log.stem} still runs {seconds} s after SIGTERM"
            ) from None

    def signal(self, number):
        self._popen.send_signal(number)

    def wait(self, seconds):
        """Its exit code, when it ends by itself within the time."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.log.stem} still runs after {seconds} s") from None

    def kill(self):
        self._popen.kill()
        self._popen.wait()


class Host:
    """One network namespace and what runs in it."""

    def __init__(self, lab, name):
        self.lab = lab
        self.name = name
        self.netns = f"{lab.prefix}{name}"
        self.folder = lab.folder / name

    def _prefix(self):
        holder = (self.folder / "holder.pid").read_text().strip()
        return [
            "nsenter", f"--target={holder}", "--net", "--mount", "--root",
            f"--wdns={ROOT}", "--",
        ]

    def command(self, argv):
        """What runs `argv` on this host, as a list of words."""
        return self._prefix() + [str(word) for word in argv]

    def run(self, argv, check=True, seconds=10, **options):
        """Runs a command to its end; the completed process, with its text."""
        done = subprocess.run(
            self.command(argv), capture_output=True, text=True, timeout=seconds, **options
        )
        if check and done.returncode != 0:
            output = (done.stderr or done.stdout).strip()
            raise AssertionError(
                f"{self.name}: {' '.join(map(str, argv))}: exit code {done.returncode}: {output}"
            )
        return done

    def start(self, argv, name, **options):
        """Starts a program that outlives the call."""
        log = self.lab.folder / "logs" / f"{self.name}-{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                self.command(argv), stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True, **options,
            )
        process = Process(popen, log)
        self.lab.processes.append(process)
        return process

    def ip(self, commands):
        """Runs ip commands, one a line. (`ip -n` would not work in a chroot.)"""
        command = ["nsenter", f"--net={NETNS_FOLDER / self.netns}", "ip", "-batch", "-"]
        done = subprocess.run(command, input=commands, capture_output=True, text=True)
        if done.returncode != 0:
            raise LabError(f"{self.name}: ip: {done.stderr.strip()}")

    def nft(self, rules):
        self.run(["nft", "-f", "-"], input=rules)

    def sysctl(self, values, family="ipv4"):
        """Sets values below /proc/sys/net/ipv4 or ipv6."""
        lines = [f"echo {value} > /proc/sys/net/{family}/{key}" for key, value in values.items()]
        self.run(["sh", "-ec", "\n".join(lines)])

    @contextlib.contextmanager
    def network(self):
        """Sockets that this thread makes inside belong to this host, for good."""
        with _namespace("/proc/thread-self/ns/net") as own, _namespace(
            NETNS_FOLDER / self.netns
        ) as other:
            _enter(other)
            try:
                yield
            finally:
                _enter(own)

    def pids(self):
        """Everything that runs here, whoever started it."""
        listed = subprocess.run(
            ["ip", "netns", "pids", self.netns], capture_output=True, text=True
        )
        return [int(pid) for pid in listed.stdout.split() if int(pid) != os.getpid()]

    def pids_of(self, program):
        """Those of them that run this program."""
        return [pid for pid in self.pids() if _program(pid) == program]

    def _create(self):
        for path in PRIVATE_FOLDERS:
            Path(path).mkdir(parents=True, exist_ok=True)
            (self.folder / path[1:]).mkdir(parents=True)
        _ip("netns", "add", self.netns)

    def _hold(self):
        """Keeps the mount namespace alive by a process that sleeps in it."""
        binds = [f"mount --bind {self.folder}{path} {path}" for path in PRIVATE_FOLDERS]
        script = "\n".join([*binds, "echo held", "exec sleep infinity"])
        holder = subprocess.Popen(
            ["nsenter", f"--net={NETNS_FOLDER / self.netns}",
             *unshare(), "sh", "-ec", script],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        )
        self.lab.holders.append(holder)
        said = holder.stdout.readline()
        holder.stdout.close()
        if said != "held\n":
            raise LabError(f"{self.name}: no mount namespace: {said.strip()}")
        if os.path.samefile(PRIVATE_FOLDERS[0], f"{self.folder}{PRIVATE_FOLDERS[0]}"):
            raise LabError(f"{self.name}: its mounts are seen outside")
        (self.folder / "holder.pid").write_text(f"{holder.pid}\n")


class Lab:
    """All hosts of one test or demo. Leaving the `with` block removes it."""

    def __init__(self, tag):
        self.tag = tag
        self.prefix = f"edged-{tag}-"
        self.folder = Path(tempfile.gettempdir()) / f"edged-{tag}"
        self.hosts = {}
        self.holders = []
        self.processes = []
        self.on_removed = []  # called when everything that ran here has ended

    @classmethod
    def create(cls, name):
        lab = cls(f"{name}-{secrets.token_hex(3)}")
        (lab.folder / "logs").mkdir(parents=True)
        return lab

    @classmethod
    def existing(cls, name):
        """The labs of this name that are up, also those of other processes."""
        prefix = f"edged-{name}-"
        found = {path.name for path in Path(tempfile.gettempdir()).glob(f"{prefix}*")}
        labs = [cls(folder.removeprefix("edged-")) for folder in sorted(found)]
        for lab in labs:
            for path in NETNS_FOLDER.glob(f"{lab.prefix}*"):
                host = Host(lab, path.name.removeprefix(lab.prefix))
                lab.hosts[host.name] = host
        return labs

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def host(self, name, sysctls=None):
        host = Host(self, name)
        self.hosts[name] = host
        with machine_lock():
            host._create()
        host._hold()
        host.sysctl(DEBIAN_SYSCTLS | (sysctls or {}))
        if Path("/proc/sys/net/ipv6").exists():
            # Nobody else has these addresses: no second of looking for it.
            host.sysctl({"conf/default/accept_dad": "0"}, "ipv6")
        host.ip("link set lo up")
        return host

    def wire(self, left, left_device, left_addresses, right, right_device, right_addresses):
        """A cable between two hosts."""
        left.ip(
            f"link add {left_device} type veth peer name {right_device} netns {right.netns}"
        )
        for host, device, addresses in (
            (left, left_device, left_addresses),
            (right, right_device, right_addresses),
        ):
            lines = [f"address add {address} dev {device}" for address in addresses.split()]
            host.ip("\n".join([*lines, f"link set dev {device} up"]))

    def save_logs(self, folder):
        """Keeps the logs of the lab's programs."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder / "logs", folder, symlinks=True)

    def remove(self):
        """Ends every process in the namespaces, then removes these and the folder. A second
        Ctrl-C does not stop it."""
        with _without_interrupts():
            self._remove()

    def _remove(self):
        pids = [pid for host in self.hosts.values() for pid in host.pids()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.processes:
            process.kill()
        for holder in self.holders:
            holder.wait()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and any(host.pids() for host in self.hosts.values()):
            time.sleep(0.01)
        for call in self.on_removed:
            call()
        with machine_lock():
            for host in self.hosts.values():
                subprocess.run(["ip", "netns", "del", host.netns], stderr=subprocess.DEVNULL)
            if not any(NETNS_FOLDER.glob("edged-*")):
                _remove_empty(PRIVATE_FOLDERS)
        shutil.rmtree(self.folder, ignore_errors=True)


def _program(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:  # it has ended
        return ""


def _ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@contextlib.contextmanager
def _without_interrupts():
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _namespace(path):
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _enter(descriptor):
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
        raise LabError(f"setns: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def machine_lock():
    """Held while mount points come or go: another lab may use the same ones."""
    with open("/run/edged-lab.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_empty(folders):
    for folder in folders:
        with contextlib.suppress(OSError):
            os.rmdir(folder)
