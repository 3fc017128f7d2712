"""A VPS of its own: a minimal Debian 12 with systemd on a disk, which boots, reboots
and loses power, on a cable to the hosts of a lab. tests/vm/image makes the disk."""

import base64
import contextlib
import itertools
import re
import shutil
import socket
import subprocess
import time

import guest
from lab import LabError

MEMORY = 512


class Machine:
    """One machine; `port` is the device of its cable on `router`, which has its address."""

    def __init__(self, lab, router, port, parcel=None):
        """Files of the folder `parcel` are in its /mnt."""
        self._lab = lab
        self._router = router
        self._port = port
        self._folder = lab.folder / f"machine-{port}"
        self._folder.mkdir()
        self._disk = self._folder / "disk"
        subprocess.run(
            ["cp", "--reflink=auto", "--sparse=always", guest.image(), self._disk],
            check=True,
        )
        self._parcel = self._folder / "parcel"
        self._make_parcel(parcel)
        router.run(["ip", "tuntap", "add", "dev", port, "mode", "tap"])
        self._qemu = None
        self._commands = None
        self._received = b""
        self._ids = itertools.count(1)

    def _make_parcel(self, folder):
        source = self._folder / "parcel.d"
        shutil.copytree(folder, source) if folder else source.mkdir()
        subprocess.run(
            ["mke2fs", "-q", "-t", "ext4", "-d", source, self._parcel, "64M"], check=True,
            stdout=subprocess.DEVNULL,
        )

    def start(self, kernel="6.1"):
        """Switches it on; run() waits until it is up."""
        path = self._folder / "commands"
        path.unlink(missing_ok=True)
        folder = self._folder / kernel
        folder.mkdir(exist_ok=True)
        init = (guest.HERE / "early-init-disk").read_text()
        initramfs = guest.initramfs(kernel, {"init": init}, folder)
        drives = []
        for index, file in enumerate((self._disk, self._parcel)):
            drives += ["-drive", f"file={file},if=virtio,format=raw,index={index}"]
        self._qemu = self._router.start([
            *guest.WITH_US,
            *guest.qemu(kernel, initramfs, self._console(), MEMORY),
            "-no-reboot",
            *drives,
            "-netdev", f"tap,id=net,ifname={self._port},script=no,downscript=no",
            "-device", "virtio-net-pci,netdev=net",
            "-chardev", f"socket,id=commands,path={path},server=on,wait=off",
            "-device", "virtserialport,chardev=commands,name=commands",
        ], f"machine-{self._port}")
        self._connect(path)
        return self

    def _console(self):
        """A new file for each time it is switched on."""
        logs = self._lab.folder / "logs"
        count = len(list(logs.glob(f"console-{self._port}-*")))
        return logs / f"console-{self._port}-{count + 1}.log"

    def _connect(self, path):
        self._commands = socket.socket(socket.AF_UNIX)
        self._received = b""
        deadline = time.monotonic() + 10
        while True:
            try:
                return self._commands.connect(str(path))
            except OSError:
                if not self._qemu.running() or time.monotonic() > deadline:
                    raise LabError(f"no machine: {self._qemu.output().strip()}") from None
            time.sleep(0.02)

    def cut_power(self):
        """What it has not written to its disk is lost."""
        self._commands.close()
        self._qemu.kill()

    def run(self, command, check=True, seconds=60):
        """Runs a shell command as root; its output, and its exit status unless `check`."""
        number = self._send(command)
        deadline = time.monotonic() + seconds
        answered = 0
        while answered != number:
            answered, status, size = self._receive_answer(deadline, command)
            output = self._receive(size, deadline, command).decode(errors="replace")
        if not check:
            return output, status
        if status != 0:
            raise AssertionError(f"vps: {command}: exit code {status}: {output.strip()}")
        return output

    def _send(self, command):
        number = next(self._ids)
        text = base64.b64encode(command.encode()).decode()
        self._commands.sendall(f"{number} {text}\n".encode())
        return number

    def _receive_answer(self, deadline, what):
        """Its head; what a reboot has cut off before is passed over."""
        while True:
            while b"\n" not in self._received:
                self._receive_more(deadline, what)
            line, _, self._received = self._received.partition(b"\n")
            if head := re.search(rb"answer (\d+) (\d+) (\d+)$", line):
                return [int(number) for number in head.groups()]

    def _receive(self, size, deadline, what):
        while len(self._received) < size:
            self._receive_more(deadline, what)
        data, self._received = self._received[:size], self._received[size:]
        return data

    def _receive_more(self, deadline, what):
        left = deadline - time.monotonic()
        if left > 0:
            self._commands.settimeout(left)
            with contextlib.suppress(TimeoutError):
                data = self._commands.recv(65536)
                if not data:
                    raise AssertionError(f"vps: it went off in: {what}")
                self._received += data
                return
        raise AssertionError(f"vps: not done in time: {what}")

    def go_down(self, seconds=180):
        """Lets its systemd reboot, until the moment at which it would start again; start()
        goes on from there."""
        self._send("systemctl reboot")  # what answers may end before it has
        deadline = time.monotonic() + seconds
        while self._qemu.running():
            if time.monotonic() > deadline:
                raise AssertionError(f"vps: not down after {seconds} s")
            time.sleep(0.02)
        self._commands.close()
