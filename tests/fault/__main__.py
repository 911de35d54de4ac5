"""Every point of every command, one after another: prints tables in Markdown. See ci/fault."""

import argparse
import os
import sys
import time

from . import points, series
from .cases import CASES
from .worlds import Worlds

EACH = {"kill": 4, "fail": 3, "refuse": 3, "cut": 4}
WHATS = (points.SAME, points.COMPLETE, points.CARRIED, points.NOT_MET, points.WRONG)


def print_table(outcomes):
    """A line for each command and path: how many points of each kind of event, and their outcomes."""
    met = {one.fault.split(":")[0] for one in outcomes}
    events = [event for event in points.TOLD if event in met]
    whats = [what for what in WHATS if any(one.what == what for one in outcomes)]
    print("| command | path | nodes | " + " | ".join(events + ["points"] + whats) + " |")
    print("|---|---|---|" + "---|" * (len(events) + 1 + len(whats)))
    for case in CASES:
        met = [one for one in outcomes if one.case == case]
        counts = [sum(one.fault.split(":")[0] == event for one in met) for event in events]
        counts += [len(met)] + [sum(one.what == what for one in met) for what in whats]
        if met:
            print(f"| {case.command} | {case.path} | {case.nodes or ''} | " +
                  " | ".join(str(count or "") for count in counts) + " |")


def tell(name, outcomes):
    print(f"\n{name}: {series.TITLES[name]}\n")
    if outcomes:
        print_table(outcomes)
    wrong = sum(one.what == points.WRONG for one in outcomes)
    print(f"\n{len(outcomes)} points, {wrong} wrong.")
    return wrong


def main():
    parser = argparse.ArgumentParser(prog="ci/fault", description="faults at every point")
    parser.add_argument("--build", required=True, help="a build with fault points")
    parser.add_argument("--each", type=int, help="points of a command's event, at most")
    parser.add_argument("--series", choices=list(series.SERIES), action="append",
                        help="kill, fail (a call), refuse (one of libpq) or cut (a connection);"
                             " default: all")
    parser.add_argument("--only", action="append", help="cases whose name begins with this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    began, wrong = time.monotonic(), 0
    with Worlds(args.build) as worlds:
        for name in args.series or series.SERIES:
            outcomes = []
            for case in CASES:
                if case.name.startswith(tuple(args.only or [""])) and worlds.has_verb(case.verb):
                    choose = series.spread(args.each or EACH[name])
                    outcomes += series.work(series.SERIES[name](worlds, case, choose), args.jobs)
                    print(f"{name}: {case.name} is done", file=sys.stderr)
            wrong += tell(name, outcomes)
    print(f"\n{(time.monotonic() - began) / 60:.0f} minutes.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
