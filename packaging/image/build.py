#!/usr/bin/python3
"""Makes the image of clusteragent: the program, wireguard-go, the shared libraries that
both need, and nothing else. The same files give the same bytes.

usage: packaging/image/build.py CLUSTERAGENT ARCHIVE
"""

import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True

import oci  # noqa: E402

WIREGUARD_GO = Path("/usr/bin/wireguard-go")
# Mount points, which a read-only root must have already.
FOLDERS = {"dev", "etc", "proc", "run", "sys", "tmp", "var/lib/clusteragent"}


def libraries(program):
    """Where the program's libraries are found, the loader among them."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    if "not found" in listed.stdout:
        sys.exit(f"image: {program}: {listed.stdout}")
    return {Path(path) for path in re.findall(r"(?:=> |^\s+)(/\S+) \(", listed.stdout, re.M)}


def add_program(image, program):
    for library in libraries(program):
        image.add(str(library)[1:], library.resolve())
    with tempfile.NamedTemporaryFile() as stripped:
        subprocess.run(["strip", "-o", stripped.name, program], check=True)
        content = Path(stripped.name).read_bytes()
    image.files[f"usr/bin/{program.name}"] = (content, 0o755)


def main(program, archive):
    version = subprocess.run([program, "version"], capture_output=True, text=True, check=True)
    name = f"edged.dev/clusteragent:{version.stdout.split()[-1]}"
    # wireguard-go has its socket below /var/run.
    image = oci.Image(folders=set(FOLDERS), links={"var/run": "/run"})
    add_program(image, program)
    add_program(image, WIREGUARD_GO)
    archive.parent.mkdir(parents=True, exist_ok=True)
    new = archive.with_name(f".{archive.name}.new")
    oci.write(
        new, image, name, ["/usr/bin/clusteragent"], platform.machine(),
        labels={"org.opencontainers.image.licenses": "Apache-2.0"},
    )
    new.rename(archive)
    print(f"{archive}: {name}, {archive.stat().st_size / 1e6:.1f} MB, {len(image.files)} files")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    main(Path(sys.argv[1]), Path(sys.argv[2]))
