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
    path: str  # bulk, staging, or the carrier of a bundle
    nodes: int = 1
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
    def place(self, worlds, **options):
        return super().place(worlds, state="rows" if self.path == "staging" else "empty", **options)

    def words(self, place):
        return ("xmtp-migrate", "run", "--manifest", place.manifest, "--as-of", UNTIL, "--json",
                "--source-connections", "2")

    def is_done(self, place):
        return all(psql(dsn, """SELECT to_regclass('xmtp_migrate.runs') IS NOT NULL""") == "t" and
                   psql(dsn, """SELECT count(*) > 0 AND bool_and(finished_at IS NOT NULL)
                        FROM xmtp_migrate.runs""") == "t" for dsn in place.nodes)


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


class Follow(Case):
    """From where a run ended; it goes on until it is asked to stop. What it pins is its own, so that
    only what it brings is compared."""

    verb = "follow"

    def place(self, worlds, **options):
        return super().place(worlds, state="run", v3="grown", **options)

    def words(self, place):
        return ("xmtp-migrate", "follow", "--manifest", place.manifest)

    def has_all(self, place):
        wanted = psql(place.source, """
            SELECT 'group_messages', max(id) FROM group_messages WHERE id < 1e9 UNION ALL
            SELECT 'welcome_messages', max(id) FROM welcome_messages WHERE id < 1e9 ORDER BY 1""")
        return all(psql(dsn, """SELECT source_table, last_migrated_id FROM migration_tracker
                   WHERE source_table IN ('group_messages', 'welcome_messages') ORDER BY 1""") == wanted
                   for dsn in place.nodes)

    def state_of_nodes(self, place, books=False):
        return super().state_of_nodes(place, books)

    def account(self, place, out):
        return {}


CASES = [
    Run("run", "bulk", 1), Run("run", "bulk", 2), Run("run", "staging", 1),
    Run("run", "staging", 2),
    Export("export", "folder", 0), Export("export", "tar", 0),
    Transform("transform", "folder", 0), Transform("transform", "tar", 0),
    Load("load", "bulk", 1), Load("load", "bulk", 2), Load("load", "staging", 1),
    Load("load", "staging", 2),
    Retry("retry", "staging", 1), Retry("retry", "staging", 2),
    Follow("follow", "staging", 1), Follow("follow", "staging", 2),
]
