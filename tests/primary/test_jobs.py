"""What workers say of jobs is believed as far as it can be used."""

from tercio.core.model import WorkerId
from tercio.primary.jobs import MOST, JobBoard, JobNews, news_of

WHO = WorkerId(0, 1)


def told(*jobs: object, **more: object) -> JobNews:
    return news_of(WHO, {"type": "jobs", "jobs": list(jobs), **more})


def test_the_last_news_of_a_job_are_shown_and_a_run_that_was_overtaken_changes_nothing() -> None:
    board = JobBoard()
    board.take(told({"job": "a", "schedule": "every 1 s", "next": 9.0}))
    board.take(told({"job": "a", "token": 7, "outcome": "success", "started": 5.0, "next": 10.0}))
    board.take(told({"job": "a", "token": 6, "outcome": "lost", "schedule": "every 1 s"}))
    (shown,) = board.describe()
    assert (shown["outcome"], shown["token"], shown["next_run"]) == ("success", 7, 10.0)
    assert (shown["last_run"], shown["schedule"]) == (5.0, "every 1 s")


def test_who_begins_to_run_jobs_tells_all_that_there_are() -> None:
    board = JobBoard()
    board.take(told({"job": "old"}))
    board.take(told({"job": "new"}, is_all=True))
    assert [each["job"] for each in board.describe()] == ["new"]


def test_nonsense_is_left_out_and_much_of_it_is_bounded() -> None:
    board = JobBoard()
    board.take(news_of(WHO, {"type": "jobs", "jobs": "all"}))
    board.take(told(7, None, {"job": 7}, {"job": ""}, {"outcome": "success"}))
    assert board.describe() == []
    bad = {"job": "a", "next": float("nan"), "seconds": 1e300, "token": "7", "error": "x" * 10_000}
    board.take(told(bad))
    (shown,) = board.describe()
    assert (shown["next_run"], shown["seconds"], shown["token"]) == (None, None, 0)
    assert len(str(shown["error"])) <= 400
    board.take(told(*({"job": f"job {number}"} for number in range(2 * MOST))))
    assert len(board.describe()) == MOST
