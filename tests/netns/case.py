"""Cases and how they are run: those of a module one after the other, modules in lanes beside
each other. Of a whole tier the few that fail are run once more, alone and on a machine that has
nothing else to do: one that passes then counts as passed, and is told to be unsteady.

A case is a function of a module in tests/TIER/cases/, marked with @case, whose
docstring says in one sentence what holds. Its parameter says what it needs:
    setup   what the module's own function `build(lab)` made, shared by the module
    lab     a lab of its own, for whatever breaks things
A module may give its cases other LIMIT_SECONDS.
"""

import contextlib
import importlib
import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from counts import Counts, said_by
from expect import Skipped
from lab import BUILD, ROOT, Lab
from slowness import SLOWNESS

LIMIT_SECONDS = 60
# More that fail are no accident.
MOST_AGAIN = 5


def case(function):
    function.is_case = True
    return function


@dataclass
class Case:
    module: object
    function: object
    name: str = field(init=False)
    needs: set = field(init=False)

    def __post_init__(self):
        self.name = f"{self.module.__name__.rpartition('.')[2]}/{self.function.__name__}"
        self.needs = set(inspect.signature(self.function).parameters)


def cases_of(module):
    """In the order in which they are written."""
    return [
        Case(module, function)
        for function in vars(module).values()
        if getattr(function, "is_case", False)
    ]


def _labs(cases):
    """How many labs the cases of one module take."""
    return sum("lab" in one.needs for one in cases) + any("setup" in one.needs for one in cases)


def _module_of(cases):
    return cases[0].name.partition("/")[0]


class Shared:
    """The lab and the setup that the cases of one module share, made when first needed."""

    def __init__(self, module):
        self._module = module
        self._stack = contextlib.ExitStack()
        self._setup = None
        self._error = None
        self.lab = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def setup(self):
        if self._error:
            raise AssertionError(f"no setup, as before: {self._error}")
        if self._setup is None:
            self.lab = self._stack.enter_context(Lab.create("test"))
            try:
                self._setup = self._module.build(self.lab)
            except Exception as error:
                self._error = error
                raise
        return self._setup


class Runner:
    def __init__(self, logs):
        self.counts = Counts()
        self.failed = []
        self._logs = logs

    def run(self, modules):
        for cases in modules:
            shutil.rmtree(self._logs / _module_of(cases), ignore_errors=True)
            self.run_module(cases)

    def run_module(self, cases):
        with Shared(cases[0].module) as shared:
            for one in cases:
                self._run(one, shared)

    def _run(self, one, shared):
        start = time.monotonic()
        with contextlib.ExitStack() as stack:
            lab = None
            try:
                limit = getattr(one.module, "LIMIT_SECONDS", LIMIT_SECONDS)
                with _time_limit(int(limit * SLOWNESS)):
                    arguments = {}
                    if "setup" in one.needs:
                        arguments["setup"] = shared.setup()
                    if "lab" in one.needs:
                        lab = arguments["lab"] = stack.enter_context(Lab.create("test"))
                    one.function(**arguments)
            except Exception as error:  # whatever it is, the next case runs
                self._not_passed(one, error, lab or shared.lab)
            else:
                self.counts.passed += 1
                print(f"ok {one.name} ({time.monotonic() - start:.1f} s)", flush=True)

    def _not_passed(self, one, error, lab):
        if isinstance(error, Skipped):
            self.counts.skipped += 1
            print(f"skipped {one.name}: {error}", flush=True)
            return
        self.counts.failed += 1
        self.failed.append(one.name)
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        where = self._logs / one.name
        if lab:
            lab.save_logs(where)
        print(f"FAILED {one.name}: {kind}{error}", flush=True)
        print(f"    {_line_of(error)}; logs: {where}", flush=True)


