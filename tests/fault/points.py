"""A point: one command, one event, the Nth time it happens. What must come of it is what comes of
the same command when nothing happens."""

import dataclasses
import re
import signal
import subprocess
import time

from support import state
from support.proxy import Proxy

from .worlds import SECONDS, said_last

SANITIZER = re.compile(r"(ERROR: \w+Sanitizer|runtime error:).*")
FAILED, TEMPORARY, STOPPED = 1, 5, 130  # exit statuses
LOST = ({TEMPORARY}, r"source|node")
BROKEN = ({FAILED}, r"Input/output error|No space left on device")
UNTOLD = "will only tell this account again"  # it went out, and that could not be written down
LEFT_BEHIND = "the other nodes go on without it"
# How a command may end that could not go on, and what it must then say.
TOLD = {"connect": LOST, "query": LOST, "received": LOST, "copy_sent": LOST, "copy_received": LOST,
        "commit_sent": LOST, "commit_answered": LOST, "cut": LOST,
        "write": BROKEN, "fsync": BROKEN, "rename": BROKEN,
        "handover": ({FAILED}, r"out of memory"), "alloc": ({FAILED}, r"out of memory")}


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
COMPLETE = "complete"  # killed or failed when everything was done
NOT_MET = "not met"  # it ended as usual before the event came
CARRIED = "carried"  # the fault was met, and it ended as usual all the same
WRONG = "WRONG"


class Wrong(Exception):
    """Something is not as it must be."""


def listens(process):
    """Whether a process has come to handle what asks it to stop."""
    try:
        with open(f"/proc/{process.pid}/status", encoding="utf-8") as status:
            caught = next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt"))
    except (OSError, StopIteration):
        return False
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def ask_to_stop(case, place, process):
    """Once a command that has no end of its own has done what there is to do."""
    until = time.monotonic() + SECONDS
    while not (case.has_all(place) is not False and listens(process)):
        if process.poll() is not None or time.monotonic() > until:
            break
        time.sleep(0.1)
    if case.has_all(place) is not None and process.poll() is None:
        process.send_signal(signal.SIGTERM)


def run(case, place, env=None):
    process = place.worlds.start(case.words(place), env)
    try:
        ask_to_stop(case, place, process)
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise Wrong(f"still running after {SECONDS} s: {said_last(err)}") from None
    blamed = SANITIZER.search(err)
    if blamed:
        raise Wrong(f"{blamed.group(0)} {' '.join(re.findall(r'in (mig_[a-z_]+|[a-z_]+) /', err)[:6])}")
    return Ended(process.returncode, out, err)


def counts_of(place):
    """{event: how often it came} of a process that ended by itself."""
    counts = place.folder / "counts"
    lines = counts.read_text().splitlines() if counts.exists() else []
    return {name: int(count) for name, count in map(str.split, lines)}


def usual(worlds, case):
    """Runs it undisturbed, and counts its events."""
    with case.place(worlds) as place:
        ended = run(case, place, {"MIG_FAULT_COUNTS": str(place.folder / "counts")})
        if ended.status not in (0, 4):
            raise Wrong(f"{case.name} ended with {ended.status}: {ended.err}")
        return Usual(ended.status, case.state(place, ended.out), counts_of(place))


def expect_same(expected, found, when):
    told = state.differences(expected, found)
    if told:
        raise Wrong(f"{when}: " + "; ".join(told))


def again(case, place, expected):
    """The same command once more, undisturbed, ends where an uninterrupted one does. One that was
    asked to stop, and had not come to its end in time, is begun once more."""
    ended = run(case, place)
    if ended.status == STOPPED:
        ended = run(case, place)
    if ended.status != expected.status:
        raise Wrong(f"run again it ended with {ended.status}: {said_last(ended.err)}")
    try:
        expect_same(expected.state, case.state(place, ended.out), "run again")
    except Wrong as wrong:
        raise Wrong(f"{wrong}; it said: {ended.err[-1500:]}") from None


def go_on(case, place, expected):
    """Runs it again; gives the outcome."""
    done = case.is_done(place)
    again(case, place, expected)
    return COMPLETE if done else SAME


def guarded(case, fault, judge):
    """The outcome of judge(); whatever goes wrong, the other points are worth their try."""
    try:
        return Outcome(case, fault, judge())
    except Exception as wrong:
        return Outcome(case, fault, WRONG, f"{type(wrong).__name__}: {wrong}")


def kill(worlds, case, event, number, expected, parity=False):
    """SIGKILL at the point; gives the outcome."""
    fault = f"{event}:{number}:kill"

    def judge():
        with case.place(worlds) as place:
            ended = run(case, place, {"MIG_FAULT": fault})
            if ended.status == -signal.SIGKILL:
                what = go_on(case, place, expected)
                if parity:
                    place.tool("xmtp-parity", "check", statuses=(0, 4))
                return what
            if ended.status == STOPPED:
                again(case, place, expected)
                return NOT_MET
            if ended.status != expected.status:
                raise Wrong(f"it ended with {ended.status}: {said_last(ended.err)}")
            expect_same(expected.state, case.state(place, ended.out), "not met")
            return NOT_MET
    return guarded(case, fault, judge)


def judge_failure(case, place, ended, event, met, expected):
    """It ended as usual, with nothing missing; or it says what is the matter and can go on."""
    statuses, words = TOLD[event]
    if UNTOLD in ended.err or (case.has_all(place) is not None and LEFT_BEHIND in ended.err):
        return go_on(case, place, expected)
    if ended.status == expected.status:
        expect_same(expected.state, case.state(place, ended.out), "as if nothing had been")
        return CARRIED if met else NOT_MET
    if ended.status not in statuses | {STOPPED}:
        raise Wrong(f"it ended with {ended.status}: {said_last(ended.err)}")
    if ended.status != STOPPED and not re.search(words, ended.err):
        raise Wrong(f"it does not say why: {said_last(ended.err)}")
    return go_on(case, place, expected)


def fail(worlds, case, event, number, action, expected):
    """The call at the point fails; gives the outcome."""
    fault = f"{event}:{number}:{action}"

    def judge():
        with case.place(worlds) as place:
            ended = run(case, place, {"MIG_FAULT": fault, "MIG_FAULT_COUNTS":
                                                   str(place.folder / "counts")})
            met = counts_of(place).get(event, 0) >= number
            return judge_failure(case, place, ended, event, met, expected)
    return guarded(case, fault, judge)


def through_proxy(place, which, cut_at=None):
    """A proxy in front of the source or the nodes; the manifest leads through it."""
    server = place.worlds.server
    proxy = Proxy(server.port, cut_at)

    def through(dsn):
        return dsn.replace(f"port={server.port}", f"port={proxy.port}")
    if which == "source":
        place.write(source=through(place.source))
    else:
        place.write(nodes=[through(dsn) for dsn in place.nodes])
    return proxy


def bytes_passed(worlds, case, which):
    """How many an undisturbed run exchanges with the source or the nodes."""
    with case.place(worlds) as place, through_proxy(place, which) as proxy:
        run(case, place)
        return proxy.passed


def cut(worlds, case, which, number, expected):
    """Connections to the source or the nodes are cut at a byte; gives the outcome."""
    def judge():
        with case.place(worlds) as place:
            with through_proxy(place, which, number) as proxy:
                ended = run(case, place)
                met = proxy.was_cut
            place.write()
            return judge_failure(case, place, ended, "cut", met, expected)
    return guarded(case, f"cut:{number}:{which}", judge)
