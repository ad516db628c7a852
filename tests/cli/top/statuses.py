"""What a primary says, for screens that show it."""

from typing import Any

BOUNDS = [0.001, 0.01, 0.1, 1.0]


def worker(slot: int, incarnation: int = 1, **facts: Any) -> dict[str, object]:
    """One that serves; ``facts`` say what is different."""
    return {
        "worker": f"{slot}.{incarnation}", "slot": slot, "incarnation": incarnation,
        "pid": 4000 + 10 * slot + incarnation, "generation": 1, "phase": "serving", "uptime": 75.0,
        "requests": 0, "in_flight": 0, "connections": 2, "cpu_percent": 12.0, "restarts": 0,
        "memory_bytes": 48 << 20, "durations": [0] * 5, "loop_lag": 0.0, "note": "",
        "last_error": "", **facts,
    }  # fmt: skip


def status(*workers: dict[str, object], **facts: Any) -> dict[str, object]:
    """A cluster of these workers."""
    return {
        "name": "shop", "app": "shop:app", "pid": 4000, "state": "serving", "generation": 1,
        "uptime": 3725.0, "target": len(workers), "ready": len(workers),
        "listeners": ["http://127.0.0.1:8000"], "requests": 0, "duration_bounds": BOUNDS,
        "workers": list(workers), "slots": [], "reload": None, "notes": [], **facts,
    }  # fmt: skip
