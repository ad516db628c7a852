"""Raise and set the limits that the kernel keeps for a process."""

import resource

# Some containers allow 2**30 descriptors, and programs started by an app may loop over them all.
_NOFILE_CEILING = 1 << 20


def raise_nofile() -> int:
    """Raise the soft limit of open descriptors to the hard one; what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _NOFILE_CEILING if hard == resource.RLIM_INFINITY else min(hard, _NOFILE_CEILING)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return soft  # macOS promises an infinite hard limit and refuses anything above its own
    return wanted


def set_oom_score_adj(pid: int, score: int) -> bool:
    """Make the OOM killer prefer (up to 1000) or spare (down to -1000) a process.

    False if it is gone, if the platform has no such score, or if lowering it is not permitted.
    """
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write(str(score))
    except OSError:
        return False
    return True
