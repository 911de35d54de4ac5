"""A point: one command, one event, the Nth time it happens. What must come of it is what comes of
the same command when nothing happens."""

import dataclasses
import re
import signal
import subprocess

from support import state

from .worlds import SECONDS, said_last

SANITIZER = re.compile(r"(ERROR: \w+Sanitizer|runtime error:).*")
# Exit statuses: 0 and 4 are an end; these are failures that are told.
FAILED, TEMPORARY = 1, 5


@dataclasses.dataclass
class Ended:
    status: int
    out: str
    err: str


@dataclasses.dataclass
class Usual:
    """What an uninterrupted run comes to."""
    status: int
    state: dict
    counts: dict


@dataclasses.dataclass
class Outcome:
    case: object
    fault: str
    what: str  # one of those below
    detail: str = ""


SAME = "same"  # killed or failed, run again, and all is as it would have been
COMPLETE = "complete"  # killed when everything was done
NOT_MET = "not met"  # it ended as usual before the event came
CARRIED = "carried"  # the fault was met, and it ended as usual all the same
WRONG = "WRONG"


class Wrong(Exception):
    """Something is not as it must be."""


def run(place, words, env=None):
    process = place.worlds.start(words, env)
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise Wrong(f"still running after {SECONDS} s: {said_last(err)}") from None
    blamed = SANITIZER.search(err)
    if blamed:
        raise Wrong(f"{blamed.group(0)} {' '.join(re.findall(r'in (mig_[a-z_]+|[a-z_]+) /', err)[:6])}")
    return Ended(process.returncode, out, err)


def usual(worlds, case):
    """Runs it undisturbed, and counts its events."""
    with case.place(worlds) as place:
        counts = place.folder / "counts"
        ended = run(place, case.words(place), {"MIG_FAULT_COUNTS": str(counts)})
        if ended.status not in (0, 4):
            raise Wrong(f"{case.name} ended with {ended.status}: {ended.err}")
        return Usual(ended.status, case.state(place, ended.out),
                     {name: int(count) for name, count in
                      (line.split() for line in counts.read_text().splitlines())})


def expect_same(expected, found, when):
    told = state.differences(expected, found)
    if told:
        raise Wrong(f"{when}: " + "; ".join(told))


def again(case, place, expected):
    """The same command once more, undisturbed, ends where an uninterrupted one does."""
    ended = run(place, case.words(place))
    if ended.status != expected.status:
        raise Wrong(f"run again it ended with {ended.status}: {said_last(ended.err)}")
    expect_same(expected.state, case.state(place, ended.out), "run again")


def again_when_done(case, place, expected):
    """Everything was there before it was killed: one that is run again must leave it so."""
    before = {**case.state_of_nodes(place), **case.files(place)}
    expect_same({name: expected.state[name] for name in before.keys() & expected.state.keys()} |
                {name: what for name, what in expected.state.items()
                 if name != "account" and name not in before}, before, "when it was killed")
    ended = run(place, case.words(place))
    if ended.status not in (expected.status, 2):
        raise Wrong(f"run once more it ended with {ended.status}: {said_last(ended.err)}")
    public = case.state_of_nodes(place, books=False)
    expect_same({name: expected.state[name] for name in public}, public, "run once more")


def kill(worlds, case, event, number, expected, parity=False):
    """SIGKILL at the point; gives the outcome."""
    fault = f"{event}:{number}:kill"
    try:
        with case.place(worlds) as place:
            ended = run(place, case.words(place), {"MIG_FAULT": fault})
            place.await_servers()
            if ended.status != -signal.SIGKILL:
                if ended.status != expected.status:
                    raise Wrong(f"it ended with {ended.status}: {said_last(ended.err)}")
                expect_same(expected.state, case.state(place, ended.out), "not met")
                return Outcome(case, fault, NOT_MET)
            if case.is_done(place):
                again_when_done(case, place, expected)
                return Outcome(case, fault, COMPLETE)
            again(case, place, expected)
            if parity:
                place.tool("xmtp-parity", "check", statuses=(0, 4))
            return Outcome(case, fault, SAME)
    except Exception as wrong:  # whatever it is, the other points are worth their try
        return Outcome(case, fault, WRONG, f"{type(wrong).__name__}: {wrong}")
