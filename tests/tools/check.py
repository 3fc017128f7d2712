#!/usr/bin/python3
"""What a compiler does not check: format, borders between the parts, syntax.

Prints one line for each thing that is wrong; exit code 1 when there is one.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("common", "edged", "clusteragent", "tests")
LONGEST = 600

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^">]+)[">]')

# (files below, what they must not include, why); edged/v1/ is the API of both.
NOT_INCLUDED = (
    ("edged/", r"clusteragent/", "the two programs do not know each other"),
    ("clusteragent/", r"edged/(?!v1/)", "the two programs do not know each other"),
    ("common/", r"(edged/(?!v1/)|clusteragent/)", "common knows neither program"),
)
# What a pure folder may not touch: system, threads, clock, logging, libraries with effects.
IMPURE = (
    r"(sys/|netinet/|arpa/|net/|unistd\.h|fcntl\.h|poll\.h|signal\.h|spawn\.h"
    r"|thread$|mutex$|condition_variable$|future$|fstream$|filesystem$|iostream$|random$"
    r"|spdlog/|grpc|google/protobuf|libmnl|libnftnl|curl|yaml-cpp|nlohmann"
    r"|common/(event_loop|files|logging|backoff)\.h"
    r"|common/[a-z]+/(client|socket|genetlink)\.h"
    r"|edged/(system|service)/|clusteragent/(source|uplink|edge|kube)/)"
)
PURE_FOLDERS = ("edged/core/", "clusteragent/core/")
# (library, the folders that may use it)
LIBRARIES = (
    (r"libnftnl/", ("common/nftables/",)),
    (r"libmnl/", ("common/netlink/", "common/nftables/")),
    (r"curl/", ("clusteragent/kube/",)),
    (r"grpc(pp)?/", ("common/rpc/", "edged/service/", "clusteragent/edge/", "tests/bench/")),
    (r"yaml-cpp/", ("common/config/",)),
    (r"CLI/", ("edged/", "clusteragent/")),
)
NOT_CALLED = (
    (FOLDERS[:3], r"(?<![\w.>:])(system|popen)\s*\(", "the product runs no shell"),
    (PURE_FOLDERS, r"_clock::now\(", "pure code gets the time as a value"),
)


def sources():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".h", ".cc") and path.is_file():
                yield path


def without_comment(line):
    return line.partition("//")[0]


def wrong_includes(name, included):
    for folder, pattern, why in NOT_INCLUDED:
        if name.startswith(folder) and re.match(pattern, included):
            yield f"includes {included}: {why}"
    if name.startswith(PURE_FOLDERS) and re.match(IMPURE, included):
        yield f"includes {included}: {name.rpartition('/')[0]} is pure"
    for pattern, folders in LIBRARIES:
        allowed = (*folders, *(f"tests/{folder}" for folder in folders))
        if re.match(pattern, included) and not name.startswith(allowed):
            yield f"includes {included}: only {', '.join(folders)} may"


def wrong_lines(path):
    name = str(path.relative_to(ROOT))
    lines = path.read_text().splitlines()
    if len(lines) > LONGEST:
        yield f"{name}: {len(lines)} lines, more than {LONGEST}"
    for number, line in enumerate(lines, 1):
        if found := INCLUDE.match(line):
            for wrong in wrong_includes(name, found[1]):
                yield f"{name}:{number}: {wrong}"
        for folders, pattern, why in NOT_CALLED:
            if name.startswith(tuple(folders)) and re.search(pattern, without_comment(line)):
                yield f"{name}:{number}: {line.strip()}: {why}"


def wrong_format(paths):
    done = subprocess.run(
        ["clang-format", "--dry-run", "--Werror", *paths], cwd=ROOT, capture_output=True, text=True
    )
    places = re.findall(r"^(\S+?):(\d+):\d+: error:", done.stderr, re.MULTILINE)
    first = {}
    for path, number in places:
        first.setdefault(str(Path(path).resolve().relative_to(ROOT)), number)
    for name, number in first.items():
        yield f"{name}:{number}: not formatted; clang-format -i {name} mends it"


def scripts():
    """(path, first line) of what is interpreted."""
    for path in [ROOT / "dev", ROOT / ".ci/run", *(ROOT / "tests").rglob("*"),
                 *(ROOT / "packaging").rglob("*")]:
        if path.is_file() and (path.suffix == ".py" or path.read_bytes()[:2] == b"#!"):
            first = path.read_text(errors="replace").partition("\n")[0]
            yield path, first


def wrong_scripts():
    for path, first in scripts():
        name = path.relative_to(ROOT)
        if path.suffix == ".py" or "python" in first:
            try:
                compile(path.read_text(), name, "exec")
            except SyntaxError as error:
                yield f"{name}:{error.lineno}: {error.msg}"
        else:
            shell = "bash" if "bash" in first else "sh"
            done = subprocess.run([shell, "-n", path], capture_output=True, text=True)
            if done.returncode != 0:
                yield f"{name}: {done.stderr.strip()}"


def main():
    paths = list(sources())
    wrong = [line for path in paths for line in wrong_lines(path)]
    wrong += wrong_format([str(path) for path in paths])
    wrong += wrong_scripts()
    for line in wrong:
        print(line)
    print(f"{len(paths)} sources checked, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
