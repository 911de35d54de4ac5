"""What lets tests make calls fail and processes die is in no build but the one for such tests."""

import os
import pathlib
import re
import subprocess

import pytest

BUILD = pathlib.Path(os.environ["MIG_BUILD"])
POINTS = bool(re.search(r"^MIG_FAULT_POINTS:BOOL=ON$", (BUILD / "CMakeCache.txt").read_text(), re.M))
MARKS = ("mig_fault", "__wrap_", "MIG_FAULT")


def what_is_left(binary):
    """The marks of fault points among a binary's symbols and texts."""
    symbols = subprocess.run(["nm", "-a", binary], capture_output=True, text=True).stdout
    symbols += subprocess.run(["nm", "-D", binary], capture_output=True, text=True).stdout
    content = binary.read_bytes()
    return {mark for mark in MARKS if mark in symbols or mark.encode() in content}


BINARIES = sorted(BUILD.glob("bin/xmtp-*")) + [
    BUILD / "libmigrate" / name for name in ("libmigrate.a", "libmigrate.so")]


@pytest.mark.parametrize("binary", BINARIES, ids=lambda path: path.name)
def test_no_fault_point_is_left_where_none_belongs(binary):
    assert what_is_left(binary) == (set(MARKS) if POINTS else set())
