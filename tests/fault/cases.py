"""The commands that faults meet: what each begins with, its words, and what it leaves."""

import dataclasses
import re

from support import state
from support.servers import psql

from .worlds import UNTIL, Place

RUN_NAME = re.compile(r"[0-9a-f]{32}")
BEGINNING = re.compile(r"^(manifest\.json|.*\.key|counts)$")


@dataclasses.dataclass(frozen=True)
class Case:
    command: str
    path: str  # bulk, staging, the carrier of a bundle, or what else it meets
    nodes: int = 1
    long: bool = False  # not among the short forms
    servers = ("source", "nodes")  # which it talks to
    verb = "run"  # of xmtp-migrate, which a build must have

    @property
    def name(self):
        return f"{self.command} {self.path} {self.nodes}" if self.nodes else \
            f"{self.command} {self.path}"

    def place(self, worlds, **options):
        return Place(worlds, nodes=self.nodes, **options)

    def words(self, place):
        raise NotImplementedError

    def is_done(self, place):
        """Whether a process that was killed had done all there was to do."""
        return False

    def has_all(self, place):
        """Of a command that has no end of its own: whether it may be asked to stop. None: it has."""
        return None

    def state(self, place, out):
        """What is there once the command has ended; out is what it printed."""
        return {**self.state_of_nodes(place), **self.files(place), **self.account(place, out)}

    def state_of_nodes(self, place, books=True):
        return {(name, what): lines for name, dsn in zip(place.databases, place.nodes)
                for name in [name.split("_")[0]]
                for what, lines in state.of_node(dsn, books).items()}

    def account(self, place, out):
        return {"account": state.of_account(out)}

    def files(self, place):
        """Whatever lies in the folder; bundles are read."""
        found = {}
        for path in sorted(place.folder.iterdir()):
            if BEGINNING.match(path.name):
                continue
            name = RUN_NAME.sub("RUN", path.name)
            if path.is_dir() or path.suffix == ".tar":
                found.update({f"{name}: {file}": content
                              for file, content in state.of_bundle(path).items()})
            else:
                found[name] = [path.name]
        return found


class Run(Case):
    """away: the second node has never had anything; beside: the Go migrator was here before; again:
    a run is done, and rows and standings of key packages have changed since."""

    STATES = {"bulk": "empty", "staging": "rows", "away": ("run", "empty"), "beside": "beside",
              "again": "run"}

    def place(self, worlds, **options):
        return super().place(worlds, state=self.STATES[self.path],
                             v3="grown" if self.path == "again" else "as_run", **options)

    def words(self, place):
        return ("xmtp-migrate", "run", "--manifest", place.manifest, "--as-of", UNTIL, "--json",
                "--source-connections", "2")

    def is_done(self, place):
        return all(psql(dsn, """SELECT to_regclass('xmtp_migrate.runs') IS NOT NULL""") == "t" and
                   psql(dsn, """SELECT count(*) > 0 AND bool_and(finished_at IS NOT NULL)
                        FROM xmtp_migrate.runs""") == "t" for dsn in place.nodes)


class Late(Run):
    """Of a run that had settled by time, and is not finished: its books are reopened."""

    def place(self, worlds, **options):
        place = Case.place(self, worlds, state="run", v3="late", **options)
        for dsn in place.nodes:
            psql(dsn, """UPDATE xmtp_migrate.runs
                SET by_time = true, finished_at = NULL, told_at = NULL""")
        return place


class Bundle(Case):
    """path is the suffix of the bundle: none is a folder."""

    def out(self, place):
        return place.folder / ("out" + (".tar" if self.path == "tar" else ""))

    def account(self, place, out):
        return {}

    def is_done(self, place):
        out = self.out(place)
        return out.is_file() or (out / "index.json").exists()


class Export(Bundle):
    """By one connection: of two, now one is the faster and now the other, and parts come in turn."""

    servers = ("source",)

    def words(self, place):
        return ("xmtp-export", "--manifest", place.manifest, "--as-of", UNTIL, "--out",
                self.out(place))


class Transform(Bundle):
    servers = ()

    def words(self, place):
        rows = place.worlds.bundle("rows", self.out(place).suffix)
        return ("xmtp-transform", "--manifest", place.manifest, "--in", rows, "--out",
                self.out(place))


