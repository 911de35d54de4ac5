"""What a live source and its nodes can do to us at their worst. Some seconds each; ci/torture takes
a minute for each, and shows what is printed here."""

import contextlib
import json
import os
import random
import signal
import threading
import time

import pytest

from support.following import Arrivals, follow, live  # noqa: F401
from support.servers import Standby, psql, rows
from support.stopwatch import Session, Stopwatch, share
from support.world import apart, assert_closes, count, digest_of_node, world, META  # noqa: F401

SECONDS = int(os.environ.get("MIG_TORTURE_SECONDS", "6"))
HOLD_MS = SECONDS * 5000 // 60
KILLS = 5
SERVER_KILLS = max(2, min(KILLS, SECONDS // 10))  # of each
SERVER_KILL_S = max(1.5, SECONDS / SERVER_KILLS / 2)


def holding(world, start_tool, seconds):
    """Writers that hold each id for up to a twelfth of the time, and give one in ten away."""
    return live(world, start_tool, seconds, "--hold-ms", HOLD_MS, "--rollback-percent", 10)


def told(writing):
    """What writers say that they did."""
    out, err = writing.communicate(timeout=60)
    assert writing.returncode == 0, err
    did = json.loads(out)
    assert did["out_of_order"] and did["rolled_back"]
    return (f"{sum(did['committed'].values())} rows committed by 8 writers,"
            f" {did['out_of_order']} of them after a higher id, {did['rolled_back']} rolled back")


def tell(title, *figures):
    print(f"\n{title}: {'; '.join(figures)}", flush=True)


class Torture:
    """Follow, killed again and again while there are writers."""

    def __init__(self, world, follow):
        self.world, self.follow, self.lives = world, follow, []
        world.seed(800)
        world.run()
        self.arrivals = Arrivals(world)

    def start(self):
        self.lives.append(self.follow(arrivals=self.arrivals))
        return self.lives[-1]

    def kill(self, seconds):
        """KILLS times in all that time; leaves one running."""
        chance = random.Random(5)
        self.start()
        for _ in range(KILLS):
            after = chance.uniform(0.2, 0.8) * seconds / KILLS
            time.sleep(after)
            self.lives[-1].kill()
            self.start()
            time.sleep(seconds / KILLS - after)

    def begin(self):
        """Until it follows; who begins while a server is away is told to come again."""
        while "following run" not in self.lives[-1].err:
            if self.lives[-1].process.poll() is not None:
                assert self.lives[-1].process.returncode == 5, self.lives[-1].err
                self.start()
            time.sleep(0.1)

    @property
    def err(self):
        return "".join(life.err for life in self.lives)

    def end(self, pruned=frozenset()):
        """Gives the report of parity, and what was seen."""
        self.lives[-1].await_rows()
        account = self.lives[-1].stop()
        assert account["verdict"] == "green", account
        assert_closes(self.world.status())
        parity = self.world.parity()
        assert len({digest_of_node(dsn) for dsn in self.world.nodes.values()}) == 1
        return parity, (f"{self.arrivals.count()} rows for nodes;"
                        f" {self.arrivals.judge(pruned)}; account and parity green")


def test_late_commits_are_not_missed_however_often_it_is_killed(world, follow, start_tool):
    torture = Torture(world, follow)
    writing = holding(world, start_tool, SECONDS)
    torture.kill(SECONDS)
    wrote = told(writing)
    _, seen = torture.end()
    tell("late commits", f"{SECONDS} s", wrote, f"follow killed {KILLS} times", seen)


@contextlib.contextmanager
def open_transaction(world, seconds):
    """Writes a welcome, and commits it after that time; gives the server's process."""
    session = Session(world.v3)
    pid = session.ask("""BEGIN; INSERT INTO welcome_messages (installation_key, data,
        hpke_public_key, installation_key_data_hash) VALUES (sha256('k'), '\\x0102', sha256('h'),
        sha256('held')); SELECT pg_backend_pid()""")
    until = time.monotonic() + seconds
    yield pid
    time.sleep(max(0, until - time.monotonic()))
    assert session.ask("COMMIT; SELECT 'committed'") == "committed"
    session.close()


def test_an_open_transaction_delays_its_own_table_alone_and_is_named(world, follow, start_tool):
    seconds = max(7, SECONDS // 2)
    torture = Torture(world, follow)
    writing = holding(world, start_tool, 2 * seconds)
    with open_transaction(world, seconds) as pid:
        watches = {table: Stopwatch(world.v3, world.nodes.values(), table, every_s=0.2)
                   for table in ("group_messages", "welcome_messages")}
        torture.kill(seconds - 0.5)
        arrived = {table: len(watch.lags) for table, watch in watches.items()}
    assert f"writers of welcome_messages: pid {pid}, in a transaction for" in torture.err
    assert "rows drawn since then wait for its end" in torture.err
    assert arrived["group_messages"] and not arrived["welcome_messages"], arrived
    time.sleep(1)
    for watch in watches.values():
        watch.stop()
        assert not watch.committed
    lags = {table: f"{share(watch.lags, 0.5) / 1000:.1f} s, at most"
                   f" {share(watch.lags, 1) / 1000:.1f} s" for table, watch in watches.items()}
    wrote = told(writing)
    _, seen = torture.end()
    tell(f"open transaction of {seconds} s that wrote to welcome_messages", wrote,
         f"follow killed {KILLS} times, names pid {pid}",
         f"welcomes came after {lags['welcome_messages']}",
         f"messages after {lags['group_messages']}", seen)


class Pruner:
    """V3's, beside writers whose rows are about to expire."""

    EXPIRED = {"group_messages": 30, "welcome_messages": 90}

    def __init__(self, dsn):
        self.dsn, self.pruned, self.enough = dsn, set(), threading.Event()
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self):
        number = 0
        while not self.enough.wait(0.2):
            number += 1
            # Some expire before they can be read, some just after.
            psql(self.dsn, f"""
                INSERT INTO group_messages (created_at, group_id, data, group_id_data_hash)
                SELECT now() - interval '30 days' + i * interval '0.2 s', group_id, data,
                    sha256('aged {number} ' || i::text::bytea)
                FROM (SELECT * FROM group_messages WHERE NOT is_commit ORDER BY id DESC LIMIT 1) g,
                    generate_series(1, 10) i""")
            self.prune()

    def prune(self):
        for table, days in self.EXPIRED.items():
            self.pruned |= {(table, int(id)) for id, in rows(
                self.dsn, f"""DELETE FROM {table} WHERE created_at <= now() - interval '{days} days'
                RETURNING id""")}

    def stop(self):
        self.enough.set()
        self.thread.join()
        time.sleep(2.1)
        self.prune()


def test_what_the_pruner_takes_away_meanwhile_is_no_error(world, follow, start_tool):
    torture = Torture(world, follow)
    pruner = Pruner(world.v3)
    writing = holding(world, start_tool, SECONDS)
    torture.kill(SECONDS)
    pruner.stop()
    wrote = told(writing)
    parity, seen = torture.end(pruner.pruned)
    of_nodes = parity["kinds"]["group_messages"]["nodes"]
    held = [node["pruned_at_source"] for node in of_nodes.values()]
    assert min(held) > 0
    tell("pruner", f"{SECONDS} s", wrote, f"follow killed {KILLS} times",
         f"{len(pruner.pruned)} rows pruned meanwhile, {held[0]} of them after nodes had them", seen)


class Writers:
    """xmtp-seed live again and again, whenever there is a source."""

    def __init__(self, world, start_tool):
        self.world, self.start_tool, self.enough = world, start_tool, threading.Event()
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self):
        while not self.enough.is_set():
            writing = live(self.world, self.start_tool, 600, "--hold-ms", 100, rate=100)
            while writing.poll() is None and not self.enough.wait(0.05):
                pass
            writing.terminate()
            writing.wait()
            time.sleep(0.05)

    def stop(self):
        self.enough.set()
        self.thread.join()


def kill_in_turn(servers, process=None):
    """Each of them as often, every few seconds."""
    chance = random.Random(7)
    for turn in range(2 * SERVER_KILLS):
        time.sleep(SERVER_KILL_S)
        assert not process or process.poll() is None, f"ended before kill {turn + 1}"
        server = servers[("source", "beta")[turn % 2]]
        server.stop(signal.SIGQUIT)
        time.sleep(chance.uniform(0, 1))
        server.start()


def test_servers_that_are_killed_in_turn_don_t_keep_follow_from_getting_there(
        world, apart, follow, start_tool):
    torture = Torture(world, follow)
    writers = Writers(world, start_tool)
    following = torture.start()
    following.await_line("following run")
    kill_in_turn(apart, following.process)
    writers.stop()
    _, seen = torture.end()
    tell("servers killed during follow", f"source and beta {SERVER_KILLS} times each",
         f"{torture.err.count('trying again')} tries again,"
         f" {torture.err.count('connected again')} times a connection to the source was made anew,"
         f" {torture.err.count('is back')} times the node was back", seen)


def test_follow_and_servers_are_killed_at_once(world, apart, follow, start_tool):
    torture = Torture(world, follow)
    writers = Writers(world, start_tool)
    killing = threading.Thread(target=kill_in_turn, args=(apart,))
    killing.start()
    torture.kill(max(SECONDS, 2 * SERVER_KILLS * SERVER_KILL_S))
    killing.join()
    writers.stop()
    torture.begin()
    _, seen = torture.end()
    tell("follow and servers killed at once", f"follow {KILLS} times, source and beta"
         f" {SERVER_KILLS} times each", seen)


def start_run(world, start_tool, rows, seconds):
    """A run that takes this long at least."""
    world.seed(rows)
    return start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest), "--json",
                      "--max-rate", str(rows // seconds))


def end_run(world, process, title, *figures):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    account = json.loads(out)
    assert_closes(account)
    assert account["verdict"] == "green"
    world.parity()
    assert len({digest_of_node(dsn) for dsn in world.nodes.values()}) == 1
    tell(title, *figures, f"{err.count('trying again')} tries again",
         f"{count(world.beta, META)} rows at nodes", "account and parity green, nodes equal")


def test_servers_that_are_killed_in_turn_don_t_keep_a_run_from_its_end(
        world, apart, start_tool, tool):
    # Both nodes, for a run goes on with those it has.
    world.nodes["alpha"] = apart["beta"].create_database()
    tool("xmtp-seed", "schema", "node", "--dsn", world.alpha, "--node-id", 100)
    world.write()
    process = start_run(world, start_tool, 6000, int(4 + 3 * SERVER_KILLS * SERVER_KILL_S))
    kill_in_turn(apart, process)
    end_run(world, process, "servers killed during run", f"the source and both nodes {SERVER_KILLS} times each")


# ---- failover -----------------------------------------------------------------------------------


class Pair:
    """A server and its standby, without which nothing is committed."""

    def __init__(self, primary, standby):
        self.primary, self.standby = primary, standby
        psql(primary.dsn(), "ALTER SYSTEM SET synchronous_standby_names = '*'")
        psql(primary.dsn(), "SELECT pg_reload_conf()")
        while psql(primary.dsn(), "SELECT sync_state FROM pg_stat_replication") != "sync":
            time.sleep(0.05)

    def create_database(self, *attributes):
        """Gives a DSN that names both."""
        name = self.primary.create_database().split("dbname=")[1]
        return " ".join([f"host=127.0.0.1,127.0.0.1 port={self.primary.port},{self.standby.port}"
                         f" user=postgres dbname={name}", *attributes])

    def fail_over(self):
        self.primary.stop(signal.SIGQUIT)
        time.sleep(1.5)  # what comes back meanwhile meets a standby
        psql(self.standby.dsn(), "SELECT pg_promote()")


@pytest.fixture(params=["source", "beta"])
def pair(request, world, new_server, tool):
    """The source or beta is a pair; a node's DSN doesn't say that it must be writable."""
    primary = new_server(synchronous_commit="on")
    with Standby(primary) as standby:
        pair = Pair(primary, standby)
        if request.param == "source":
            world.v3 = pair.create_database("target_session_attrs=read-write")
            tool("xmtp-seed", "schema", "v3", "--dsn", world.v3)
        else:
            world.nodes["beta"] = pair.create_database()
            tool("xmtp-seed", "schema", "node", "--dsn", world.beta, "--node-id", 200)
        pair.title = f"failover of {request.param}"
        world.write()
        yield pair


def test_a_run_goes_on_at_the_standby_that_took_over(world, pair, start_tool):
    process = start_run(world, start_tool, 6000, 6)
    while not count(world.beta, META):
        assert process.poll() is None
        time.sleep(0.05)
    pair.fail_over()
    end_run(world, process, pair.title + " during run")


def test_follow_goes_on_at_the_standby_that_took_over(world, pair, follow, start_tool):
    torture = Torture(world, follow)
    writers = Writers(world, start_tool)
    torture.start().await_line("following run")
    time.sleep(1)
    pair.fail_over()
    time.sleep(2)
    writers.stop()
    _, seen = torture.end()
    tell(pair.title + " during follow", seen)
