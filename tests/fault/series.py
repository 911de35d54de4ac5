"""Which points there are: of each command, each event, the Nth for chosen N; and working on them."""

import concurrent.futures
import sys

from . import points

KILLED = ("connect", "query", "received", "copy_sent", "copy_received", "commit_sent",
          "commit_answered", "write", "fsync", "rename", "handover")
PARITY_EACH = 10


def spread(wanted):
    """spread(10)(count): at most ten numbers from 1 to count: ends first, others between."""
    def choose(count):
        if count <= wanted:
            return list(range(1, count + 1))
        chosen = {1, count} | ({2, count - 1} if wanted > 3 else set())
        left = wanted - len(chosen)
        chosen |= {3 + (count - 5) * (place + 1) // (left + 1) for place in range(left)}
        return sorted(chosen)
    return choose


def of_case(worlds, case, plan):
    """Jobs of one case: plan(expected) gives what each is to do, as a function of nothing."""
    try:
        expected = points.usual(worlds, case)
    except points.Wrong as wrong:
        told = points.Outcome(case, "none:0:none", points.WRONG, str(wrong))
        return [lambda: told]
    return plan(expected)


def kills(worlds, case, choose):
    """SIGKILL at each event; choose(count) names the numbers."""
    def plan(expected):
        return [lambda event=event, number=number: points.kill(
                    worlds, case, event, number, expected,
                    parity=case.path == "bulk" and number % PARITY_EACH == 0)
                for event in KILLED for number in choose(expected.counts[event])]
    return of_case(worlds, case, plan)


def work(jobs, threads):
    """Does them side by side; gives their outcomes, and tells at once of what is wrong."""
    outcomes = []
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for done in concurrent.futures.as_completed([pool.submit(job) for job in jobs]):
            outcomes.append(done.result())
            told = outcomes[-1]
            if told.what == points.WRONG:
                print(f"{told.case.name}, {told.fault}: {told.detail}", file=sys.stderr)
    return outcomes
