"""Every point of every command, one after another: prints a table in Markdown. See ci/fault."""

import argparse
import os
import sys
import time

from . import points, series
from .cases import CASES
from .worlds import Worlds

EACH = {"kill": 8, "fail": 4, "cut": 8}
WHATS = (points.SAME, points.COMPLETE, points.CARRIED, points.NOT_MET, points.WRONG)


def print_table(outcomes):
    """A line for each command, path and kind of event."""
    whats = [what for what in WHATS if any(one.what == what for one in outcomes)]
    print("| command | path | nodes | event | points | " + " | ".join(whats) + " |")
    print("|---|---|---|---|" + "---|" * (1 + len(whats)))
    lines = {}
    for one in outcomes:
        lines.setdefault((one.case, one.fault.split(":")[0]), []).append(one.what)
    for (case, event), met in sorted(lines.items(), key=lambda line: CASES.index(line[0][0])):
        counts = [str(met.count(what) or "") for what in whats]
        print(f"| {case.command} | {case.path} | {case.nodes or ''} | {event} | {len(met)} | " +
              " | ".join(counts) + " |")


def main():
    parser = argparse.ArgumentParser(prog="ci/fault", description="faults at every point")
    parser.add_argument("--build", required=True, help="a build with fault points")
    parser.add_argument("--each", type=int, help="points of a command's event, at most")
    parser.add_argument("--series", choices=list(series.SERIES), action="append",
                        help="kill, fail (a call) or cut (a connection); default: all")
    parser.add_argument("--only", default="", help="cases whose name begins with this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    began, outcomes = time.monotonic(), []
    with Worlds(args.build) as worlds:
        for case in CASES:
            if case.name.startswith(args.only) and worlds.has_verb(case.verb):
                jobs = [job for name in args.series or series.SERIES
                        for job in series.SERIES[name](
                            worlds, case, series.spread(args.each or EACH[name]))]
                outcomes += series.work(jobs, args.jobs)
                print(f"{case.name}: {len(jobs)} points", file=sys.stderr)
    print_table(outcomes)
    wrong = sum(one.what == points.WRONG for one in outcomes)
    print(f"\n{len(outcomes)} points, {wrong} wrong, in {(time.monotonic() - began) / 60:.0f} minutes.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
