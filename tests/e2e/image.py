"""The agent's image, of the programs that are tested."""

import subprocess

from lab import PYTHON, ROOT
from product import CLUSTERAGENT


def agent_image(folder):
    """An archive in `folder`; its path."""
    archive = folder / "clusteragent.tar"
    subprocess.run(
        [PYTHON, ROOT / "packaging/image/build.py", CLUSTERAGENT, archive],
        check=True, capture_output=True, timeout=60,
    )
    return archive
