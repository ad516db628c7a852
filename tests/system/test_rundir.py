"""The runtime directory is ours alone, and a name in it belongs to one living process."""

import fcntl
import os
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tercio.errors import ConfigError, CouldNotStart, RuntimeDirRefused
from tercio.system import rundir

PATIENCE = 30.0  # seconds

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which root may")

CLAIM = """
import os, sys
from tercio.errors import CouldNotStart
from tercio.system.rundir import RunDir
try:
    claim = RunDir(sys.argv[1]).claim("web")
except CouldNotStart as error:
    print(error, flush=True)
else:
    claim.write_info({"workers": 4, "pid": os.getpid()})
    open(claim.control_path, "w").close()
    print("claimed", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def start_owner(stack: ExitStack, place: Path) -> subprocess.Popen[str]:
    owner = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    stack.callback(owner.kill)
    return owner


def answer_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    assert select.select([process.stdout], [], [], PATIENCE)[0]
    return process.stdout.readline().rstrip("\n")


# Where


def test_places_are_tried_in_the_order_of_the_manual(tmp_path: Path) -> None:
    uid = os.geteuid()
    environ = {
        "RUNTIME_DIRECTORY": "/run/service:/run/second",
        "XDG_RUNTIME_DIR": "/run/user/5",
        "TMPDIR": "/scratch",
    }
    assert rundir.places("", environ) == [
        "/run/service",
        "/run/user/5/tercio",
        "/run/tercio",
        f"/scratch/tercio-{uid}",
        f"/tmp/tercio-{uid}",
        f"/var/tmp/tercio-{uid}",
        f"/dev/shm/tercio-{uid}",
    ]
    assert rundir.places("/chosen", environ) == ["/chosen"]
    relative = {"XDG_RUNTIME_DIR": "here", "TMPDIR": "."}
    assert rundir.places("", relative)[:2] == ["/run/tercio", f"/tmp/tercio-{uid}"]


def test_the_first_place_wins_and_is_made_for_us_alone(tmp_path: Path) -> None:
    option, service, session = tmp_path / "option", tmp_path / "service", tmp_path / "session"
    session.mkdir()
    environ = {"RUNTIME_DIRECTORY": str(service), "XDG_RUNTIME_DIR": str(session)}
    assert str(option) == rundir.find(str(option), environ).path
    assert str(service) == rundir.find("", environ).path
    del environ["RUNTIME_DIRECTORY"]
    assert str(session / "tercio") == rundir.find("", environ).path
    for made in (option, service, session / "tercio"):
        assert mode_of(made) == 0o700


def test_a_service_directory_that_others_can_read_is_good_enough(tmp_path: Path) -> None:
    service = tmp_path / "service"
    service.mkdir(mode=0o755)  # what systemd makes unless told otherwise
    claim = rundir.find("", {"RUNTIME_DIRECTORY": str(service)}).claim("web")
    assert mode_of(service / "web") == 0o700
    assert mode_of(service / "web" / "lock") == 0o600
    claim.release()


AS_ANOTHER_USER = """
import os, sys
from tercio.errors import RuntimeDirRefused
from tercio.system import rundir
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    found = rundir.find("", {"XDG_RUNTIME_DIR": sys.argv[2], "TMPDIR": sys.argv[1]})
    found.claim("web").release()
    print(found.path)
except RuntimeDirRefused as error:
    print(error)
