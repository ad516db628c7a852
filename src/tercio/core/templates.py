"""Decide which templates live, and whether workers are forked from them. Pure.

With ``--preload`` each generation has one process that has imported the application; its workers
are forks of it. The template of what was committed is kept until the next commit, so a worker that
is started after a rejected reload is of the old code, whatever the files are by then.

Nobody waits for a template that died: capacity comes first, so workers import the files by
themselves until another one is ready. None is started for files that were rejected.
"""

from tercio.core import commands, events
from tercio.core.cluster import KILL_AGAIN, Cluster
from tercio.core.inputs import TemplateEnded, TemplateFailed, TemplateLoaded
from tercio.core.restarts import back_off
from tercio.core.template import Template, TemplatePhase


def loaded(cluster: Cluster, item: TemplateLoaded, now: float) -> None:
    """It can be forked."""
    template = cluster.templates.get(item.generation)
    if template is None or template.phase is not TemplatePhase.STARTING:
        return
    template.enter(TemplatePhase.READY, now)
    template.was_ready = True
    cluster.publish(
        events.TemplateReady(item.generation, now - template.started, item.native_threads)
    )
    for note in item.notes:
        cluster.publish(events.TemplateWarning(item.generation, note))


def failed(cluster: Cluster, item: TemplateFailed, now: float) -> None:
    """It said why it cannot be forked; its end follows."""
    template = cluster.templates.get(item.generation)
    if template is None or template.phase is not TemplatePhase.STARTING or template.fault:
        return
    template.fault, template.traceback = item.error, item.traceback
    cluster.publish(events.TemplateFailed(item.generation, item.stage, item.error, item.traceback))
    template.deadline = now + cluster.policy.kill_grace


def ended(cluster: Cluster, item: TemplateEnded, now: float) -> None:
    """Its process is gone and was reaped."""
    template = cluster.templates.get(item.generation)
    if template is None or not template.lives:
        return
    if template.departure is not None:
        del cluster.templates[item.generation]
        cluster.publish(events.TemplateLeft(item.generation, template.departure))
        return
    phase = template.phase.value
    cluster.publish(events.TemplateDied(item.generation, item.status, item.note, phase))
    said = template.fault or item.note
    error = f"{item.status}: {said}" if said else item.status
    _bury(cluster, template, now, error)


def expire(cluster: Cluster, now: float) -> None:
    """End every wait that has reached its deadline."""
    for template in cluster.templates.values():
        if template.deadline is None or now < template.deadline:
            continue
        if template.phase is TemplatePhase.STARTING and template.fault is None:
            timeout = cluster.policy_for(template.generation).start_timeout
            template.fault = f"was not loaded after {timeout:g} s (--start-timeout)"
        _kill(cluster, template, now)


def advance(cluster: Cluster, now: float) -> None:
    """Start what is missing, end what nobody needs."""
    wanted = _wanted(cluster)
    for template in list(cluster.templates.values()):
        if template.generation not in wanted:
            newer = template.generation > cluster.generation
            _dismiss(cluster, template, now, "rollback" if newer else "reload")
    for generation, revision in wanted.items():
        if now >= _starts_at(cluster, generation):
            _start(cluster, generation, revision, now)


def end_all(cluster: Cluster, now: float) -> None:
    """In a stop nothing is forked any more."""
    for template in list(cluster.templates.values()):
        _dismiss(cluster, template, now, "stop")


def is_awaited(cluster: Cluster) -> bool:
    """Whether workers are to be forked from a template that is not ready yet.

    The first of its generation is waited for. One in place of another that died is not.
    """
    generation, _ = cluster.next_generation_to_start()
    if not cluster.policy_for(generation).uses_template:
        return False
    template = cluster.templates.get(generation)
    if template is None:
        return _may_start(cluster, generation)
    return not template.was_ready and (template.lives or not cluster.ever_ready)


def has_failed_at_first(cluster: Cluster) -> bool:
    """First boot: the template could not be loaded, so no worker can be."""
    template = cluster.templates.get(cluster.generation)
    return template is not None and not template.was_ready and not template.lives


def next_deadline(cluster: Cluster) -> float | None:
    """When `expire` or `advance` has something to do, if nothing else happens."""
    times = [template.deadline for template in cluster.templates.values()]
    if cluster.stopping is None:
        times += [_starts_at(cluster, generation) for generation in _wanted(cluster)]
    known = [time for time in times if time is not None and time != _NEVER]
    return min(known, default=None)


_NEVER = float("inf")


def _wanted(cluster: Cluster) -> dict[int, int]:
    """The generations that have a template, with the revision of each."""
    wanted = {}
    if cluster.policy.uses_template:
        wanted[cluster.generation] = cluster.revision
    rollout = cluster.rollout
    if rollout is not None and rollout.policy.uses_template:
        wanted[rollout.generation] = rollout.revision
    return wanted


def _starts_at(cluster: Cluster, generation: int) -> float:
    """When a process may be started; never while there is one, or no right files."""
    template = cluster.templates.get(generation)
    if not _may_start(cluster, generation) or (template is not None and template.lives):
        return _NEVER
    if template is None:
        return cluster.started  # at once
    if not template.was_ready and not cluster.ever_ready:
        return _NEVER  # whether to go on is decided elsewhere
    return template.not_before


def _may_start(cluster: Cluster, generation: int) -> bool:
    """The files are those of the newest release: of the one that is being tried, if there is one.

    A directory of its own release is right for ever.
    """
    if generation != cluster.next_generation_to_start()[0]:
        return False
    return (
        cluster.rollout is not None or not cluster.is_rejected or bool(cluster.policy.release_dir)
    )


def _start(cluster: Cluster, generation: int, revision: int, now: float) -> None:
    before = cluster.templates.get(generation)
    deadline = now + cluster.policy_for(generation).start_timeout
    template = Template(generation, revision, TemplatePhase.STARTING, now, deadline, started=now)
    if before is not None:
        template.was_ready, template.failures = before.was_ready, before.failures
    cluster.templates[generation] = template
    cause = "start" if before is None else "restart"
    cluster.publish(events.TemplateStarting(generation, cause))
    cluster.outbox.append(commands.StartTemplate(generation, revision))


def _dismiss(cluster: Cluster, template: Template, now: float, reason: str) -> None:
    if not template.lives:
        del cluster.templates[template.generation]
    elif template.departure is None:
        template.departure = reason
        _kill(cluster, template, now)


def _kill(cluster: Cluster, template: Template, now: float) -> None:
    """It has nothing to finish. One that is still there later is killed once more."""
    template.enter(TemplatePhase.ENDING, now, now + KILL_AGAIN)
    cluster.outbox.append(commands.EndTemplate(template.generation))


def _bury(cluster: Cluster, template: Template, now: float, error: str) -> None:
    """An unplanned death: who waited for it must know, and it comes back with back-off."""
    policy = cluster.policy_for(template.generation)
    is_first = not template.was_ready
    was_stable = now >= template.started + policy.stable_after
    template.failures = 1 if was_stable else template.failures + 1
    template.not_before = now + back_off(template.failures, policy, cluster.draw)
    template.enter(TemplatePhase.GONE, now)
    rollout = cluster.rollout
    if rollout is not None and template.generation == rollout.generation:
        if is_first:
            rollout.fail(f"template: {error}", template.traceback)
    elif is_first and not cluster.ever_ready:
        for slot in cluster.wanted():
            slot.record_error(error, template.traceback)
    template.fault, template.traceback = None, ""
