"""What is in the image of the agent."""

import io
import json
import platform
import re
import subprocess
import tarfile

from case import case
from expect import expect
from lab import PYTHON, ROOT
from product import CLUSTERAGENT

BUILD_IMAGE = ROOT / "packaging/image/build.py"


def archive(lab, name):
    path = lab.folder / name
    subprocess.run([PYTHON, BUILD_IMAGE, CLUSTERAGENT, path], check=True, capture_output=True)
    return path


@case
def the_same_programs_give_the_same_image(lab):
    """Two builds are equal, byte by byte."""
    one, two = archive(lab, "one.tar"), archive(lab, "two.tar")
    expect(one.read_bytes() == two.read_bytes(), True, "equal")


@case
def it_holds_two_programs_and_their_libraries(lab):
    """No shell, no package manager, nothing else: programs, libraries, mount points."""
    with tarfile.open(archive(lab, "image.tar")) as tar:
        blobs = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}
    [manifest] = json.loads(blobs["index.json"])["manifests"]
    expect(manifest["annotations"]["io.containerd.image.name"].partition(":")[0],
           "edged.dev/clusteragent")

    def blob(descriptor):
        return blobs["blobs/" + descriptor["digest"].replace(":", "/")]

    manifest = json.loads(blob(manifest))
    config = json.loads(blob(manifest["config"]))
    expect(config["config"]["Entrypoint"], ["/usr/bin/clusteragent"])
    expect(config["architecture"], {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()])
    [layer] = manifest["layers"]
    with tarfile.open(fileobj=io.BytesIO(blob(layer))) as tar:
        members = tar.getmembers()
    expect({(one.uid, one.gid, one.mtime) for one in members}, {(0, 0, 0)})
    files = [one.name for one in members if one.isfile()]
    expect([name for name in files if not re.search(r"^lib.*\.so[.0-9]*$|^usr/lib.*\.so[.0-9]*$",
                                                    name)],
           ["usr/bin/clusteragent", "usr/bin/wireguard-go"])
    expect("var/lib/clusteragent" in [one.name for one in members if one.isdir()], True)
