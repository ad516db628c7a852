"""What a template unmaps before it is forked."""

from tercio.worker.sharing import clean_files

_ENTRY = """\
{range} {mode} 00000000 00:1f {inode}                    {path}
Size:                 64 kB
Anonymous:         {anonymous:6} kB
VmFlags: rd ex mr mw me
"""


def entry(mode: str, inode: int = 7, path: str = "/lib/x.so", anonymous: int = 0) -> str:
    """One mapping of smaps, at 0x1000."""
    where = "00001000-00003000"
    return _ENTRY.format(range=where, mode=mode, inode=inode, path=path, anonymous=anonymous)


def test_code_and_constants_of_files_can_go() -> None:
    assert list(clean_files(entry("r-xp") + entry("r--p"))) == [(0x1000, 0x3000)] * 2


def test_what_was_changed_or_can_be_changed_or_is_shared_stays() -> None:
    changed = entry("r--p", anonymous=4)
    shared = entry("r--s")
    own = entry("r--p", inode=0, path="[vdso]")
    assert list(clean_files(changed + entry("rw-p") + shared + own)) == []
