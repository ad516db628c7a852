"""Say whether a cluster serves and has started, as probes ask."""

from tercio.core.cluster import Cluster


def health_of(cluster: Cluster, min_ready: int) -> dict[str, object]:
    """What probes are told. ``why`` says what keeps the cluster from being ready."""
    ready = cluster.ready_count()
    # More cannot be ready than are wanted: after `tercio scale 1` one is enough.
    needed = min(min_ready, max(1, cluster.target))
    has_started = cluster.ever_ready and (cluster.was_complete or ready >= needed)
    if cluster.stopping is not None:
        why = "the cluster is stopping"
    elif not has_started:
        why = f"the cluster is starting: {ready} of {cluster.target} workers serve"
    elif ready < needed:
        why = f"{ready} of {cluster.target} workers serve, and {needed} are needed"
    else:
        why = ""
    return {
        "ready": not why,
        "started": has_started,
        "why": why,
        "workers_ready": ready,
        "workers_target": cluster.target,
        "min_ready": min_ready,
    }
