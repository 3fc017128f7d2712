"""PID 1 of a cluster: starts its programs, keeps them running, reaps what is left.

usage: init.py FOLDER
FOLDER/plan.json says what to mount and to run (see cluster.py). A program whose name
stands in FOLDER/off is not started until it is gone from there. Everything ends with
this process, because its PID namespace does.
"""

import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

PAUSE = 0.05
REST = 0.5  # between the end of a program and its next start


class Program:
    def __init__(self, folder, plan):
        self.name = plan["name"]
        self._folder = folder
        self._argv = plan["argv"]
        self._after = plan.get("after")
        self._once = plan.get("once", False)
        self._next = 0.0
        self.pid = None
        self.done = False

    def may_start(self):
        return (
            not self.done
            and self.pid is None
            and time.monotonic() >= self._next
            and not (self._folder / "off" / self.name).exists()
            and (self._after is None or has_come(self._after, self._folder))
        )

    def start(self):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        log = os.open(self._folder / "logs" / f"{self.name}.log", flags)
        self.pid = os.posix_spawn(
            self._argv[0], self._argv, os.environ, setsid=True,
            file_actions=[(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)],
        )
        os.close(log)

    def ended(self, code):
        self.pid = None
        self.done = self._once and code == 0
        self._next = time.monotonic() + REST


def has_come(what, folder):
    """A path that exists, or an address that answers."""
    if what.startswith("/"):
        return os.path.exists(what)
    try:
        context = ssl.create_default_context(cafile=folder / "certs/apiserver.crt")
        with urllib.request.urlopen(what, timeout=2, context=context) as answer:
            return answer.status == 200
    except OSError:
        return False


def main(folder):
    plan = json.loads((folder / "plan.json").read_text())
    os.environ["PATH"] = plan["path"]
    os.chdir(folder)
    for command in plan["mounts"]:
        subprocess.run(command, check=True)
    programs = [Program(folder, one) for one in plan["programs"]]
    while True:
        for program in programs:
            if program.may_start():
                program.start()
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:  # none is left
            pid, status = 0, 0
        for program in programs:
            if pid and program.pid == pid:
                code = os.waitstatus_to_exitcode(status)
                print(f"{program.name} ended with {code}", flush=True)
                program.ended(code)
        if not pid:
            time.sleep(PAUSE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
