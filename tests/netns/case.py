"""Cases and how they are run, one after the other.

A case is a function of a module in tests/TIER/cases/, marked with @case, whose
docstring says in one sentence what holds. Its parameter says what it needs:
    setup   what the module's own function `build(lab)` made, shared by the module
    lab     a lab of its own, for whatever breaks things
A module may give its cases other LIMIT_SECONDS.
"""

import contextlib
import importlib
import inspect
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field

from expect import Skipped
from lab import BUILD, ROOT, Lab
from slowness import SLOWNESS

LIMIT_SECONDS = 60


def case(function):
    function.is_case = True
    return function


@dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0


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
        self._logs = logs
        shutil.rmtree(logs, ignore_errors=True)

    def run(self, cases):
        """Cases of one module."""
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


def _selected(tier, pattern):
    """Lists of cases, one for each module that has some."""
    names = sorted(path.stem for path in (ROOT / "tests" / tier / "cases").glob("*.py"))
    for name in names:
        cases = cases_of(importlib.import_module(f"cases.{name}"))
        cases = [one for one in cases if pattern in one.name]
        if cases:
            yield cases


def main(tier, why_not, usage):
    """What tests/TIER/run does with its command line; its exit code."""
    words = sys.argv[1:]
    listing = "--list" in words
    patterns = [word for word in words if word != "--list"]
    if len(patterns) > 1 or any(word.startswith("-") for word in patterns):
        sys.exit(usage.strip())
    modules = list(_selected(tier, patterns[0] if patterns else ""))
    if listing:
        for one in sum(modules, []):
            print(f"{one.name}: {' '.join(one.function.__doc__.split())}")
        return 0
    total = sum(len(cases) for cases in modules)
    if reason := why_not():
        print(f"skipped {tier}: {reason}\n0 passed, 0 failed, {total} skipped")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    runner = Runner(BUILD / f"{tier}-logs")
    try:
        for cases in modules:
            runner.run(cases)
    except KeyboardInterrupt:
        return "interrupted"
    counts = runner.counts
    print(f"{counts.passed} passed, {counts.failed} failed, {counts.skipped} skipped")
    return 1 if counts.failed else 0
