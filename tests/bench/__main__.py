"""How fast the tools are, each figure against a bound taken beside it: see docs/performance.md."""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import sys
import tempfile

from support import servers

from .cases import CASES, Bench
from .chart import draw
from .measure import NOISE_MAX, BenchError, Runner
from .world import World

SCHEMA = "xmtp-migrate/bench/1"
SHORT_ROWS = 1000
TOO_LONG = ("nodes",)  # for the short form: eleven databases


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        model = re.search(r"model name\s*: (.*)", cpuinfo.read())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"processor": model.group(1) if model else platform.machine(), "cores": os.cpu_count(),
            "memory_gib": round(memory / (1 << 30), 1), "system": platform.platform(),
            "postgresql": servers.client_version().strip()}


def measure(options, folder):
    """Gives the document of everything that was measured."""
    runner = Runner(options.build, folder)
    noise = [runner.noise()]
    figures, curves, failed = [], {}, {}
    world = World(runner)
    try:
        bench = Bench(world, options.rows, options.repeat, os.cpu_count())
        for name in options.only or CASES:
            say(f"{name} ...")
            try:
                for figure in CASES[name](bench):
                    figures.append(figure)
                    say("  " + line(figure.document(), figure.judgement))
            except (BenchError, servers.ServerError) as error:
                failed[name] = str(error)
                say(f"{name}: {error}")
        curves = bench.curves
    finally:
        world.close()
    noise.append(runner.noise())
    return {"schema": SCHEMA, "date": datetime.date.today().isoformat(), "machine": machine(),
            "rows": options.rows, "repeat": options.repeat, "noise": round(max(noise), 4),
            "too_noisy": max(noise) > NOISE_MAX,
            "figures": [{**figure.document(), "judgement": figure.judgement}
                        for figure in figures],
            "curves": curves, "failed": failed}


def say(text):
    print(text, file=sys.stderr, flush=True)


def line(figure, judgement):
    target = "" if figure["target"] is None else f"{figure['relation']} {figure['target']:.2f}"
    taken = "" if figure["candidate"] is None else \
        f"{figure['candidate']:,} of {figure['bound']:,} {figure['unit']}" \
        if figure["bound"] is not None else f"{figure['candidate']:,} {figure['unit']}"
    if figure["cpu_ratio"]:
        taken += f"; {figure['cpu_ratio']:.2f} by processor time"
    return f"{figure['what']:<76} {figure['value']:>7.2f} {target:>9} {judgement:<15} {taken}"


def table(document):
    machine = document["machine"]
    lines = [f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
             f"{machine['postgresql']}, {document['date']}; "
             f"{document['rows']:,} rows, medians of {document['repeat']}", ""]
    lines += [line(figure, figure["judgement"]) for figure in document["figures"]]
    lines += [f"{name}: could not be measured" for name in document["failed"]]
    lines += ["", f"noise: {document['noise']:.1%} between equal loops"
              + (", too much to judge anything by" if document["too_noisy"] else "")]
    return "\n".join(lines)


def number(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("a number above 0 is wanted")
    return value


def cases(text):
    names = text.split(",")
    for name in names:
        if name not in CASES:
            raise argparse.ArgumentTypeError(f"no case '{name}': there are {', '.join(CASES)}")
    return names


def main():
    parser = argparse.ArgumentParser(prog="ci/bench", description=__doc__)
    parser.add_argument("--rows", type=number, default=1_000_000, help="how many (default 1000000)")
    parser.add_argument("--repeat", type=number, default=3, help="times each (default 3)")
    parser.add_argument("--only", type=cases, metavar="CASE,CASE", help=", ".join(CASES))
    parser.add_argument("--short", action="store_true",
                        help="few rows, once each: shows that it runs, not how fast")
    parser.add_argument("--json", metavar="FILE", help="also as one JSON document")
    parser.add_argument("--svg", metavar="FILE", help="also as a chart")
    parser.add_argument("--build", required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    if options.short:
        options.rows, options.repeat = min(options.rows, SHORT_ROWS), 1
        options.only = options.only or [name for name in CASES if name not in TOO_LONG]
    folder = tempfile.mkdtemp(prefix="xmtp-bench.")
    os.chmod(folder, 0o755)
    try:
        document = measure(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(document))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.write("\n")
    if options.svg:
        with open(options.svg, "w", encoding="utf-8") as file:
            file.write(draw(document))
    return 1 if document["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
