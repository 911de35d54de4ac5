"""Faults that pass: servers restart and connections break in the middle of a run, which waits, goes
on, and ends as if nothing had been."""

import json
import signal
import time

import pytest

from support.servers import psql
from support.world import (  # noqa: F401
    META, assert_closes, count, digest_of_node, world)

AS_OF = "2026-01-01T00:00:00Z"


def run_of(world, start_tool, *options):
    return start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest), "--json",
                      "--as-of", AS_OF, *options)


def assert_done(world, process):
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    account = json.loads(out)
    assert_closes(account)
    assert account["verdict"] == "green"
    world.parity()
    return err


def await_rows(dsn, process, least=1):
    while count(dsn, META) < least:
        assert process.poll() is None
        time.sleep(0.01)


@pytest.fixture
def apart(world, new_server, tool):
    """The source and beta on servers of their own."""
    servers = {"source": new_server(), "beta": new_server()}
    world.v3 = servers["source"].create_database()
    tool("xmtp-seed", "schema", "v3", "--dsn", world.v3)
    world.nodes["beta"] = servers["beta"].create_database()
    tool("xmtp-seed", "schema", "node", "--dsn", world.beta, "--node-id", 200)
    world.write()
    return servers


@pytest.mark.parametrize("who", ["source", "beta"])
def test_a_server_that_restarts_in_the_middle_is_awaited(world, apart, start_tool, who):
    world.seed(12000)
    process = run_of(world, start_tool)
    await_rows(world.beta, process)
    apart[who].stop(signal.SIGQUIT)
    time.sleep(0.5)
    apart[who].start()
    err = assert_done(world, process)
    assert "trying again in" in err
    assert ("connected again" if who == "source" else "node 'beta' is back") in err


def test_servers_that_are_killed_in_turn_every_few_seconds_don_t_keep_a_run_from_its_end(
        world, apart, start_tool):
    world.seed(40000)
    process = run_of(world, start_tool)
    turns = 0
    while process.poll() is None and turns < 8:
        who = apart[("source", "beta")[turns % 2]]
        time.sleep(0.7)
        who.stop(signal.SIGQUIT)
        who.start()
        turns += 1
    assert turns > 1
    assert_done(world, process)
    assert len({digest_of_node(dsn) for dsn in world.nodes.values()}) == 1


def test_connections_that_are_ended_at_the_servers_are_made_again(world, start_tool):
    world.seed(30000)
    process = run_of(world, start_tool)
    for dsn in (world.alpha, world.v3, world.beta, world.v3):
        await_rows(world.alpha, process)
        psql(dsn, """SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname =
            current_database() AND application_name LIKE 'xmtp-migrate%'""")
        time.sleep(0.3)
    assert_done(world, process)


def test_a_source_that_stays_away_ends_the_run_which_can_be_taken_up(world, apart, start_tool):
    world.seed(12000)
    process = run_of(world, start_tool, "--retry-for", "1")
    await_rows(world.alpha, process)
    apart["source"].stop(signal.SIGQUIT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 5 and out == "", err
    assert "source" in err and "given up after" in err
    apart["source"].start()
    assert world.run()["verdict"] == "green"
