"""Killed at any event and run again, a command ends where it ends undisturbed: some points of each
kind of event, where the long form (ci/fault) takes many."""

import os
import pathlib
import random
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from fault import points, series  # noqa: E402
from fault.cases import CASES  # noqa: E402
from fault.worlds import Worlds  # noqa: E402

JOBS = 2


@pytest.fixture(scope="module")
def worlds():
    with Worlds(os.environ["MIG_BUILD"]) as made:
        yield made


@pytest.mark.parametrize("case", [case for case in CASES if case.nodes != 1],
                         ids=lambda case: case.name)
def test_killed_anywhere_and_run_again_it_ends_as_if_nothing_had_been(worlds, case):
    drawn = random.Random(case.name)
    jobs = series.kills(worlds, case, lambda count: [drawn.randint(1, count)] if count else [])
    outcomes = series.work(jobs, JOBS)
    assert [(one.fault, one.detail) for one in outcomes if one.what == points.WRONG] == []
    assert sum(one.what == points.SAME for one in outcomes) >= len(jobs) // 2
