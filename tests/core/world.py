"""A small honest world for the supervisor: processes that obey commands, and a clock.

It checks each command as it is carried out: nothing may be asked of a process that is not there,
and no rule of the supervisor may be broken by any order of inputs.
"""

from dataclasses import dataclass, field
from typing import Any

from tercio.core.model import WorkerId


@dataclass
class Process:
    """A process as the world knows it."""

    who: WorkerId
    seat: int
    generation: int
    ready_at: float | None = None
    state: str = "booting"  # booting, loaded, ready, serving, parked, draining, killed


@dataclass
class Template:
    """A process that workers are forked from."""

    generation: int
    state: str = "starting"  # starting, ready, killed


@dataclass
class World:
    """Carries out commands. ``core`` is the package under test, the real one or a mutant."""

    core: Any
    supervisor: Any
    now: float = 1000.0
    processes: dict[WorkerId, Process] = field(default_factory=dict)
    templates: dict[int, Template] = field(default_factory=dict)
    forked: set[WorkerId] = field(default_factory=set)
    events: list[Any] = field(default_factory=list)
    exit_code: int | None = None
    stop_asked: bool = False
    vacating: set[WorkerId] = field(default_factory=set)  # whose leaving first was announced

    def tell(self, item: Any) -> None:
        """Give an input to the supervisor and carry out what it wants."""
        serving_before = self._serving()
        parked_before = {p.who for p in self.processes.values() if p.state == "parked"}
        told_before = len(self.events)
        killed: set[int] = set()
        for command in self.supervisor.handle(item, self.now):
            self._carry_out(command, killed)
        self._check(serving_before, killed)
        if any(type(event).__name__ == "ReloadRejected" for event in self.events[told_before:]):
            self._check_rollback(parked_before)

    def die(self, who: WorkerId, status: str) -> None:
        """End a process."""
        del self.processes[who]
        self.tell(self.core.inputs.Exited(who, status))

    def lose_template(self, generation: int, status: str) -> None:
        """End a template."""
        del self.templates[generation]
        self.tell(self.core.inputs.TemplateEnded(generation, status))

    def _serving(self) -> dict[int, WorkerId]:
        return {p.who.slot: p.who for p in self.processes.values() if p.state == "serving"}

    def _carry_out(self, command: Any, killed: set[int]) -> None:
        match type(command).__name__:
            case "Spawn":
                assert not self.stop_asked, "a start after a stop"
                alive = [p for p in self.processes.values() if p.who.slot == command.worker.slot]
                assert len(alive) < 2, "three processes in a slot"
                assert all(p.seat != command.seat for p in alive), "a seat was given twice"
                assert command.worker not in self.processes, "an incarnation came twice"
                self.processes[command.worker] = Process(
                    command.worker, command.seat, command.generation
                )
                self._check_fork(command)
            case "StartTemplate":
                assert not self.stop_asked, "a template after a stop"
                assert command.generation not in self.templates, "two templates of a generation"
                others = [t for t in self.templates.values() if t.state != "killed"]
                assert len(others) < 2, "templates pile up"
                self.templates[command.generation] = Template(command.generation)
            case "EndTemplate":
                self.templates[command.generation].state = "killed"
            case "Serve":
                process = self.processes[command.worker]
                assert process.state in ("ready", "parked"), f"serve while {process.state}"
                process.state = "serving"
            case "Park":
                process = self.processes[command.worker]
                assert process.state == "serving", f"park while {process.state}"
                process.state = "parked"
            case "Drain":
                process = self.processes[command.worker]
                assert process.state != "killed", "drain after kill"
                assert command.limit >= 0
                self._check_heirs(command)
                process.state = "draining"
            case "Kill":
                process = self.processes[command.worker]
                process.state = "killed"
                killed.add(command.worker.slot)
            case "Publish":
                event = command.event
                assert event.text
                assert event.to_fields() is not None
                self.events.append(event)
                self._check_event(event)
                if type(event).__name__ == "RetirementPlanned" and event.vacates_first:
                    self.vacating.add(event.worker)
            case "Exit":
                assert self.exit_code is None, "two exits"
                self.exit_code = command.code
            case "ShowStack":
                assert command.worker in self.processes

    def _check_fork(self, spawn: Any) -> None:
        """A worker is forked if its template is ready; else the template had its chance."""
        template = self.templates.get(spawn.generation)
        is_ready = template is not None and template.state == "ready"
        assert spawn.is_forked == is_ready, "a fork of no template, or a template for nothing"
        if spawn.is_forked:
            self.forked.add(spawn.worker)
        uses_template = self.supervisor.cluster.policy_for(spawn.generation).uses_template
        if uses_template and not is_ready:
            had_one = any(
                type(event).__name__ in ("TemplateReady", "TemplateDied")
                and event.generation == spawn.generation
                for event in self.events
            )
            assert had_one, "a worker did not wait for the first template of its generation"

    def _check_heirs(self, drain: Any) -> None:
        """Connections go to who serves in the slot already; at a stop to nobody."""
        heirs = [
            p.seat
            for p in self.processes.values()
            if p.state == "serving" and p.who.slot == drain.worker.slot and p.who != drain.worker
        ]
        if drain.reason == "stop":
            assert drain.heirs is None
        else:
            assert list(drain.heirs) == heirs

    def _check_event(self, event: Any) -> None:
        """What a reload claims must be true of the processes at that instant."""
        wanted = set(range(self.supervisor.cluster.target))
        match type(event).__name__:
            case "ReloadTrial":
                soaked = {
                    p.who.slot
                    for p in self.processes.values()
                    if p.generation == event.generation
                    and p.ready_at is not None
                    and self.now >= p.ready_at + self.supervisor.cluster.policy.soak  # as it rounds
                }
                assert soaked >= wanted, "a trial before every successor has soaked"
            case "ReloadCommitted":
                serving = {
                    p.who.slot
                    for p in self.processes.values()
                    if p.generation == event.generation and p.state == "serving"
                }
                assert serving >= wanted, "a commit before every successor serves"

    def _check_rollback(self, parked_before: set[WorkerId]) -> None:
        """A rollback starts nothing: whoever was parked for the release takes over again."""
        for who in parked_before:
            process = self.processes.get(who)
            if process is not None and who.slot < self.supervisor.cluster.target:
                assert process.state == "serving", f"{who} was parked and is {process.state}"

    def _check(self, serving_before: dict[int, WorkerId], excused: set[int]) -> None:
        deadline = self.supervisor.next_deadline()
        assert deadline is None or deadline > self.now, "a deadline in the past spins the primary"
        serving = self._serving()
        cluster = self.supervisor.cluster
        if cluster.stopping is None:
            for slot in serving_before.keys() - serving.keys() - excused:
                died = serving_before[slot] not in self.processes
                was_vacated = serving_before[slot] in self.vacating
                assert slot >= cluster.target or was_vacated or died, (
                    f"slot {slot} lost its serving worker with nobody in its place"
                )
        else:
            self.stop_asked = True
        if self.exit_code is not None:
            # A killed process that the kernel keeps cannot hold a stop for ever.
            states = {p.state for p in self.processes.values()}
            states |= {template.state for template in self.templates.values()}
            assert states <= {"killed"}, "exit with living processes"
        self._check_records()

    def _check_records(self) -> None:
        records = {w.id: w for w in self.supervisor.cluster.workers()}
        assert records.keys() == self.processes.keys(), "records and processes differ"
        living = {t.generation for t in self.supervisor.cluster.templates.values() if t.lives}
        assert living == self.templates.keys(), "records and templates differ"
        for slot in self.supervisor.cluster.slots.values():
            serving = [w for w in slot.workers if w.phase.value == "serving"]
            assert len(serving) <= 1, "two serve in one slot"
