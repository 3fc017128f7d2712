"""The images that the Pods of the tests use, as archives in the cache."""

import platform
import shutil
import sys
from pathlib import Path

from programs import path_of

sys.path.append(str(Path(__file__).resolve().parents[2] / "packaging/image"))

import oci  # noqa: E402

COMMANDS = ("sh", "cat", "ls", "id", "ip", "ps", "mount", "grep", "sleep", "nc", "ping", "wget")
TESTBOX = "tests.local/testbox:1"


def _image(name):
    image = oci.Image(folders={"tmp", "etc"})
    image.add(f"bin/{name}", path_of(name))
    if name == "testbox":
        image.add("bin/busybox", Path(shutil.which("busybox")))
        image.links |= {f"bin/{command}": "busybox" for command in COMMANDS}
        image.files["etc/passwd"] = (b"root:x:0:0::/:/bin/sh\n", 0o644)
    return image


def archives():
    """Their paths; those that are missing are made."""
    paths = []
    for name in ("pause", "coredns", "testbox"):
        path = path_of(name).with_suffix(".tar")
        if not path.exists():
            new = path.with_name(f".{path.name}.new")
            oci.write(new, _image(name), f"tests.local/{name}:1", [f"/bin/{name}"],
                      platform.machine())
            new.rename(path)
        paths.append(path)
    return paths
