"""OCI image archives without a registry or any tool: one layer, the same bytes each time.

Format: https://github.com/opencontainers/image-spec, an image layout in a tar.
"""

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field

_MEDIA = "application/vnd.oci.image"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}  # uname -m to GOARCH


@dataclass
class Image:
    """What is in it; paths have no slash in front. Everything belongs to root."""

    files: dict = field(default_factory=dict)  # path: (bytes, mode)
    links: dict = field(default_factory=dict)  # path: where it points
    folders: set = field(default_factory=set)  # those that are empty, too

    def add(self, path, source):
        """A file of this machine, with its mode."""
        self.files[path] = (source.read_bytes(), source.stat().st_mode & 0o777)

    def layer(self):
        """The file system as an uncompressed tar, parents before children."""
        names = {*self.files, *self.links, *self.folders}
        for name in list(names):
            while "/" in name:
                name = name.rpartition("/")[0]
                names.add(name)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in sorted(names):
                self._add_entry(tar, name)
        return buffer.getvalue()

    def _add_entry(self, tar, name):
        entry = tarfile.TarInfo(name)
        if name in self.files:
            content, entry.mode = self.files[name]
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
            return
        if name in self.links:
            entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, self.links[name], 0o777
        else:
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
        tar.addfile(entry)


def write(path, image, name, entrypoint, machine, labels=None):
    """Writes the archive of `image`, which is called `name` ("edged.dev/clusteragent:1")."""
    layer = image.layer()
    packed = gzip.compress(layer, 6, mtime=0)
    config = _json({
        "architecture": MACHINES.get(machine, machine),
        "os": "linux",
        "config": {
            "Entrypoint": entrypoint, "Env": ["PATH=/usr/bin:/bin"], "Labels": labels or {},
        },
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    })
    manifest = _json({
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.manifest.v1+json",
        "config": _descriptor(config, "config.v1+json"),
        "layers": [_descriptor(packed, "layer.v1.tar+gzip")],
    })
    index = _json({
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.index.v1+json",
        "manifests": [{
            **_descriptor(manifest, "manifest.v1+json"),
            "annotations": {
                "io.containerd.image.name": name,
                "org.opencontainers.image.ref.name": name.rpartition(":")[2],
            },
        }],
    })
    with tarfile.open(path, "w") as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", index)
        for blob in (manifest, config, packed):
            _add(tar, "blobs/sha256/" + _digest(blob).partition(":")[2], blob)


def _json(value):
    return json.dumps(value, sort_keys=True).encode()


def _digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _descriptor(content, media):
    return {
        "mediaType": f"{_MEDIA}.{media}", "digest": _digest(content), "size": len(content),
    }


def _add(tar, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
