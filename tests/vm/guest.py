"""QEMU guests with Debian's kernels: what tests/vm/boot and tests/vm/machine.py share."""

import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edged/vm"
QEMU = "qemu-system-x86_64"
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
# kvm is much faster where it works; that its device exists does not say that it does.
ACCEL = os.environ.get("EDGED_VM_ACCEL", "tcg,thread=multi,tb-size=256")
# What this model lacks is what software emulates slowly; "max" takes three times as long.
CPU = "qemu64,+rdrand,+ssse3,+sse4.1,+sse4.2,+popcnt"
APPEND = (
    "console=ttyS0 loglevel=4 panic=-1 no_timer_check tsc=reliable mitigations=off "
    "random.trust_cpu=on net.ifnames=0 systemd.show_status=0"
)
# However a script ends, the kernel ends what it started.
WITH_US = ["setpriv", "--pdeathsig", "KILL", "--"]


def why_not(versions, tools=(), images=()):
    """Why no guest with these kernels and disks can run here; None when one can."""
    if os.geteuid() != 0:
        return "not root"
    for tool in (QEMU, "busybox", "cpio", "setpriv", *tools):
        if not shutil.which(tool):
            return f"no program {tool}: install what tests/vm/packages.txt lists"
    for version in versions:
        if not (CACHE / version / "release").exists():
            return f"no kernel {version} in {CACHE}: tests/vm/kernels {version} fetches it"
    for image in images:
        if not image.exists():
            return f"no {image}: tests/vm/image makes it"
    return None


def image():
    """The disk of tests/vm/machine.py, as tests/vm/image makes it."""
    said = subprocess.run([HERE / "image", "--path"], capture_output=True, text=True, check=True)
    return Path(said.stdout.strip())


def release(version):
    return (CACHE / version / "release").read_text().strip()


def initramfs(version, files, folder):
    """The kernel's part, then ours: `files` are contents by their paths in the guest."""
    tree = folder / "tree"
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    ours = subprocess.run(
        ["cpio", "--create", "--format=newc", "--quiet", "--owner=0:0"],
        cwd=tree, input=names.encode(), stdout=subprocess.PIPE, check=True,
    ).stdout
    (folder / "initramfs").write_bytes((CACHE / version / "early.cpio").read_bytes() + ours)
    return folder / "initramfs"


def qemu(version, initramfs, console, memory, cpus=2, accel=ACCEL, append=""):
    """The words that start a guest; the caller adds its devices."""
    return [
        QEMU, "-nodefaults", "-no-user-config", "-display", "none",
        "-machine", "q35,hpet=off,memory-backend=memory", "-accel", accel, "-cpu", CPU,
        "-smp", str(cpus), "-m", str(memory),
        "-object", f"memory-backend-memfd,id=memory,size={memory}M,share=on",
        "-kernel", CACHE / version / "vmlinuz", "-initrd", initramfs, "-append", f"{APPEND} {append}",
        "-serial", f"file:{console}", "-device", "virtio-serial-pci",
    ]
