"""Following a live source: nothing is missed, nobody is waited for in vain, and any end is one to go
on from."""

import json
import random
import signal
import threading
import time

import pytest

from support.servers import psql
from support.world import (  # noqa: F401
    META, TABLES, add_message, assert_closes, count, digest_of_node, held, insert_message, world)


class Follow:
    """xmtp-migrate follow in a process of its own."""

    def __init__(self, world, start_tool, *options):
        self.world = world
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
        while {self.missing(dsn) for dsn in self.world.nodes.values()} != {0}:
            assert self.process.poll() is None and time.monotonic() < deadline, self.err
            time.sleep(0.05)

    def missing(self, dsn):
        """How many of the rows made just now a node lacks."""
        recent = "extract(epoch FROM now() - interval '1 hour')"
        ids = {10: ("group_messages", "id", f"NOT is_commit AND created_at > now() - '1h'::interval"),
               11: ("welcome_messages", "id", "created_at > now() - '1h'::interval"),
               13: ("key_packages", "sequence_id", f"created_at > {recent} * 1e9")}
        missing = 0
        for originator, (table, column, recent) in ids.items():
            there = {int(id) for id in psql(dsn, f"""SELECT originator_sequence_id FROM {META}
                WHERE originator_node_id = {originator}""").split()}
            wanted = {int(id) for id in psql(
                self.world.v3, f"SELECT {column} FROM {table} WHERE {recent}").split()}
            missing += len(wanted - there)
        return missing

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
def follow(world, start_tool):
    def start(*options):
        return Follow(world, start_tool, *options)

    return start


def live(world, start_tool, seconds, *options):
    return start_tool("xmtp-seed", "live", "--dsn", world.v3, "--rate", "300", "--for",
                      str(seconds), "--writers", "8", *map(str, options))


def assert_whole(world, status=0):
    """The source's set, on every node, and books that close."""
    account = world.status(status)
    assert_closes(account)
    world.parity(status)
    assert len({digest_of_node(dsn) for dsn in world.nodes.values()}) == 1
    return account


def test_it_runs_first_and_goes_on_with_what_arrives(world, follow, start_tool):
    world.seed(1500)
    following = follow()
    following.await_line("following run")
    live(world, start_tool, 4).wait(timeout=60)
    following.await_rows()
    account = following.stop()
    assert account["verdict"] == "green", account
    assert "p99" in following.err
    assert_whole(world)
