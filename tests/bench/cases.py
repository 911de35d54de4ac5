"""What is measured: each case is a function that gives figures, and a row of CASES."""

import os
import shlex
import subprocess

from support import servers
from .bounds import Bounds
from .measure import Figure, Sample, interleave, median, ratio, spread


class Bench:
    """What cases share: the world, how many rows, how often, and what other cases found out."""

    def __init__(self, world, rows, repeat, threads):
        self.world, self.runner = world, world.runner
        self.rows, self.repeat, self.threads = rows, repeat, threads
        self._bounds, self._cpu, self.curves = {}, {}, {}

    def bounds(self, rows=None):
        rows = rows or self.rows
        if rows not in self._bounds:
            self._bounds[rows] = Bounds(self.world, rows)
        return self._bounds[rows]

    # ---- what a row costs the processor at least ---------------------------------------------

    def signing(self):
        """Seconds of processor time of a signature, and of recovering one."""
        if "sign" not in self._cpu:
            for verb in ("sign", "recover"):
                count = 20000
                self._cpu[verb] = median([Sample(**self.runner.loops(verb, count, self.threads))
                                          for _ in range(self.repeat)], "cpu") / count
        return self._cpu["sign"], self._cpu["recover"]

    def copy_out(self, rows):
        """Seconds of processor time of a COPY out of everything, psql and server."""
        key = ("out", rows)
        if key not in self._cpu:
            source = self.world.v3(rows)
            self._cpu[key] = self._used([self.runner.timed(
                *self.bounds(rows).copy_out(source), servers=self.world.servers)
                for _ in range(self.repeat)])
        return self._cpu[key]

    def raw_load(self, rows):
        """The same of a raw load; and how long one takes."""
        key = ("in", rows)
        if key not in self._cpu:
            samples = [self.load_raw(rows) for _ in range(self.repeat)]
            self._cpu[key] = self._used(samples), median(samples)
        return self._cpu[key]

    @staticmethod
    def _used(samples):
        return median(samples, "cpu") + median(samples, "server_cpu")

    def load_raw(self, rows):
        node = self.world.node("raw")
        return self.runner.timed(*self.bounds(rows).raw_load(node), servers=self.world.servers)

    def signed_rows(self, rows):
        return int(servers.psql(self.bounds(rows).reference,
                                "SELECT count(*) FROM gateway_envelopes_blob"))

    def at_best(self, rows, nodes):
        """Seconds that a run takes if nothing but signing, COPY out and raw loads cost anything,
        and all cores are busy to the end."""
        cpu = 2 * self.signing()[0] * self.signed_rows(rows) + self.copy_out(rows) \
            + nodes * self.raw_load(rows)[0]
        return cpu / os.cpu_count()

    # ---- the tools ---------------------------------------------------------------------------

    def tool(self, name, manifest, *words, **options):
        return self.runner.timed(name, *words, "--progress", "none", "--manifest", manifest,
                                 **options)

    def run(self, source, nodes=1):
        """xmtp-migrate run into fresh nodes."""
        manifest = self.world.manifest(
            source, [self.world.node(f"node_{place}", place=place) for place in range(nodes)])
        for name in os.listdir(self.world.folder):
            if name.startswith("bench-chain-"):
                subprocess.run(["rm", "-rf", os.path.join(self.world.folder, name)], check=True)
        return self.tool("xmtp-migrate", manifest, "run", servers=self.world.servers)


# ---- loops ----------------------------------------------------------------------------------------


