"""Being a good guest: rates, pauses for lag and for other people's sessions, timeouts; each shown
with its reason, and each over at once when somebody asks to stop."""

import json
import os
import re
import signal
import subprocess
import time

import pytest
from conftest import Databases
from support.servers import Server, Standby, client, psql
from support.world import META, as_user, assert_closes, count, world  # noqa: F401

SECONDS = 30


@pytest.fixture
def sessions():
    """sessions(dsn, sql, n): n sessions of others that run it until the test ends."""
    running = []

    def begin(dsn, sql, number=1):
        begun = [subprocess.Popen([client("psql"), "-XAtqc", sql, dsn], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) for _ in range(number)]
        running.extend(begun)
        return begun

    yield begin
    for one in running:
        one.kill()
        one.wait()


def until(question, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def limit(world, source=None, **nodes):
    def change(document):
        if source:
            document["source"]["limits"] = source
        for node in document["nodes"]:
            if node["name"] in nodes:
                node["limits"] = nodes[node["name"]]
    world.edit(change)


def waiting_for(process, text):
    """Reads progress until it waits for this; gives the line's document."""
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith("{") and text in json.loads(line).get("waiting", ""):
            return json.loads(line)
    raise AssertionError(f"never waited for '{text}': {seen}")


def begin(start_tool, world, *words):
    return start_tool("xmtp-migrate", "run", "--manifest", world.manifest, "--json", "--progress",
                      "json", *words)


def end(process):
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode in (0, 4), err
    account = json.loads(out)
    assert_closes(account)
    return account


def stop(process):
    """Ends it by SIGINT, which must not wait for what it waits for."""
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert time.monotonic() - sent < 5


# ---- rates -------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("run",), ("export", "--out", "rows")])
def test_no_more_rows_are_read_a_second_than_asked_for(world, start_tool, words):
    world.seed(600, seed=1)
    tool = "xmtp-migrate" if words[0] == "run" else "xmtp-export"
    words = words if words[0] == "run" else ("--out", world.folder / "rows")
    began = time.monotonic()
    process = start_tool(tool, *words, "--manifest", world.manifest, "--max-rate", 300,
                         "--progress", "json")
    assert waiting_for(process, "--max-rate 300")["stage"] in ("run", "export")
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode in (0, 4), err
    assert time.monotonic() - began > 600 / 300 - 0.5  # what it may not be faster than


def test_a_slow_rate_ends_at_once_on_request(world, start_tool):
    world.seed(300, seed=1)
    process = begin(start_tool, world, "--max-rate", 1)
    waiting_for(process, "--max-rate 1")
    stop(process)


@pytest.mark.parametrize("rate", ["0", "-1", "fast", "99999999999"])
def test_a_rate_that_is_none_is_a_usage_error(world, rate):
    ran = world.migrate("run", "--max-rate", rate, status=2)
    assert "--max-rate" in ran.err and rate in ran.err


# ---- pauses ------------------------------------------------------------------------------------


def test_reading_pauses_while_others_are_at_work(world, start_tool, sessions):
    world.seed(300, seed=1)
    limit(world, source={"active_sessions": 2})
    busy = sessions(world.v3, "SELECT pg_sleep(60)", 3)
    until(lambda: psql(world.v3, "SELECT count(*) FROM pg_stat_activity"
                                 " WHERE query LIKE 'SELECT pg_sleep%'") == "3")
    process = begin(start_tool, world)
    line = waiting_for(process, "active sessions")
    assert line["waiting"] == "source: 3 active sessions, limit 2"
    assert line["done"] == 0 and count(world.alpha, META) == 0
    psql(world.v3, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                   " WHERE query LIKE 'SELECT pg_sleep%'")
    assert busy
    end(process)
    assert count(world.alpha, META) > 0


@pytest.mark.parametrize("progress", ["plain", "bar"])
def test_a_pause_shows_in_other_forms_of_progress(world, start_tool, sessions, progress):
    limit(world, source={"active_sessions": 1})
    sessions(world.v3, "SELECT pg_sleep(60)", 2)
    process = start_tool("xmtp-migrate", "run", "--manifest", world.manifest, "--progress",
                         progress)
    seen = ""
    deadline = time.monotonic() + SECONDS
    while "waiting: source: 2 active sessions, limit 1" not in seen:
        seen += os.read(process.stderr.fileno(), 4096).decode()
        assert time.monotonic() < deadline, seen
    stop(process)


@pytest.fixture(scope="module")
def replicated():
    with Server() as primary, Standby(primary) as standby:
        until(lambda: psql(primary.dsn(), "SELECT count(*) FROM pg_stat_replication"
                                          " WHERE state = 'streaming'") == "1")
        yield primary, standby


@pytest.fixture
def lagging(replicated):
    """lag(): the standby stops to replay; catch_up(): it goes on."""
    primary, standby = replicated

    class Lag:
        def begin(self):
            psql(standby.dsn(), "SELECT pg_wal_replay_pause()")
            until(lambda: psql(standby.dsn(), "SELECT pg_get_wal_replay_pause_state()") ==
                  "paused")
            psql(primary.dsn(), "CREATE TABLE IF NOT EXISTS written (t text)")
            until(self.is_behind)

        def is_behind(self):
            psql(primary.dsn(), "INSERT INTO written VALUES ('something')")
            return psql(primary.dsn(), "SELECT coalesce(max(replay_lag), '0') > interval '1 s'"
                                       " FROM pg_stat_replication") == "t"

        def end(self):
            psql(standby.dsn(), "SELECT pg_wal_replay_resume()")

    lag = Lag()
    yield lag
    lag.end()


@pytest.fixture
def behind(world, replicated, lagging, tool):
    """behind(which): the world with its source or beta on the server whose standby lags."""
    replicas = Databases(replicated[0], tool)

    def begin(which):
        if which == "source":
            world.v3 = replicas.v3()
        else:
            world.nodes["beta"] = replicas.node(200)
        world.write()
        world.seed(200, seed=1)
        limits = {"replication_lag_s": 1}
        limit(world, **({"source": limits} if which == "source" else {"beta": limits}))
        lagging.begin()

    yield begin
    lagging.end()
    replicas.drop_all()


@pytest.mark.parametrize("which, subject", [("source", "source"), ("node", "node 'beta'")])
def test_work_pauses_while_a_standby_is_behind(world, behind, lagging, start_tool, which, subject):
    behind(which)
    process = begin(start_tool, world)
    waiting = waiting_for(process, "replication lag")["waiting"]
    assert re.fullmatch(rf"{subject}: replication lag \d+ s, limit 1 s", waiting)
    assert count(world.beta, META) == 0
    lagging.end()
    end(process)
    assert count(world.beta, META) > 0


def test_a_pause_for_lag_ends_at_once_on_request(world, behind, start_tool):
    behind("node")
    process = begin(start_tool, world)
    waiting_for(process, "replication lag")
    stop(process)


@pytest.mark.parametrize("which", ["source", "node"])
def test_a_limit_that_the_role_may_not_see_is_refused(world, server, which):
    dsn = world.v3 if which == "source" else world.beta
    psql(server.dsn(), "DROP ROLE IF EXISTS blind; CREATE ROLE blind LOGIN")
    psql(dsn, "GRANT ALL ON ALL TABLES IN SCHEMA public TO blind;"
              "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO blind")
    blind = as_user(dsn, "blind")
    if which == "source":
        world.write(source=blind)
        limit(world, source={"active_sessions": 5})
    else:
        world.write(nodes={**world.nodes, "beta": blind})
        limit(world, beta={"replication_lag_s": 5})
    try:
        ran = world.run(status=1)
        assert "the role blind may not see them" in ran.err
        assert "GRANT pg_read_all_stats" in ran.err
        assert world.untouched()
    finally:
        psql(dsn, "DROP OWNED BY blind")
        psql(server.dsn(), "DROP ROLE blind")


# ---- timeouts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("which, table", [("source", "installations"),
                                          ("node", "migration_tracker")])
