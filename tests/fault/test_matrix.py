"""Killed at any event and run again, a command ends where it ends undisturbed: some points of each
kind of event, where the long form (ci/fault) takes many."""

import pytest

from fault import points, series
from fault.cases import CASES


@pytest.mark.parametrize("case", [case for case in CASES if case.nodes != 1 and not case.long],
                         ids=lambda case: case.name)
def test_killed_anywhere_and_run_again_it_ends_as_if_nothing_had_been(worlds, case):
    if not worlds.has_verb(case.verb):
        pytest.skip(f"there is no {case.verb} yet")
    outcomes = series.work(series.kills(worlds, case, series.drawn(case.name)))
    series.expect_none_wrong(outcomes)
    assert sum(one.what == points.SAME for one in outcomes) >= len(outcomes) // 2
