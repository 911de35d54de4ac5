"""xmtp-migrate follow in a process of its own, writers at its source, and whether the nodes got all
that arrived."""

import json
import signal
import threading
import time

import pytest

from .servers import psql, rows
from .world import BLOB, META, TABLES, assert_closes, digest_of_node, world  # noqa: F401

ORIGINATORS = {"group_messages": 10, "welcome_messages": 11, "key_packages": 13}


def is_commit(data):
    """What the bytes of an MLS message say."""
    data = bytes.fromhex(data)
    place = 4 + 1 + data[4] + 8
    if data[3] == 1:
        place += 1 + (4 if data[place] in (1, 2) else 0) + 1
    return data[place] == 3


class Arrivals:
    """The rows that V3 gives ids to from now on."""

    def __init__(self, world):
        self.world = world
        self.begin = {table: self._last(table) for table in ORIGINATORS}

    def _last(self, table):
        return int(psql(self.world.v3, "SELECT last_value - (NOT is_called)::int FROM"
                                       f" {table}_{TABLES[table]}_seq"))

    def wanted(self, table):
        """Ids that belong on a node: of messages, all but commits."""
        column, bounds = TABLES[table], f"{TABLES[table]} > {self.begin[table]}"
        if table != "group_messages":
            found = psql(self.world.v3, f"SELECT {column} FROM {table} WHERE {bounds}")
            return {int(id) for id in found.split()}
        found = rows(self.world.v3, f"""SELECT id, is_commit,
            CASE WHEN is_commit IS NULL THEN encode(data, 'hex') END FROM {table} WHERE {bounds}""")
        return {int(id) for id, says, data in found
                if not (is_commit(data) if says == "" else says == "t")}

    def there(self, dsn, table, of=META):
        """Ids that a node has, as often as it has them."""
        return [int(id) for id in psql(dsn, f"""SELECT originator_sequence_id FROM {of}
            WHERE originator_node_id = {ORIGINATORS[table]}
            AND originator_sequence_id > {self.begin[table]}""").split()]

    def missing(self, dsn):
        return sum(len(self.wanted(table) - set(self.there(dsn, table))) for table in ORIGINATORS)

    def judge(self, pruned=frozenset()):
        """Compares the sets, and says what was found; pruned: (table, id) of rows that the source
        may have lost since."""
        said = []
        for name, dsn in self.world.nodes.items():
            missing = double = extra = 0
            for table in ORIGINATORS:
                wanted = self.wanted(table)
                gone = {id for of, id in pruned if of == table}
                for part in (META, BLOB):
                    there = self.there(dsn, table, part)
                    missing += len(wanted - set(there))
                    double += len(there) - len(set(there))
                    extra += len(set(there) - wanted - gone)
            said.append(f"{name}: {missing} missing, {double} double, {extra} extra")
            assert missing == double == extra == 0, said
        return "; ".join(said)

    def count(self):
        return sum(len(self.wanted(table)) for table in ORIGINATORS)


class Follow:
    """xmtp-migrate follow in a process of its own."""

    def __init__(self, world, start_tool, *options, arrivals=None):
        self.world, self.arrivals = world, arrivals or Arrivals(world)
        self.process = start_tool("xmtp-migrate", "follow", "--manifest", str(world.manifest),
                                  "--json", *map(str, options))
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)

    @property
    def err(self):
        return "".join(self.lines)

    def await_line(self, text, seconds=60):
        deadline = time.monotonic() + seconds
        while text not in self.err:
            assert self.process.poll() is None and time.monotonic() < deadline, self.err
            time.sleep(0.02)

    def await_rows(self, seconds=60):
        """Until the nodes hold as many rows as the source leads to."""
        deadline = time.monotonic() + seconds
        while any(self.missing(dsn) for dsn in self.world.nodes.values()):
            assert self.process.poll() is None and time.monotonic() < deadline, self.err
            time.sleep(0.05)

    def missing(self, dsn):
        """How many of the rows that arrived since it began a node lacks."""
        return self.arrivals.missing(dsn)

    def stop(self, status=0):
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        out = self.process.stdout.read()
        assert self.process.wait(timeout=30) == status, self.err
        self.reader.join()
        assert time.monotonic() - begun < 15
        return json.loads(out) if out else None

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()


@pytest.fixture
def follow(world, start_tool):  # noqa: F811
    def start(*options, **others):
        return Follow(world, start_tool, *options, **others)

    return start


def live(world, start_tool, seconds, *options, rate=300):  # noqa: F811
    return start_tool("xmtp-seed", "live", "--dsn", world.v3, "--rate", str(rate), "--for",
                      str(seconds), "--writers", "8", "--json", *map(str, options))


def assert_whole(world, status=0):  # noqa: F811
    """The source's set, on every node, and books that close."""
    account = world.status(status)
    assert_closes(account)
    world.parity(status)
    assert len({digest_of_node(dsn) for dsn in world.nodes.values()}) == 1
    return account
