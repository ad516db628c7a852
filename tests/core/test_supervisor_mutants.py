"""Mutants: the property test must be able to fail. Each breaks a rule that a first design broke."""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

import tercio.core
from tests.core.machine import MODULES, core_of, machine_for

CORE = Path(tercio.core.__file__).parent

MUTANTS = {
    "a template outlives its generation": (
        "templates",
        """\
        if template.generation not in wanted:""",
        """\
        if False:""",
    ),
    "workers do not wait for their template": (
        "starts",
        """\
    if templates.is_awaited(cluster):
        return
    if cluster.rollout""",
        """\
    if cluster.rollout""",
    ),
    "a predecessor is parked before its successor serves": (
        "seats",
        """\
    if successor is None or successor.phase.is_starting:
        return
    if successor.phase is not Phase.SERVING:
        cluster.serve(successor, now)""",
        """\
    if successor is None or successor.phase.is_starting:
        return
    if False:
        cluster.serve(successor, now)""",
    ),
    "rollback forgets the new workers": (
        "seats",
        """\
        reason = "reload" if worker.generation < cluster.generation else "rollback"
        cluster.drain(worker, now, reason)""",
        """\
        pass""",
    ),
    "a third process may live in a slot": (
        "model",
        """\
return len(self.workers) < SEATS_PER_SLOT""",
        """\
return len(self.present) < SEATS_PER_SLOT""",
    ),
    "a retiring worker leaves before its successor soaked": (
        "starts",
        """\
        if retirement is not None and retirement.vacate:""",
        """\
        if retirement is not None:""",
    ),
    "every request to reload begins one": (
        "reload",
        """\
    if cluster.rollout is None and not cluster.is_debugged():
        _begin(cluster, PendingReload""",
        """\
    if True:
        _begin(cluster, PendingReload""",
    ),
    "a generation is accepted before it is ready": (
        "rollout",
        """\
if ready and len(ready) == len(slots) else None""",
        """\
if ready else None""",
    ),
    "a trial begins before the successors have soaked": (
        "rollout",
        """\
return max(ready) + self.policy.soak if ready""",
        """\
return max(ready) if ready""",
    ),
    "a stop still starts workers": (
        "supervisor",
        """\
        if cluster.stopping is None:
            self._pursue(now)""",
        """\
        if True:
            self._pursue(now)""",
    ),
    "a waiting reload is forgotten": (
        "reload",
        """\
        waiting.requests.append(asked.request)
""",
        """\
        pass
""",
    ),
    "the breaker never closes": (
        "starts",
        """\
    cluster.breaker.close()
    for slot""",
        """\
    for slot""",
    ),
    "a drain has no end": (
        "cluster",
        """\
worker.enter(Phase.DRAINING, now, now + limit + self.policy.kill_grace)""",
        """\
worker.enter(Phase.DRAINING, now)""",
    ),
}


def build_mutant(package: str, module: str, old: str, new: str) -> None:
    """Load a copy of the core under another name, with one piece of text replaced."""
    root = ModuleType(package)
    root.__path__ = []
    sys.modules[package] = root
    for name in MODULES:
        full = f"{package}.{name}"
        if full in sys.modules:
            continue
        source = (CORE / f"{name}.py").read_text()
        if name == module:
            assert source.count(old) == 1, f"the mutation no longer applies to {name}.py"
            source = source.replace(old, new)
        source = source.replace("tercio.core", package)
        spec = importlib.machinery.ModuleSpec(full, None)
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[full] = loaded
        setattr(root, name, loaded)
        exec(compile(source, f"{name}.py (mutant)", "exec"), loaded.__dict__)


@pytest.fixture
def forget_modules() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("mutant_"):
            del sys.modules[name]


@pytest.mark.usefixtures("forget_modules")
@pytest.mark.parametrize("name", MUTANTS)
def test_the_property_test_kills_the_mutant(name: str) -> None:
    package = f"mutant_{list(MUTANTS).index(name)}"
    build_mutant(package, *MUTANTS[name])
    machine = machine_for(core_of(package))
    with pytest.raises((AssertionError, KeyError, StopIteration)):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=2000,
                stateful_step_count=40,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
                report_multiple_bugs=False,
                print_blob=False,
            ),
        )


def test_an_unchanged_copy_survives() -> None:
    build_mutant("mutant_none", "model", '"""Where a worker', '"""Where a worker')
    run_state_machine_as_test(
        machine_for(core_of("mutant_none")),
        settings=settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck)),
    )
