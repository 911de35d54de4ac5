"""What a live source and its nodes can do to us at their worst. Some seconds each; ci/torture takes
a minute for each, and shows what is printed here."""

import contextlib
import json
import os
import random
import signal
import threading
import time

from support.following import Arrivals, assert_whole, follow, live  # noqa: F401
from support.servers import psql, rows
from support.stopwatch import Session, Stopwatch, share
from support.world import apart, assert_closes, digest_of_node, world  # noqa: F401

SECONDS = int(os.environ.get("MIG_TORTURE_SECONDS", "6"))
HOLD_MS = SECONDS * 5000 // 60
KILLS = 5


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


class Torture:
    """Follow, killed again and again while there are writers."""

    def __init__(self, world, follow):
        self.world, self.follow, self.lives = world, follow, []
        world.seed(800)
        world.run()
        self.arrivals = Arrivals(world)

    def start(self):
        self.lives.append(self.follow(arrivals=self.arrivals))

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

    @property
    def err(self):
        return "".join(life.err for life in self.lives)

    def end(self, title, *figures, pruned=frozenset()):
        self.lives[-1].await_rows()
        account = self.lives[-1].stop()
        assert account["verdict"] == "green", account
        assert_closes(self.world.status())
        parity = self.world.parity()
        assert len({digest_of_node(dsn) for dsn in self.world.nodes.values()}) == 1
        print(f"\n{title}: {'; '.join(figures)}; {self.arrivals.count()} rows of them for nodes;"
              f" {self.arrivals.judge(pruned)}; account and parity green", flush=True)
        return parity


def test_late_commits_are_not_missed_however_often_it_is_killed(world, follow, start_tool):
    torture = Torture(world, follow)
    writing = holding(world, start_tool, SECONDS)
    torture.kill(SECONDS)
    torture.end("late commits", f"{SECONDS} s", told(writing), f"follow killed {KILLS} times")


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
    torture.end(f"open transaction of {seconds} s that wrote to welcome_messages",
                told(writing), f"follow killed {KILLS} times, names pid {pid}",
                f"welcomes came after {lags['welcome_messages']}",
                f"messages after {lags['group_messages']}")


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
    parity = torture.end("pruner", f"{SECONDS} s", told(writing), f"follow killed {KILLS} times",
                         f"{len(pruner.pruned)} rows pruned meanwhile", pruned=pruner.pruned)
    assert json.dumps(parity)