def keccak(bench):
    for size in (400, 4096):
        pairs = [bench.runner.loops("keccak", size, 40_000_000 // size)
                 for _ in range(bench.repeat)]
        bound = [Sample(pair["bound_seconds"]) for pair in pairs]
        yield ratio("keccak", f"keccak-256 of {size} bytes against OpenSSL's SHA3-256",
                    [Sample(pair["seconds"]) for pair in pairs], bound, 1 / 1.3)
        yield ratio("keccak", f"64 of {size} bytes side by side against the same",
                    [Sample(pair["many_seconds"]) for pair in pairs], bound)


def transform(bench):
    bundle = bench.world.bundle(bench.rows, "rows")
    manifest = bench.world.manifest(bench.world.v3(bench.rows), [bench.world.target.dsn()])
    pairs = [bench.runner.loops("transform", manifest, bundle, bench.threads)
             for _ in range(bench.repeat)]
    yield ratio("transform", "transform alone against the bare signing loop",
                [Sample(pair["seconds"]) for pair in pairs],
                [Sample(pair["bound_seconds"]) for pair in pairs], 0.92,
                rows=pairs[0]["signed_rows"])
    yield ratio("transform", "transform alone against signing and both digests by OpenSSL",
                [Sample(pair["seconds"]) for pair in pairs],
                [Sample(pair["bound_seconds"] + pair["digest_seconds"]) for pair in pairs],
                rows=pairs[0]["signed_rows"])


def tar(bench):
    bundle = bench.world.bundle(bench.rows, "envelopes")
    copy = os.path.join(bench.world.folder, "copy.tar")

    def clean(measure):
        def measured():
            if os.path.exists(copy):
                os.unlink(copy)
            return measure()
        return measured

    ours, theirs = interleave(
        bench.repeat, clean(lambda: Sample(**bench.runner.loops("tar", bundle, copy))),
        clean(lambda: bench.runner.timed("sh", "-c", 'cat "$1" >"$2" && sync "$2"', "sh", bundle,
                                         copy)))
    os.unlink(copy)
    yield ratio("tar", "a bundle's tar through our carriers against cat and sync", ours, theirs)


# ---- stages ---------------------------------------------------------------------------------------


def export(bench):
    source, out = bench.world.v3(bench.rows), os.path.join(bench.world.folder, "out")
    manifest = bench.world.manifest(source, [bench.world.target.dsn()])
    copy = " ".join(map(shlex.quote, bench.bounds().copy_out(source)))

    def ours():
        subprocess.run(["rm", "-f", out + ".tar"], check=True)
        bench.world.settle()
        return bench.tool("xmtp-export", manifest, "--out", out + ".tar",
                          servers=bench.world.servers)

    def theirs():
        subprocess.run(["rm", "-f", out + ".zst"], check=True)
        bench.world.settle()
        return bench.runner.timed("sh", "-c", f'{copy} | zstd -q -3 -c >"$1" && sync "$1"', "sh",
                                  out + ".zst", servers=bench.world.servers)

    samples = interleave(bench.repeat, ours, theirs)
    yield ratio("export", "export to a bundle against psql COPY out | zstd -3", *samples, 0.8,
                rows=bench.rows)


def bulk(bench):
    bundle, rows = bench.world.bundle(bench.rows, "envelopes"), bench.signed_rows(bench.rows)

    def manifest():
        return bench.world.manifest(bench.world.v3(bench.rows), [bench.world.node("node_0")])

    def from_memory():
        return Sample(bench.runner.loops("load", manifest(), bundle, bench.threads)["seconds"])

    def from_bundle():
        return bench.tool("xmtp-load", manifest(), "--in", bundle, servers=bench.world.servers)

    memory, tool, raw = interleave(bench.repeat, from_memory, from_bundle,
                                   lambda: bench.load_raw(bench.rows))
    yield ratio("bulk", "load of envelopes in memory against psql COPY FREEZE and index build",
                memory, raw, 0.85, rows=rows)
    yield ratio("bulk", "xmtp-load of a bundle, verified first, against the same",
                tool, raw, rows=rows)


def staging(bench):
    bundle, half = bench.world.bundle(bench.rows, "envelopes"), bench.bounds().half()

    def ours():
        node = bench.world.node("node_0", template=half)
        manifest = bench.world.manifest(bench.world.v3(bench.rows), [node])
        return bench.tool("xmtp-load", manifest, "--in", bundle, servers=bench.world.servers)

    def theirs():
        node = bench.world.node("node_1", template=half)
        return bench.runner.timed(*bench.bounds().staged_load(node), servers=bench.world.servers)

    samples = interleave(bench.repeat, ours, theirs)
    yield ratio("staging", "load into half-filled bands against psql COPY and INSERT SELECT",
                *samples, 0.8, rows=bench.signed_rows(bench.rows))


# ---- the whole ------------------------------------------------------------------------------------


def whole(bench):
    source = bench.world.v3(bench.rows)
    best = bench.at_best(bench.rows, 1)
    samples = [bench.run(source) for _ in range(bench.repeat)]
    yield Figure("run", "run into one node against the sum of its parts' processor time",
                 best / median(samples), 0.85, candidate=round(bench.rows / median(samples), 1),
                 bound=round(bench.rows / best, 1), unit="rows/s",
                 noise=spread([sample.seconds for sample in samples]))


def nodes(bench):
    source = bench.world.v3(bench.rows)
    one, three, seven = interleave(bench.repeat, *(
        lambda count=count: bench.run(source, count) for count in (1, 3, 7)))
    raw = bench.raw_load(bench.rows)[1]
    bench.curves["nodes"] = [(count, bench.rows / median(samples))
                             for count, samples in ((1, one), (3, three), (7, seven))]
    for count, samples in ((3, three), (7, seven)):
        further = (median(samples) - median(one)) / (count - 1)
        yield Figure("nodes", f"each further node of {count} against one raw load",
                     further / raw, 1.15, True, candidate=round(further, 3), bound=round(raw, 3),
                     unit="s", noise=spread([sample.seconds for sample in samples]))


def scaling(bench):
    sizes = [bench.rows // 10, bench.rows * 3 // 10, bench.rows]
    samples = interleave(bench.repeat, *(
        lambda size=size: bench.run(bench.world.v3(size)) for size in sizes))
    rates = [size / median(taken) for size, taken in zip(sizes, samples)]
    bench.curves["rows"] = list(zip(sizes, rates))
    yield Figure("rows", "slowest against fastest of " + ", ".join(f"{size:,}" for size in sizes)
                 + " rows", min(rates) / max(rates), 0.9, candidate=round(min(rates), 1),
                 bound=round(max(rates), 1), unit="rows/s",
                 noise=max(spread([sample.seconds for sample in taken]) for taken in samples))


def shape(name, what, **options):
    def measured(bench):
        plain, shaped = bench.world.v3(bench.rows), bench.world.v3(bench.rows, **options)
        ours, theirs = interleave(bench.repeat, lambda: bench.run(shaped),
                                  lambda: bench.run(plain))
        yield ratio(name, what, ours, theirs, 0.95, rows=bench.rows)
    return measured


def pipe(bench):
    source, best = bench.world.v3(bench.rows), bench.at_best(bench.rows, 1)

    def ours():
        manifest = bench.world.manifest(source, [bench.world.node("node_0")])
        tail = f"--progress none --manifest {shlex.quote(manifest)}"
        return bench.runner.timed("sh", "-c", f"xmtp-export --out - {tail} | "
                                  f"xmtp-transform --in - --out - {tail} | "
                                  f"xmtp-load --in - {tail}", servers=bench.world.servers)

    samples = [ours() for _ in range(bench.repeat)]
    yield Figure("pipe", "export | transform | load against the same bound as run",
                 best / median(samples), candidate=round(bench.rows / median(samples), 1),
                 bound=round(bench.rows / best, 1), unit="rows/s",
                 noise=spread([sample.seconds for sample in samples]))


# ---- memory ---------------------------------------------------------------------------------------

MEGABYTE = 1 << 20
MEMORY_DEFAULT = 512  # MiB: what --max-memory is when nobody says


def peaks(bench, rows):
    """The most memory of each tool, in bytes."""
    world, source = bench.world, bench.world.v3(rows)
    node = world.node("node_0")
    manifest, out = world.manifest(source, [node]), os.path.join(world.folder, "peak")
    peak = {"xmtp-migrate": bench.run(source).peak_bytes}
    manifest = world.manifest(source, [world.target.dsn("node_0")])
    peak["xmtp-parity"] = bench.tool("xmtp-parity", manifest, "check").peak_bytes
    manifest = world.manifest(source, [world.node("node_0")])
    for name, words in (("xmtp-export", ["--out", out + "-r.tar"]),
                        ("xmtp-transform", ["--in", out + "-r.tar", "--out", out + "-e.tar"]),
                        ("xmtp-load", ["--in", out + "-e.tar"])):
        peak[name] = bench.tool(name, manifest, *words).peak_bytes
    for kind in "re":
        os.unlink(f"{out}-{kind}.tar")
    return peak


def memory(bench):
    few, many = peaks(bench, bench.rows // 10), peaks(bench, bench.rows)
    for tool, peak in many.items():
        yield Figure("memory", f"{tool}: most memory at {bench.rows:,} rows",
                     peak / MEGABYTE, MEMORY_DEFAULT + 64, True,
                     candidate=round(peak / MEGABYTE, 1),
                     bound=round(few[tool] / MEGABYTE, 1), unit="MiB")
        yield Figure("memory", f"{tool}: more memory at {bench.rows:,} rows than at "
                     f"{bench.rows // 10:,}", peak / few[tool], 1.1, True,
                     candidate=round(peak / MEGABYTE, 1),
                     bound=round(few[tool] / MEGABYTE, 1), unit="MiB")


# ---- parity ---------------------------------------------------------------------------------------


def parity_modes(bench):
    """What --signatures takes, or nothing when there is no such option."""
    text = subprocess.run(["xmtp-parity", "check", "--help"], capture_output=True, text=True,
                          env=bench.runner.environment).stdout
    if "--signatures" not in text:
        return [("", 1.0)]
    return [("all", 1.0), ("sample:10", 0.1), ("none", 0.0)]


def parity(bench):
    world, source = bench.world, bench.world.v3(bench.rows)
    bench.run(source, 2)
    names = ("node_0", "node_1")
    manifest = world.manifest(source, [world.target.dsn(name) for name in names])
    out = bench.copy_out(bench.rows) + sum(
        bench._used([bench.runner.timed(*bench.bounds().copy_node_out(world.target.dsn(name)),
                                        servers=world.servers)]) for name in names)
    for mode, share in parity_modes(bench):
        words = ["--signatures", mode] if mode else []
        samples = [bench.tool("xmtp-parity", manifest, "check", *words, servers=world.servers)
                   for _ in range(bench.repeat)]
        checked = 2 * len(names) * share * bench.signed_rows(bench.rows)
        best = (out + checked * bench.signing()[1]) / os.cpu_count()
        name = f" --signatures {mode}" if mode else ""
        yield Figure("parity", f"parity check{name} of two nodes against COPY out and recovery",
                     best / median(samples), 0.8,
                     candidate=round(bench.rows / median(samples), 1),
                     bound=round(bench.rows / best, 1), unit="rows/s",
                     noise=spread([sample.seconds for sample in samples]))
        yield Figure("parity", f"parity check{name}: most memory",
                     median(samples, "peak_bytes") / MEGABYTE, 256, True,
                     candidate=round(median(samples, "peak_bytes") / MEGABYTE, 1), unit="MiB")


CASES = {
    "keccak": keccak,
    "transform": transform,
    "tar": tar,
    "export": export,
    "bulk": bulk,
    "staging": staging,
    "run": whole,
    "nodes": nodes,
    "rows": scaling,
    "large": shape("large", "one row of 4 MB among small ones against none", large=True),
    "sparse": shape("sparse", "200 million empty ids before the first row against none",
                    sparse=True),
    "pipe": pipe,
    "memory": memory,
    "parity": parity,
}