"""


def found_by_another_user(shared: Path, session: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", AS_ANOTHER_USER, str(shared), session],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory like /tmp; pytest's own cannot be entered by other users."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


@needs_root
def test_below_a_shared_directory_the_name_tells_the_user(shared: Path, tmp_path: Path) -> None:
    # The session directory is root's: left over from before `su`.
    assert str(shared / "tercio-65534") == found_by_another_user(shared, str(tmp_path))
    made = shared / "tercio-65534"
    assert (mode_of(made), made.stat().st_uid) == (0o700, 65534)
    assert list(made.iterdir()) == []
    assert str(made) == found_by_another_user(shared, "")


@needs_root
@pytest.mark.parametrize("kind", ["directory of another", "symlink", "file"])
def test_what_was_planted_below_a_shared_directory_is_refused(shared: Path, kind: str) -> None:
    planted, target = shared / "tercio-65534", shared / "target"
    target.mkdir()
    match kind:
        case "symlink":
            os.chown(target, 65534, 65534)
            planted.symlink_to(target)
            reason = "it is not a directory, or a symbolic link to one"
        case "file":
            planted.write_text("text")
            reason = "it is not a directory, or a symbolic link to one"
        case _:
            planted.mkdir(mode=0o777)
            reason = "it belongs to user id 0 (not this user's)"
    text = found_by_another_user(shared, "")
    assert text.startswith(f"runtime directory '{planted}' cannot be used: {reason}; ")
    assert "--runtime-dir" in text
    assert list(target.iterdir()) == []


@needs_root
def test_a_parent_in_which_others_can_rename_is_refused(shared: Path) -> None:
    shared.chmod(0o777)  # not sticky
    text = found_by_another_user(shared, "")
    assert "other users could replace it" in text
    assert f"{shared} is writable for them (mode 0777) and not sticky" in text


def test_a_directory_that_others_can_change_is_refused(tmp_path: Path) -> None:
    for mode in (0o777, 0o770, 0o1777):
        wide = tmp_path / f"{mode:o}"
        wide.mkdir()
        wide.chmod(mode)
        with pytest.raises(RuntimeDirRefused, match=f"have access to it \\(mode {mode:04o}"):
            rundir.find(str(wide), {})


def test_a_chosen_place_that_cannot_be_made_is_not_passed_over(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "place"
    with pytest.raises(RuntimeDirRefused, match=r"missing is not there .*--runtime-dir"):
        rundir.find(str(missing), {"XDG_RUNTIME_DIR": str(tmp_path)})


# Claims


def test_a_name_is_ours_until_it_is_released(tmp_path: Path) -> None:
    place = rundir.RunDir(str(tmp_path))
    claim = place.claim("web")
    assert f"{tmp_path}/web/control.sock" == claim.control_path
    with pytest.raises(CouldNotStart, match=f"'web' is already run by pid {os.getpid()} "):
        place.claim("web")
    place.claim("other").release()
    claim.release()
    assert list(tmp_path.iterdir()) == []
    place.claim("web").release()


def test_a_name_in_use_names_its_owner(stack: ExitStack, tmp_path: Path) -> None:
    owner = start_owner(stack, tmp_path)
    assert answer_of(owner) == "claimed"
    with pytest.raises(CouldNotStart) as caught:
        rundir.RunDir(str(tmp_path)).claim("web")
    text = str(caught.value)
    assert text.startswith(f"cluster 'web' is already run by pid {owner.pid} ({sys.executable}")
    assert text.endswith("): stop it, or choose another name with --name")


def test_a_lock_that_was_removed_frees_no_name(stack: ExitStack, tmp_path: Path) -> None:
    owner = start_owner(stack, tmp_path)
    assert answer_of(owner) == "claimed"
    (tmp_path / "web" / "lock").unlink()
    with pytest.raises(CouldNotStart, match=f"'web' is already run by pid {owner.pid} "):
        rundir.RunDir(str(tmp_path)).claim("web")
    assert [(found.name, found.pid) for found in rundir.clusters([str(tmp_path)])] == [
        ("web", owner.pid)
    ]
    owner.kill()
    owner.wait(PATIENCE)
    assert rundir.clusters([str(tmp_path)]) == []
    rundir.RunDir(str(tmp_path)).claim("web").release()
    assert list(tmp_path.iterdir()) == []


def test_a_claim_without_its_lock_can_be_released(tmp_path: Path) -> None:
    claim = rundir.RunDir(str(tmp_path)).claim("web")
    (tmp_path / "web" / "lock").unlink()
    claim.release()
    assert list(tmp_path.iterdir()) == []


def test_a_cleaner_that_looks_at_a_directory_delays_a_claim_and_does_not_refuse_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "web").mkdir(mode=0o700)
    cleaner = os.open(tmp_path / "web", os.O_RDONLY)
    fcntl.flock(cleaner, fcntl.LOCK_SH)
    threading.Timer(0.05, os.close, [cleaner]).start()
    rundir.RunDir(str(tmp_path)).claim("web").release()


def test_what_a_killed_owner_left_is_in_nobodys_way(stack: ExitStack, tmp_path: Path) -> None:
    owner = start_owner(stack, tmp_path)
    assert answer_of(owner) == "claimed"
    owner.send_signal(signal.SIGKILL)
    owner.wait(PATIENCE)
    assert {"control.sock", "info.json", "lock"} == set(os.listdir(tmp_path / "web"))
    (tmp_path / "web" / "notes").write_text("not ours")

    assert rundir.clusters([str(tmp_path)]) == []
    claim = rundir.RunDir(str(tmp_path)).claim("web")
    assert {"lock", "notes"} == set(os.listdir(claim.path))
    claim.release()
    assert os.listdir(tmp_path / "web") == ["notes"]


def test_of_two_simultaneous_claims_exactly_one_wins(stack: ExitStack, tmp_path: Path) -> None:
    for number in range(5):
        place = tmp_path / str(number)
        place.mkdir(mode=0o700)
        contenders = [start_owner(stack, place) for _ in range(2)]
        answers = [answer_of(contender) for contender in contenders]
        assert answers.count("claimed") == 1
        (loser,) = [answer for answer in answers if answer != "claimed"]
        winner = contenders[answers.index("claimed")]
        # The loser may come before the winner has written its pid.
        assert f"pid {winner.pid} " in loser or "another process" in loser
        for contender in contenders:
            contender.communicate()


def test_looking_does_not_get_in_the_way_of_a_claim(tmp_path: Path) -> None:
    done = threading.Event()
    seen: set[int] = set()

    def look() -> None:
        while not done.is_set():
            seen.add(len(rundir.clusters([str(tmp_path)])))

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(300):
            rundir.RunDir(str(tmp_path)).claim("web").release()
    finally:
        done.set()
        for looker in lookers:
            looker.join()
    assert seen <= {0, 1}


def test_a_claim_that_meets_a_release_is_won_or_lost_but_never_broken(tmp_path: Path) -> None:
    won, unexpected = [0, 0], list[Exception]()

    def contend(index: int) -> None:
        for _ in range(300):
            try:
                claim = rundir.RunDir(str(tmp_path)).claim("web")
            except RuntimeDirRefused as error:
                unexpected.append(error)
            except CouldNotStart:
                pass  # the other one has it
            else:
                won[index] += 1
                claim.release()

    contenders = [threading.Thread(target=contend, args=(index,)) for index in range(2)]
    for contender in contenders:
        contender.start()
    for contender in contenders:
        contender.join()
    assert not unexpected
    assert sum(won) > 0
    assert os.listdir(tmp_path) == []


def test_a_directory_in_the_place_of_a_leftover_is_refused(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir(mode=0o700)
    (tmp_path / "web" / "control.sock").mkdir()
    with pytest.raises(RuntimeDirRefused, match=r"control\.sock is in the way"):
        rundir.RunDir(str(tmp_path)).claim("web")
    (tmp_path / "web" / "control.sock").rmdir()
    rundir.RunDir(str(tmp_path)).claim("web").release()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "é", "x" * 65, "a\n", "\x1b"])
def test_a_name_that_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"name {name!r} cannot be used")):
        rundir.RunDir(str(tmp_path)).claim(name)


def test_a_place_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bytes long, at most 107 .*--runtime-dir"):
        rundir.RunDir(str(tmp_path / ("x" * 80))).claim("web")


@pytest.mark.parametrize("kind", ["symlink", "hard link", "fifo"])
def test_a_planted_lock_is_refused_and_its_target_untouched(tmp_path: Path, kind: str) -> None:
    (tmp_path / "web").mkdir(mode=0o700)
    target, lock = tmp_path / "target", tmp_path / "web" / "lock"
    target.write_text("precious")
    match kind:
        case "symlink":
            lock.symlink_to(target)
        case "hard link":
            lock.hardlink_to(target)
        case _:
            os.mkfifo(lock)
    with pytest.raises(RuntimeDirRefused, match="its lock"):
        rundir.RunDir(str(tmp_path)).claim("web")
    assert target.read_text() == "precious"
    assert rundir.clusters([str(tmp_path)]) == []


def test_a_planted_cluster_directory_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    (tmp_path / "linked").symlink_to(target)
    with pytest.raises(RuntimeDirRefused, match="symbolic link"):
        rundir.RunDir(str(tmp_path)).claim("linked")
    assert list(target.iterdir()) == []
    (tmp_path / "wide").mkdir()
    (tmp_path / "wide").chmod(0o755)
    with pytest.raises(RuntimeDirRefused, match="mode 0755; chmod 700 helps"):
        rundir.RunDir(str(tmp_path)).claim("wide")


# Who is there


def test_clusters_that_live_are_listed_with_what_they_say(stack: ExitStack, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for place in (one, two):
        place.mkdir(mode=0o700)
    owner = start_owner(stack, two)
    assert answer_of(owner) == "claimed"
    mine = rundir.RunDir(str(one)).claim("api")
    (one / "empty").mkdir()
    (one / "not a name").mkdir()
    (one / "file").write_text("")

    found = rundir.clusters([str(one), str(two), str(one), str(tmp_path / "missing")])
    assert found == [
        rundir.Cluster("api", f"{one}/api", os.getpid(), {}),
        rundir.Cluster("web", f"{two}/web", owner.pid, {"workers": 4, "pid": owner.pid}),
    ]
    mine.write_info({"url": "http://127.0.0.1:1"})
    mine.write_info({"url": "http://127.0.0.1:2"})
    assert rundir.clusters([str(one)])[0].info == {"url": "http://127.0.0.1:2"}
    (one / "api" / "info.json").write_text("[1]")
    assert rundir.clusters([str(one)])[0].info == {}
    mine.release()


@needs_root
def test_a_directory_of_another_user_is_not_looked_at(tmp_path: Path) -> None:
    claim = rundir.RunDir(str(tmp_path)).claim("web")
    os.chown(tmp_path / "web", 65534, 65534)
    assert rundir.clusters([str(tmp_path)]) == []
    claim.release()
