"""Which points there are: of each command, each event, the Nth for chosen N; and working on them."""

import concurrent.futures
import os
import random
import sys

from . import points

KILLED = ("connect", "query", "received", "copy_sent", "copy_received", "commit_sent",
          "commit_answered", "write", "fsync", "rename", "handover")
FAILED = [(event, "fail") for event in (*KILLED, "alloc")] + [
    ("write", "enospc"), ("write", "short"), ("fsync", "enospc")]
REFUSED = [(event, "refuse") for event in KILLED[:KILLED.index("write")]]
PARITY_EACH = 10


def spread(wanted):
    """spread(10)(count): at most ten numbers from 1 to count: ends first, others between; of two,
    one is the middle."""
    def choose(count):
        if count <= wanted:
            return list(range(1, count + 1))
        if wanted < 3:
            return [(count + 1) // 2, count][:wanted]
        chosen = {1, count} | ({2, count - 1} if wanted > 3 else set())
        left = wanted - len(chosen)
        chosen |= {3 + (count - 5) * (place + 1) // (left + 1) for place in range(left)}
        return sorted(chosen)
    return choose


def drawn(seed):
    """drawn(seed)(count): one number from 1 to count, the same ones for the same seed."""
    chosen = random.Random(seed)
    return lambda count: [chosen.randint(1, count)] if count else []


def of_case(worlds, case, plan):
    """Jobs of one case: plan(expected) gives what each is to do, as a function of nothing."""
    try:
        expected = points.usual(worlds, case)
    except points.Wrong as wrong:
        told = points.Outcome(case, "none:0:none", points.WRONG, str(wrong))
        return [lambda: told]
    return plan(expected)


def kills(worlds, case, choose, events=KILLED):
    """SIGKILL at each event; choose(count) names the numbers."""
    def plan(expected):
        return [lambda event=event, number=number: points.kill(
                    worlds, case, event, number, expected,
                    parity=case.path == "bulk" and number % PARITY_EACH == 0)
                for event in events for number in choose(expected.counts[event])]
    return of_case(worlds, case, plan)


def failures(worlds, case, choose, calls=FAILED):
    """Each call fails, in each way it can."""
    def plan(expected):
        return [lambda event=event, action=action, number=number: points.fail(
                    worlds, case, event, number, action, expected)
                for event, action in calls for number in choose(expected.counts[event])]
    return of_case(worlds, case, plan)


def refusals(worlds, case, choose):
    """Each call of libpq fails, and the connection stays."""
    return failures(worlds, case, choose, REFUSED)


def cuts(worlds, case, choose):
    """Connections are cut at a byte."""
    def plan(expected):
        return [lambda which=which, number=number: points.cut(worlds, case, which, number, expected)
                for which in case.servers
                for number in choose(points.bytes_passed(worlds, case, which))]
    return of_case(worlds, case, plan)


SERIES = {"kill": kills, "fail": failures, "refuse": refusals, "cut": cuts}
TITLES = {"kill": "killed at the Nth event, and run again",
          "fail": "the Nth call fails",
          "refuse": "the Nth call of libpq fails, and the connection stays",
          "cut": "connections are cut at the Nth byte"}


def work(jobs, threads=os.cpu_count()):
    """Does them side by side; gives their outcomes, and tells at once of what is wrong."""
    outcomes = []
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for done in concurrent.futures.as_completed([pool.submit(job) for job in jobs]):
            outcomes.append(done.result())
            told = outcomes[-1]
            if told.what == points.WRONG:
                print(f"{told.case.name}, {told.fault}: {told.detail}", file=sys.stderr)
    return outcomes


def expect_none_wrong(outcomes):
    assert [(one.fault, one.detail) for one in outcomes if one.what == points.WRONG] == []
