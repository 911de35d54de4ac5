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


def last(count):
    return [count]


@pytest.mark.parametrize("name, event, action, choose", [
    # a part that nobody could be given
    ("load staging 1", "handover", "fail", lambda count: range(60, 106, 9)),
    # a band that is given up leaves no tables
    ("run bulk 2", "commit_sent", "fail", lambda count: range(19, 28, 2)),
    # what libpq could not do leaves no connection to go on with
    ("export folder", "received", "refuse", lambda count: range(51, 55)),
    ("replace staging 2", "commit_sent", "refuse", last),
    ("follow staging 1", "commit_sent", "refuse", last),
    # the row with the highest of all ids, and then nothing
    ("export folder", "copy_received", "refuse", last),
])
def test_points_that_once_went_wrong(worlds, name, event, action, choose):
    jobs = series.failures(worlds, named(name), choose, [(event, action)])
    series.expect_none_wrong(series.work(jobs))


def test_conflicts_that_were_replaced_are_gone_on_with(worlds):
    jobs = series.kills(worlds, named("replace staging 2"), lambda count: [count // 2, count],
                        ["commit_answered"])
    series.expect_none_wrong(series.work(jobs))


def test_a_node_that_has_all_and_is_lost_gets_rows_above_the_sequence_again(worlds):
    """While the other one is brought them: cut in the middle of that."""
    jobs = series.cuts(worlds, named("run away 2"), lambda count: [count // 2])
    series.expect_none_wrong(series.work(jobs))
