"""Whether connections can move is a question of descriptors."""

from tercio.config import Config
from tercio.primary.inboxes import seats_with_inboxes, warning


def test_few_descriptors_leave_connections_where_they_are_and_that_is_said() -> None:
    few = Config(worker_limit=("nofile=128",))
    assert seats_with_inboxes(few, 32) == 0
    assert "64 descriptors" in warning(few, 32)[0]
    assert "ulimit" in warning(few, 32)[0]


def test_enough_descriptors_need_no_words() -> None:
    enough = Config(worker_limit=("nofile=512",))
    assert seats_with_inboxes(enough, 32) == 32
    assert warning(enough, 32) == []
