"""Whatever fails underneath, a command ends with everything there, or says what is the matter and
can be run again: some points of each kind, where the long form (ci/fault) takes many."""

import pytest

from fault import series
from fault.cases import CASES

NAMES = ("run bulk 2", "export tar", "transform folder", "load staging 2", "retry staging 2")


def named(name):
    return next(case for case in CASES if case.name == name)


@pytest.mark.parametrize("case", [named(name) for name in NAMES], ids=lambda case: case.name)
def test_a_call_that_fails_is_told_or_made_good(worlds, case):
    series.expect_none_wrong(series.work(series.failures(worlds, case, series.drawn(case.name))))


@pytest.mark.parametrize("case", [named(name) for name in NAMES if "transform" not in name],
                         ids=lambda case: case.name)
def test_a_connection_that_is_cut_is_told_or_made_good(worlds, case):
    series.expect_none_wrong(series.work(series.cuts(worlds, case, series.drawn(case.name))))


@pytest.mark.parametrize("name, event, numbers", [
    ("load staging 1", "handover", range(60, 106, 9)),  # a part that nobody could be given
    ("run bulk 2", "commit_sent", range(19, 28, 2)),  # a band that is given up leaves no tables
])
def test_points_that_once_went_wrong(worlds, name, event, numbers):
    jobs = series.failures(worlds, named(name), lambda count: numbers, [(event, "fail")])
    series.expect_none_wrong(series.work(jobs))
