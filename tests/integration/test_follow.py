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


def test_late_commits_are_not_missed_however_often_it_is_killed(world, follow, start_tool):
    world.seed(800)
    world.run()
    writing = live(world, start_tool, 20, "--hold-ms", 2000, "--rollback-percent", 10)
    chance = random.Random(5)
    for _ in range(5):
        following = follow()
        following.await_line("following run")
        time.sleep(chance.uniform(0.2, 3))
        following.kill()
    following = follow()
    assert writing.wait(timeout=90) == 0
    following.await_rows()
    assert following.stop()["verdict"] == "green"
    assert_whole(world)


def test_a_transaction_that_is_held_open_delays_its_own_table_alone(world, follow):
    world.seed(800)
    following = follow()
    following.await_line("following run")
    with held(world.v3, insert_message("held back")):
        late = add_message(world.v3, "behind it")
        time.sleep(6)
        package = psql(world.v3, """INSERT INTO welcome_messages (installation_key, data,
            hpke_public_key, installation_key_data_hash) VALUES (sha256('k'), '\\x0102',
            sha256('h'), sha256('kd')) RETURNING id""")
        deadline = time.monotonic() + 10
        while not count(world.alpha, META, f"originator_node_id = 11 AND originator_sequence_id = "
                                           f"{package}"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not count(world.alpha, META, f"originator_node_id = 10 AND originator_sequence_id ="
                                            f" {late}")
        assert "writers of group_messages: pid" in following.err
        assert "rows drawn since then wait for its end" in following.err
    following.await_rows(10)
    assert following.stop()["verdict"] == "green"
    assert_whole(world)


def test_a_node_that_goes_and_comes_back_is_caught_up_while_the_other_goes_on(
        world, follow, start_tool, new_server, tool):
    apart = new_server()
    world.nodes["beta"] = apart.create_database()
    tool("xmtp-seed", "schema", "node", "--dsn", world.beta, "--node-id", 200)
    world.write()
    world.seed(800)
    following = follow()
    following.await_line("following run")
    live(world, start_tool, 2).wait(timeout=60)
    apart.stop(signal.SIGQUIT)
    live(world, start_tool, 3).wait(timeout=60)
    while following.missing(world.alpha):
        time.sleep(0.1)
    apart.start()
    following.await_line("node 'beta' is back")
    live(world, start_tool, 2).wait(timeout=60)
    following.await_rows()
    assert following.stop()["verdict"] == "green"
    assert_whole(world)


def test_a_source_that_restarts_is_followed_on(world, follow, start_tool, new_server, tool):
    # What V3 has answered for must have been written.
    apart = new_server(synchronous_commit="on")
    world.v3 = apart.create_database()
    tool("xmtp-seed", "schema", "v3", "--dsn", world.v3)
    world.write()
    world.seed(800)
    following = follow()
    following.await_line("following run")
    live(world, start_tool, 2).wait(timeout=60)
    apart.stop(signal.SIGQUIT)
    time.sleep(1)
    apart.start()
    following.await_line("connected again")
    live(world, start_tool, 2).wait(timeout=60)
    following.await_rows()
    assert following.stop()["verdict"] == "green"
    assert_whole(world)


def test_what_the_pruner_takes_away_meanwhile_is_no_error(world, follow, start_tool):
    world.seed(1500)
    following = follow()
    following.await_line("following run")
    writing = live(world, start_tool, 5)
    while writing.poll() is None:
        psql(world.v3, "DELETE FROM group_messages WHERE created_at < now() - interval '31 days'")
        time.sleep(0.2)
    following.await_rows()
    assert following.stop()["verdict"] == "green"
    assert world.status()["verdict"] == "green"
    world.parity()


def test_a_source_that_was_set_back_stops_it(world, follow):
    world.seed(800)
    following = follow()
    following.await_line("following run")
    add_message(world.v3, "one")
    add_message(world.v3, "two")
    following.await_rows()
    time.sleep(0.5)
    psql(world.v3, "SELECT setval('group_messages_id_seq', 5)")
    assert following.process.wait(timeout=30) == 1
    following.reader.join()
    assert "restored from a backup" in following.err


def test_another_database_that_answers_in_the_sources_place_stops_it(
        world, follow, new_server, tool):
    servers = [new_server(), new_server()]
    servers[1].create_database("before")  # so that the second one has other oids
    dsns = [server.create_database("v3") for server in servers]
    for dsn in dsns:
        tool("xmtp-seed", "schema", "v3", "--dsn", dsn)
    add_message(dsns[0], "one")
    ports = ",".join(str(server.port) for server in servers)
    world.v3 = dsns[0]
    world.write(source=f"host=127.0.0.1,127.0.0.1 port={ports} user=postgres dbname=v3")
    following = follow()
    following.await_line("following run")
    for text in ("another one", "another two"):
        add_message(dsns[1], text)
    servers[0].stop(signal.SIGQUIT)
    assert following.process.wait(timeout=30) == 1
    following.reader.join()
    assert "is another database" in following.err and "--source-moved" in following.err
    assert {count(dsn, META) for dsn in world.nodes.values()} == {1}


def test_a_second_one_is_refused_by_name_and_a_dead_one_is_taken_over(world, follow):
    world.seed(800)
    first = follow()
    first.await_line("following run")
    refused = world.migrate("follow", status=5)
    assert f"pid {first.process.pid}" in refused.err and "since" in refused.err
    first.kill()
    second = follow()
    second.await_line("following run")
    second.stop()


def test_rows_above_the_sequence_are_brought_and_counted_once_it_passes_them(world, follow):
    world.seed(800)
    following = follow()
    following.await_line("following run")
    last = int(psql(world.v3, "SELECT last_value FROM group_messages_id_seq"))
    add_message(world.v3, "by hand", id=last + 3)
    following.stop()
    assert count(world.alpha, META, f"originator_node_id = 10 AND originator_sequence_id ="
                                    f" {last + 3}") == 1
    assert_whole(world)
    following = follow()
    following.await_line("following run")
    for text in "abcde":
        psql(world.v3, f"DO $$ BEGIN {insert_message(text)}; EXCEPTION WHEN unique_violation THEN"
                       " NULL; END $$")
    following.await_rows()
    following.stop()
    account = assert_whole(world)
    assert account["verdict"] == "green"


def test_a_node_that_never_had_anything_gets_all_of_it(world, follow, start_tool, new_server, tool):
    apart = new_server()
    beta = apart.create_database()
    tool("xmtp-seed", "schema", "node", "--dsn", beta, "--node-id", 200)
    world.seed(9000)
    world.nodes.pop("beta")
    world.write()
    world.run()
    world.nodes["beta"] = beta
    world.write()
    apart.stop(signal.SIGQUIT)
    following = follow()
    following.await_line("following run")
    live(world, start_tool, 2).wait(timeout=60)
    apart.start()
    following.await_line("node 'beta' is back")
    live(world, start_tool, 2).wait(timeout=60)
    following.await_rows()
    assert following.stop()["verdict"] == "green"
    assert_whole(world)