class Load(Case):
    """On the staging path it counts usage as well, which keeps it from the other one."""

    servers = ("nodes",)

    def place(self, worlds, **options):
        policy = {"usage": "count"} if self.path == "staging" else None
        return super().place(worlds, policy=policy, **options)

    def words(self, place):
        envelopes = place.worlds.bundle("envelopes", ".tar" if self.nodes == 1 else "")
        return ("xmtp-load", "--manifest", place.manifest, "--in", envelopes, "--json")


class Retry(Case):
    """Some rows have been mended since the run, others have not."""

    def place(self, worlds, **options):
        return super().place(worlds, state="run", v3="mended", **options)

    def words(self, place):
        return ("xmtp-migrate", "rejected", "retry", "--manifest", place.manifest)

    def account(self, place, out):
        return super().account(place, place.tool("xmtp-migrate", "status", "--json",
                                                 statuses=(0, 3, 4)))


class Replace(Retry):
    """Conflicts, by name."""

    def place(self, worlds, **options):
        place = Case.place(self, worlds, state="conflicts", **options)
        place.conflicts = psql(place.nodes[0], """
            SELECT kind || ':' || string_agg(sequence_id::text, ',' ORDER BY sequence_id)
            FROM xmtp_migrate.conflicts GROUP BY kind ORDER BY kind""").split("\n")
        return place

    def words(self, place):
        return super().words(place) + ("--reason", "the other tool was wrong") + tuple(
            word for names in place.conflicts for word in ("--replace-conflicts", names))


class Waive(Retry):
    def words(self, place):
        return ("xmtp-migrate", "rejected", "waive", "--reject-reason", "mls_unparsable",
                "--reason", "nobody can read it", "--manifest", place.manifest)


class Parity(Case):
    """It only reads: what matters is that it never says that it has seen what it has not."""

    def place(self, worlds, **options):
        return super().place(worlds, state="run", **options)

    def words(self, place):
        return ("xmtp-parity", "check", "--manifest", place.manifest, "--json")

    def account(self, place, out):
        return {"report": re.sub(r'"(seconds|[a-z_]*_at|seed)": ?[^,\n]*', "", out).split("\n")}


class Follow(Case):
    """Until it is asked to stop: from where a run ended, or before any (bulk); with a second node
    that another follow has left behind, or that has never had anything (away)."""

    verb = "follow"
    STATES = {"bulk": "empty", "staging": "run", "behind": ("ahead", "run"),
              "away": ("ahead", "empty")}

    def place(self, worlds, **options):
        return super().place(worlds, state=self.STATES[self.path],
                             v3="as_run" if self.path == "bulk" else "grown", **options)

    def words(self, place):
        pinned = ("--as-of", UNTIL) if self.path == "bulk" else ()
        return ("xmtp-migrate", "follow", "--manifest", place.manifest, "--json", *pinned)

    def has_all(self, place):
        return place.has_followed() and all(
            psql(dsn, "SELECT bool_and(finished_at IS NOT NULL) FROM xmtp_migrate.runs",
                 check=False) == "t" for dsn in place.nodes)


CASES = [
    Run("run", "bulk", 1), Run("run", "bulk", 2), Run("run", "staging", 1),
    Run("run", "staging", 2), Run("run", "away", 2, long=True), Run("run", "beside", 1, long=True),
    Run("run", "again", 2, long=True),
    Late("run", "late", 2, long=True),
    Export("export", "folder", 0), Export("export", "tar", 0),
    Transform("transform", "folder", 0), Transform("transform", "tar", 0),
    Load("load", "bulk", 1), Load("load", "bulk", 2), Load("load", "staging", 1),
    Load("load", "staging", 2),
    Retry("retry", "staging", 1), Retry("retry", "staging", 2),
    Replace("replace", "staging", 1, long=True), Replace("replace", "staging", 2, long=True),
    Waive("waive", "staging", 2, long=True),
    Follow("follow", "bulk", 2, long=True), Follow("follow", "staging", 1),
    Follow("follow", "staging", 2), Follow("follow", "behind", 2, long=True),
    Follow("follow", "away", 2, long=True), Parity("parity", "check", 2, long=True),
]