def test_a_lock_that_is_not_to_be_had_in_time_is_tried_again_later(world, sessions, which, table):
    world.seed(100, seed=1)
    dsn = world.v3 if which == "source" else world.beta
    limits = {"lock_timeout_s": 1}
    limit(world, **({"source": limits} if which == "source" else {"beta": limits}))
    sessions(dsn, f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)")
    until(lambda: psql(dsn, "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'"
                            f" AND relation = '{table}'::regclass") == "1")
    ran = world.run("--retry-for", 1, status=5)
    assert "lock_timeout_s of 1 s was reached" in ran.err and "hint:" in ran.err
    psql(dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LO%'")
    assert world.run(status=None)["verdict"] != "red"
    world.parity(0)


def test_a_statement_that_takes_too_long_at_a_node_is_tried_again_later(world):
    world.seed(100, seed=1)
    limit(world, beta={"statement_timeout_s": 1})
    psql(world.beta, """
        CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(2); RETURN NEW; END $$;
        CREATE TRIGGER slow BEFORE INSERT ON migration_tracker
        FOR EACH ROW EXECUTE FUNCTION dawdle()""")
    ran = world.run("--retry-for", 1, status=5)
    assert "node 'beta'" in ran.err and "statement_timeout_s of 1 s was reached" in ran.err
    psql(world.beta, "DROP TRIGGER slow ON migration_tracker")
    assert world.run(status=None)["verdict"] != "red"
    world.parity(0)


def slow_down(dsn, seconds):
    """Each row of inbox_log takes this long: a view that dawdles is in the table's place."""
    psql(dsn, f"""
        ALTER TABLE inbox_log RENAME TO inbox_log_rows;
        CREATE FUNCTION dawdle(number bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS
        $$ BEGIN PERFORM pg_sleep({seconds}); RETURN number; END $$;
        CREATE VIEW inbox_log AS SELECT sequence_id, inbox_id, dawdle(server_timestamp_ns)
            AS server_timestamp_ns, identity_update_proto FROM inbox_log_rows;
        ALTER VIEW inbox_log ALTER COLUMN sequence_id
            SET DEFAULT nextval('inbox_log_sequence_id_seq')""")


def test_a_statement_that_takes_too_long_at_the_source_is_tried_again_later(world):
    world.seed(100, seed=1)
    limit(world, source={"statement_timeout_s": 1})
    slow_down(world.v3, 2)
    ran = world.run("--retry-for", 1, status=5)
    assert "source" in ran.err and "statement_timeout_s of 1 s was reached" in ran.err


def test_a_reading_that_is_ended_by_the_limit_goes_on_behind_what_it_read(world):
    world.seed(400, seed=1)
    limit(world, source={"statement_timeout_s": 1})
    slow_down(world.v3, 2.4 / count(world.v3, "inbox_log"))
    assert world.run(status=None)["kinds"]["inbox_log"]["counted"] == count(world.v3, "inbox_log")