def _line_of(error):
    """The line of the case itself."""
    places = []
    trace = error.__traceback__
    while trace:
        code = trace.tb_frame.f_code
        if "/cases/" in code.co_filename:
            name = code.co_filename.rpartition("/tests/")[2]
            places.append(f"tests/{name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return places[0] if places else "not in a case"


@contextlib.contextmanager
def _time_limit(seconds):
    def ring(*_):
        raise AssertionError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Lanes:
    """Modules, so many at once, each by a process of its own; what one says is printed when it
    has ended."""

    def __init__(self, lanes, pattern):
        self.counts = Counts()
        self.failed = []
        self._pattern = pattern
        self._pool = ThreadPoolExecutor(lanes)
        self._running = set()

    def run(self, modules):
        # What takes longest comes first, or one lane is empty at the end.
        names = [_module_of(cases) for cases in sorted(modules, key=_labs, reverse=True)]
        try:
            for name, output in zip(names, self._pool.map(self._run_module, names)):
                self._count(name, output)
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in list(self._running):
                process.terminate()

    def _run_module(self, name):
        pattern = [self._pattern] if self._pattern else []
        command = _command("--module", name, *pattern)
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        ) as process:
            self._running.add(process)
            output = process.communicate()[0]
            self._running.discard(process)
        return output

    def _count(self, name, output):
        said, _, last = output.strip().rpartition("\n")
        if counts := said_by(last):
            self.counts.add(*counts)
            self.failed += re.findall(r"^FAILED (\S+):", said, re.MULTILINE)
            print(said, flush=True)
        else:
            self.counts.failed += 1
            print(f"{output.strip()}\nFAILED {name}: the runner ended early", flush=True)


def _command(*words):
    return [sys.executable, sys.argv[0], *words]


def _run_again(failed, counts):
    """Runs cases that failed, each alone, and counts those that pass as passed."""
    if len(failed) > MOST_AGAIN:
        return
    for name in failed:
        print(f"again, alone: {name}", flush=True)
        done = subprocess.run(
            _command("--case", name), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
        )
        said, _, last = done.stdout.strip().rpartition("\n")
        print(said, flush=True)
        if said_by(last) == (1, 0, 0):
            counts.add(1, -1, 0)
            print(f"unsteady {name}: failed once, passed alone", flush=True)


def _selected(tier, only, pattern):
    """Lists of cases, one for each module that has some; `only`: a module's name, or a case's."""
    names = sorted(path.stem for path in (ROOT / "tests" / tier / "cases").glob("*.py"))
    for name in names:
        if only and only.partition("/")[0] != name:
            continue
        cases = cases_of(importlib.import_module(f"cases.{name}"))
        cases = [
            one for one in cases if pattern in one.name and only in ("", name, one.name)
        ]
        if cases:
            yield cases


def _arguments(words, usage):
    """(what to do: all, list, module or case, and of the last two which, the pattern)."""
    words = list(words)
    task, only = "all", ""
    if words[:1] in (["--module"], ["--case"]) and len(words) > 1:
        task, only = words[0].lstrip("-"), words[1]
        del words[:2]
    elif "--list" in words:
        task = "list"
        words.remove("--list")
    if len(words) > 1 or any(word.startswith("-") for word in words):
        sys.exit(usage.strip())
    return task, only, words[0] if words else ""


def main(tier, why_not, usage, lanes=1):
    """What tests/TIER/run does with its command line; its exit code."""
    task, only, pattern = _arguments(sys.argv[1:], usage)
    modules = list(_selected(tier, only, pattern))
    if task == "list":
        for one in sum(modules, []):
            print(f"{one.name}: {' '.join(one.function.__doc__.split())}")
        return 0
    total = sum(len(cases) for cases in modules)
    if reason := why_not():
        print(f"skipped {tier}: {reason}\n0 passed, 0 failed, {total} skipped")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    lanes = min(lanes, os.cpu_count(), len(modules))
    runner = Lanes(lanes, pattern) if lanes > 1 else Runner(BUILD / f"{tier}-logs")
    try:
        if task == "case":
            # The logs of the run in which it failed are not to be lost.
            runner.run_module(*modules)
        else:
            runner.run(modules)
        if task == "all" and not pattern:
            _run_again(runner.failed, runner.counts)
    except KeyboardInterrupt:
        return "interrupted"
    print(runner.counts)
    return 1 if runner.counts.failed else 0
