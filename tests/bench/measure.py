"""Times of candidates and their bounds, taken in turns, and how far they can be trusted."""

import json
import os
import statistics
import subprocess
import tempfile

# A figure whose samples lie further apart than this, in parts of their median, decides nothing.
SPREAD_MAX = 0.15
# The same for a loop of nothing but arithmetic: beyond it the machine itself is too noisy.
NOISE_MAX = 0.05
SPIN_ROUNDS = 100_000_000


class BenchError(Exception):
    pass


class Sample:
    """What one measurement took: seconds, seconds of processor time, most bytes of memory."""

    def __init__(self, seconds, cpu=0.0, peak_bytes=0, server_cpu=0.0, **more):
        self.seconds, self.cpu, self.peak_bytes = seconds, cpu, peak_bytes
        self.server_cpu = server_cpu
        self.more = more


def spread(values):
    """How far values lie apart, in parts of their median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if len(values) > 1 and middle else 0.0


def median(samples, name="seconds"):
    return statistics.median(getattr(sample, name) for sample in samples)


class Runner:
    """Runs the built programs and psql."""

    def __init__(self, build, folder):
        self.bin, self.folder = os.path.join(build, "bin"), folder
        self.log = os.path.join(folder, "log")
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith(("XMTP_", "PG"))}
        self.environment["PATH"] = self.bin + os.pathsep + self.environment.get("PATH", "")
        self.environment["TMPDIR"] = folder

    def _run(self, command, **options):
        with open(self.log, "wb") as log:
            ran = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stderr=log,
                                 env=self.environment, cwd=self.folder, **options)
        if ran.returncode != 0:
            with open(self.log, encoding="utf-8", errors="replace") as log:
                raise BenchError(f"'{' '.join(map(str, command))}' ended with {ran.returncode}:\n"
                                 + log.read()[-3000:])
        return ran

    def quietly(self, *command):
        self._run(command, stdout=subprocess.DEVNULL)

    def loops(self, *words):
        """A loop of bench_loops; gives what it printed."""
        return json.loads(self._run(("bench_loops",) + words, stdout=subprocess.PIPE).stdout)

    def timed(self, *command, servers=(), out=None):
        """Runs a command; gives its sample, with what the servers used meanwhile."""
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".json") as report:
            before = sum(server_cpu(server.pid) for server in servers)
            with open(out or os.devnull, "wb") as target:
                self._run(("bench_loops", "usage", report.name) + command, stdout=target)
            used = sum(server_cpu(server.pid) for server in servers) - before
            return Sample(server_cpu=used, **json.load(report))

    def noise(self, count=5):
        """The spread of a loop that does the same work each time."""
        return spread([self.loops("spin", SPIN_ROUNDS)["seconds"] for _ in range(count)])


def server_cpu(pid):
    """Seconds of processor time of a server: itself, its processes, and those that have ended."""
    ticks = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(name) == pid:
            ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
        elif int(fields[1]) == pid:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def interleave(repeat, *measures):
    """Takes each measure in turn, repeat times over; gives a list of samples for each."""
    samples = [[] for _ in measures]
    for _ in range(repeat):
        for place, measure in enumerate(measures):
            samples[place].append(measure())
    return samples


class Figure:
    """One line of the table: a ratio and what it is held against."""

    def __init__(self, case, what, value, target=None, at_most=False, *, candidate=None, bound=None,
                 unit="", noise=0.0, cpu_ratio=None):
        self.case, self.what, self.value = case, what, value
        self.target, self.at_most = target, at_most
        self.candidate, self.bound, self.unit, self.noise = candidate, bound, unit, noise
        self.cpu_ratio = cpu_ratio

    @property
    def met(self):
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target

    @property
    def judgement(self):
        if self.met is None:
            return "-"
        return ("met" if self.met else "MISSED") + (" (noisy)" if self.noise > SPREAD_MAX else "")

    def document(self):
        return {"case": self.case, "what": self.what, "value": round(self.value, 4),
                "target": self.target, "relation": "<=" if self.at_most else ">=",
                "met": self.met, "candidate": self.candidate, "bound": self.bound,
                "unit": self.unit, "spread": round(self.noise, 4),
                "cpu_ratio": self.cpu_ratio and round(self.cpu_ratio, 4)}


def ratio(case, what, candidates, bounds, target=None, rows=0):
    """How close the candidate's speed comes to the bound's; rows makes rows/s of both. The same of
    processor time tells more on a machine that others use too."""
    ours, theirs = median(candidates), median(bounds)
    used = [statistics.median(sample.cpu + sample.server_cpu for sample in samples)
            for samples in (bounds, candidates)]
    noise = max(spread([sample.seconds for sample in samples]) for samples in (candidates, bounds))
    return Figure(case, what, theirs / ours, target,
                  candidate=round(rows / ours, 1) if rows else round(ours, 4),
                  bound=round(rows / theirs, 1) if rows else round(theirs, 4),
                  unit="rows/s" if rows else "s", noise=noise,
                  cpu_ratio=used[0] / used[1] if all(used) else None)
