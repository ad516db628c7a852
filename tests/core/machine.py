"""The state machine that plays a hostile world against a supervisor, then a kind one.

``machine_for(core)`` builds it for any package with the supervisor's modules, so that the same
rules run against the real one and against mutants of it.
"""

import importlib
from types import ModuleType
from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
)

from tests.core.world import World

MODULES = (
    "model", "policy", "restarts", "leaks", "health", "event", "cluster_events",
    "worker_events", "reload_events", "template_events", "events", "inputs", "commands",
    "rollout", "template", "cluster", "templates", "seats", "starts", "reload",
    "retire", "stopping", "supervisor",
)  # fmt: skip

KIND_LIMIT = 900.0
"""Simulated seconds within which a kind world must have converged."""


def core_of(package: str) -> Any:
    """The modules of a core package as one namespace."""
    namespace = ModuleType(package)
    for name in MODULES:
        setattr(namespace, name, importlib.import_module(f"{package}.{name}"))
    return namespace


def machine_for(core: Any) -> type[RuleBasedStateMachine]:
    """Build the machine for one core."""

    class SupervisorMachine(RuleBasedStateMachine):
        @initialize(
            size=st.integers(1, 4),
            surge=st.integers(1, 3),
            draws=st.floats(0.0, 0.999),
            exit_on_loop=st.booleans(),
            few_deaths=st.booleans(),
            boot=st.booleans(),
            preload=st.booleans(),
            release_dir=st.sampled_from(["", "current"]),
        )
        def begin(
            self,
            size: int,
            surge: int,
            draws: float,
            exit_on_loop: bool,
            few_deaths: bool,
            boot: bool,
            preload: bool,
            release_dir: str,
        ) -> None:
            self.policy = core.policy.Policy(
                surge=surge,
                exit_on_crash_loop=exit_on_loop,
                breaker_deaths=3 if few_deaths else 0,
                limit_memory=1000,
                limit_requests=50,
                limit_lifetime=500.0,
                max_workers=6,
                preload=preload,
                release_dir=release_dir,
            )
            supervisor = core.supervisor.Supervisor(self.policy, size, 1000.0, lambda: draws)
            self.world = World(core, supervisor)
            self.requests = 0
            self.revision = 0
            self.sample_headroom: int | None = None
            self.inexact = False
            self.world.tell(core.inputs.Tick())
            if boot:
                self._load_templates()
                for who in list(self.world.processes):
                    self._load(who)
                    self._ready(who)

        # What may happen

        @precondition(lambda self: self.world.exit_code is None)
        @rule(kind=st.sampled_from(["exact", "before", "after", "small", "soak", "long"]))
        def time_goes_by(self, kind: str) -> None:
            deadline = self.world.supervisor.next_deadline()
            step = {"small": 0.1, "soak": self.policy.soak, "long": 40.0}.get(kind)
            if step is None:
                if deadline is None:
                    return
                offset = {"exact": 0.0, "before": -1e-3, "after": 1e-3}[kind]
                step = max(0.0, deadline + offset - self.world.now)
                if kind == "exact":
                    self.world.now = deadline
                    step = 0.0
            self.world.now += step
            self.world.tell(core.inputs.Tick())

        @rule(data=st.data())
        def a_worker_gets_on(self, data: st.DataObject) -> None:
            process = self._pick(data, ("booting", "loaded"))
            if process is None:
                return
            if process.state == "booting":
                self._load(process.who)
            else:
                self._ready(process.who)

        @rule(data=st.data())
        def all_get_on(self, data: st.DataObject) -> None:
            for process in list(self.world.processes.values()):
                if process.state == "booting":
                    self._load(process.who)
                if process.state == "loaded":
                    self._ready(process.who)

        @rule(data=st.data(), says_why=st.booleans())
        def a_boot_fails(self, data: st.DataObject, says_why: bool) -> None:
            process = self._pick(data, ("booting", "loaded"))
            if process is None:
                return
            if says_why:
                self.world.tell(core.inputs.BootFailed(process.who, "import", "broken", "trace"))
            if process.who in self.world.processes:
                self.world.die(process.who, "exited with 70")

        @rule(data=st.data())
        def a_spawn_is_refused(self, data: st.DataObject) -> None:
            process = self._pick(data, ("booting",))
            if process is not None:
                del self.world.processes[process.who]
                self.world.tell(core.inputs.SpawnRefused(process.who, "EAGAIN"))

        @rule()
        def the_templates_get_on(self) -> None:
            self._load_templates()

        @rule(data=st.data(), says_why=st.booleans())
        def a_template_fails(self, data: st.DataObject, says_why: bool) -> None:
            template = self._pick_template(data, ("starting",))
            if template is None:
                return
            if says_why:
                self.world.tell(
                    core.inputs.TemplateFailed(template.generation, "import", "broken", "trace")
                )
            if template.generation in self.world.templates:
                self.world.lose_template(template.generation, "exited with 70")

        @rule(data=st.data())
        def a_template_ends(self, data: st.DataObject) -> None:
            template = self._pick_template(data, ("starting", "ready", "killed"))
            if template is not None:
                self._lose_template(data, template)

        @rule(data=st.data(), number=st.integers(0, 5))
        def a_template_is_told_of_late(self, data: st.DataObject, number: int) -> None:
            what = data.draw(st.sampled_from(["TemplateLoaded", "TemplateFailed", "TemplateEnded"]))
            more = {"TemplateFailed": ("import", "late"), "TemplateEnded": ("exited with 0",)}
            gone = 1000 + number
            self.world.tell(getattr(core.inputs, what)(gone, *more.get(what, ())))

        @rule(data=st.data())
        def a_worker_crashes(self, data: st.DataObject) -> None:
            states = ("booting", "loaded", "ready", "serving", "parked", "draining", "killed")
            process = self._pick(data, states)
            if process is not None:
                self.world.die(process.who, "killed by SIGSEGV")

        @rule(data=st.data())
        def a_leaver_is_gone(self, data: st.DataObject) -> None:
            process = self._pick(data, ("draining", "killed"))
            if process is not None:
                self.world.die(process.who, "exited with 0")

        @rule(data=st.data(), what=st.sampled_from(["Loaded", "Ready", "BootFailed", "Exited"]))
        def an_input_comes_late(self, data: st.DataObject, what: str) -> None:
            who = core.model.WorkerId(data.draw(st.integers(0, 5)), 9999)
            more = {"BootFailed": ("import", "late"), "Exited": ("exited with 0",)}
            self.world.tell(getattr(core.inputs, what)(who, *more.get(what, ())))

        @rule(times=st.integers(1, 4), is_short=st.booleans())
        def reload(self, times: int, is_short: bool) -> None:
            before = self._count("ReloadStarted")
            for _ in range(times):
                self.requests += 1
                self.revision += 1
                headroom = 10 if is_short else None
                self.inexact |= is_short
                self.world.tell(
                    core.inputs.ReloadAsked(
                        self.requests, self.revision, self.policy, headroom, 100
                    )
                )
            started = self._count("ReloadStarted") - before
            assert started <= 1, "a storm of requests began more than one reload"

        @rule(size=st.integers(0, 8))
        def scale(self, size: int) -> None:
            self.world.tell(core.inputs.ScaleAsked(size))

        @rule(slots=st.lists(st.integers(0, 5), max_size=4))
        def recycle(self, slots: list[int]) -> None:
            self.world.tell(core.inputs.RecycleAsked(tuple(slots)))

        @rule(data=st.data())
        def a_worker_asks_to_be_replaced(self, data: st.DataObject) -> None:
            process = self._pick(data, ("serving", "ready", "draining"))
            if process is not None:
                self.world.tell(core.inputs.ReplacementAsked(process.who, "SIGTERM"))

        @rule(
            data=st.data(),
            stale=st.sampled_from([0.0, 0.0, 0.0, 5.0, 31.0]),
            used=st.sampled_from([None, 10, 1001]),
            requests=st.sampled_from([0, 44, 51]),
            headroom=st.sampled_from([None, 5, 5000]),
        )
        def a_round_of_samples(
            self,
            data: st.DataObject,
            stale: float,
            used: int | None,
            requests: int,
            headroom: int | None,
        ) -> None:
            samples = tuple(
                core.inputs.Sample(
                    who, core.health.Beats(stale, stale / 2, stale > 10), requests, used
                )
                for who in self.world.processes
            )
            for _ in range(data.draw(st.integers(1, 3))):
                self.world.now += 1.0
                self.world.tell(core.inputs.Sampled(samples, headroom))

        @rule(chance=st.integers(0, 30), at_once=st.booleans())
        def stop(self, chance: int, at_once: bool) -> None:
            if chance == 0:
                self.world.tell(core.inputs.StopAsked(143, at_once))

        # The end: a kind world, in which everything must come to rest

        def teardown(self) -> None:
            if not hasattr(self, "world"):
                return
            world = self.world
            end = world.now + KIND_LIMIT
            while world.exit_code is None:
                self._be_kind()
                deadline = world.supervisor.next_deadline()
                if deadline is None or deadline > end:
                    break
                world.now = deadline
                world.tell(core.inputs.Tick())
            cluster = world.supervisor.cluster
            if cluster.stopping is not None:
                assert world.exit_code is not None, "a stop did not end"
                assert all(t.state == "killed" for t in world.templates.values())
                # A killed process that the kernel keeps cannot hold a forced stop for ever.
                assert all(p.state == "killed" for p in world.processes.values())
                return
            assert cluster.rollout is None, "a reload did not end"
            assert cluster.pending is None
            serving = [p for p in world.processes.values() if p.state == "serving"]
            assert sorted(p.who.slot for p in serving) == list(range(cluster.target))
            assert len(world.processes) == cluster.target, "somebody was left over"
            assert world.templates.keys() <= {cluster.generation}, "a template was left over"
            if not cluster.starts_what_was_committed():
                assert not world.templates, "rejected files were loaded into a template"
            elif cluster.policy.uses_template:
                assert world.templates, "the template did not come back"
            if not self.inexact:
                assert {p.generation for p in serving} == {cluster.generation}, "a mix"
            ends = self._count("ReloadCommitted") + self._count("ReloadRejected")
            assert ends == self._count("ReloadStarted")
            answered = [
                request
                for event in world.events
                if type(event).__name__ in ("ReloadCommitted", "ReloadRejected")
                for request in event.requests
            ]
            assert sorted(answered) == list(range(1, self.requests + 1)), "an unanswered reload"

        # Small things

        def _load_templates(self) -> None:
            for template in list(self.world.templates.values()):
                if template.state == "starting":
                    template.state = "ready"
                    self.world.tell(core.inputs.TemplateLoaded(template.generation))

        def _lose_template(self, data: st.DataObject, template: Any) -> None:
            """Forks that were asked of it may never have begun."""
            waiting = [
                p
                for p in self.world.processes.values()
                if p.generation == template.generation
                and p.who in self.world.forked
                and p.state in ("booting", "killed", "draining")
            ]
            self.world.lose_template(template.generation, "killed by SIGKILL")
            for process in waiting:
                if process.ready_at is None and data.draw(st.booleans()):
                    self.world.processes.pop(process.who, None)
                    self.world.tell(core.inputs.NotForked(process.who))

        def _pick_template(self, data: st.DataObject, states: tuple[str, ...]) -> Any:
            fitting = [t for t in self.world.templates.values() if t.state in states]
            return data.draw(st.sampled_from(fitting)) if fitting else None

        def _be_kind(self) -> None:
            self._load_templates()
            for template in list(self.world.templates.values()):
                if template.state == "killed":
                    self.world.lose_template(template.generation, "killed by SIGKILL")
            for process in list(self.world.processes.values()):
                if process.state in ("draining", "killed"):
                    self.world.die(process.who, "exited with 0")
                elif process.state == "booting":
                    self._load(process.who)
            for process in list(self.world.processes.values()):
                if process.state == "loaded":
                    self._ready(process.who)

        def _load(self, who: Any) -> None:
            process = self.world.processes[who]
            if process.state == "booting":
                process.state = "loaded"
                self.world.tell(core.inputs.Loaded(who, f"files{process.generation}"))

        def _ready(self, who: Any) -> None:
            process = self.world.processes.get(who)
            if process is not None and process.state == "loaded":
                process.state = "ready"
                process.ready_at = self.world.now
                self.world.tell(core.inputs.Ready(who))

        def _pick(self, data: st.DataObject, states: tuple[str, ...]) -> Any:
            fitting = [p for p in self.world.processes.values() if p.state in states]
            return data.draw(st.sampled_from(fitting)) if fitting else None

        def _count(self, name: str) -> int:
            return sum(type(event).__name__ == name for event in self.world.events)

    return SupervisorMachine
