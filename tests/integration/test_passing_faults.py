"""Faults that pass: servers restart and connections break in the middle of a run, which waits, goes
on, and ends as if nothing had been."""

import json
import signal
import time

import pytest

from support.servers import psql
from support.world import (  # noqa: F401
    META, apart, assert_closes, count, world)

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
