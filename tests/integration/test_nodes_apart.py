"""Nodes that are away, die or are slow: the others go on, and running again completes it."""

import json
import os
import signal
import subprocess
import tempfile
import time

import pytest

from support.servers import psql
from support.world import (  # noqa: F401
    BLOB, META, assert_closes, count, digest_of_node, held, world)

NOBODY = "host=127.0.0.1 port=1 user=postgres dbname=none"


def assert_same(world):
    assert len({digest_of_node(dsn) for dsn in world.nodes.values()}) == 1


def test_a_node_that_is_away_is_completed_by_the_next_sitting(world):
    world.seed(3000)
    world.write(nodes={**world.nodes, "beta": NOBODY})
    ran = world.migrate("run", status=5)
    account = ran.json
    assert account["verdict"] == "red" and list(
        account["kinds"]["welcome_messages"]["nodes"]) == ["alpha"]
    assert "node 'beta' is away" in account["problems"][0]
    assert "the other nodes go on without it" in ran.err
    assert "is not at its end: node 'beta' is away" in ran.err
    assert count(world.alpha, META) > 1000
    away = world.status(5)
    assert away["run"] == account["run"] and "node 'beta' is away" in away["problems"][0]
    world.write()
    whole = world.run()
    assert (whole["run"], whole["verdict"]) == (account["run"], "green")
    assert_same(world)


def test_all_nodes_away_is_an_error_that_names_one(world):
    world.write(nodes={"alpha": NOBODY, "beta": NOBODY})
    ran = world.migrate("run", status=5)
    assert "node 'alpha'" in ran.err and ran.out == ""


@pytest.fixture
def beta_apart(world, new_server, tool):
    """Beta on a server of its own."""
    server = new_server()
    world.nodes["beta"] = server.create_database()
    tool("xmtp-seed", "schema", "node", "--dsn", world.beta, "--node-id", 200)
    world.write()
    return server


def test_a_server_that_dies_in_the_middle_stops_nobody_else(world, beta_apart, start_tool):
    world.seed(12000)
    process = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest), "--json",
                         "--retry-for", "1")
    while psql(world.beta, f"SELECT count(*) > 0 FROM {META}") != "t":
        assert process.poll() is None
    beta_apart.stop(signal.SIGQUIT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 5, err
    account = json.loads(out)
    assert "node 'beta' is away" in account["problems"][0]
    assert "the other nodes go on without it" in err
    beta_apart.start()
    whole = world.run()
    assert (whole["run"], whole["verdict"]) == (account["run"], "green")
    assert_same(world)


def test_a_node_that_holds_the_others_up_is_left_behind_and_caught_up(world, start_tool):
    world.seed(30000)
    with held(world.beta, "LOCK payers"):
        process = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest), "--json",
                             "--max-memory", "64MiB", "--as-of", "2026-01-01T00:00:00Z")
        deadline = time.monotonic() + 60
        while "left behind" not in (line := process.stderr.readline()):
            assert line and time.monotonic() < deadline
        at_once = count(world.alpha, META)
        while count(world.alpha, META) <= at_once:
            assert process.poll() is None and time.monotonic() < deadline
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    account = json.loads(out)
    assert_closes(account)
    assert account["verdict"] == "green"
    assert_same(world)


@pytest.mark.parametrize("size, says", [("1", "64MiB is the least"), ("63MiB", "64MiB"),
                                        ("64XB", "expected a number of bytes"),
                                        ("-1", "expected a number"), ("", "expected a number"),
                                        ("99999999999T", "expected a number")])
def test_memory_that_is_too_little_or_no_number_is_a_usage_error(world, size, says):
    ran = world.migrate("run", "--max-memory", size, status=2)
    assert says in ran.err and "--max-memory" in ran.err


def test_the_bound_on_memory_changes_nothing_that_is_written(world):
    world.seed(9000, shape="hostile")
    world.write(nodes={"alpha": world.alpha})
    world.run("--max-memory", "64MiB", "--threads", 1, "--source-connections", 1,
              "--as-of", "2026-01-01T00:00:00Z", status=4)
    world.edit(lambda document: document["nodes"].__setitem__(
        0, {"name": "beta", "node_id": 200, "dsn": world.beta}))
    world.run("--max-memory", "2G", "--threads", 7, "--source-connections", 4,
              "--as-of", "2026-01-01T00:00:00Z", status=4)
    assert_same(world)


# ---- a node without room -------------------------------------------------------------------------


def mount(*words):
    return subprocess.run(["mount", *map(str, words)], capture_output=True)


@pytest.fixture
def small_disk(server):
    """A disk of 24 MiB that the server may write to; a folder."""
    folder = tempfile.mkdtemp(prefix="small")
    if os.geteuid() != 0 or mount("-t", "tmpfs", "-o", "size=24m", "tmpfs", folder).returncode:
        os.rmdir(folder)
        pytest.skip("this container may not mount")
    owner = os.stat(server.data)
    os.chown(folder, owner.st_uid, owner.st_gid)
    yield folder
    subprocess.run(["umount", folder], check=True)
    os.rmdir(folder)


def test_a_node_without_room_takes_nothing_by_halves_and_goes_on_with_more(world, server, tool,
                                                                           small_disk):
    psql(server.dsn(), f"CREATE TABLESPACE small LOCATION '{small_disk}'")
    psql(server.dsn(), "CREATE DATABASE cramped TABLESPACE small")
    world.nodes["beta"] = server.dsn("cramped")
    tool("xmtp-seed", "schema", "node", "--dsn", world.beta, "--node-id", 200)
    world.seed(12000)
    world.write()
    try:
        ran = world.migrate("run", "--as-of", "2026-01-01T00:00:00Z", status=1)
        assert "node 'beta'" in ran.err and "No space left on device" in ran.err
        assert "disk is full: make room, then run it again" in ran.err
        mount("-o", "remount,size=400m", small_disk)
        assert psql(world.beta, f"""
            SELECT count(*) FROM {META} FULL JOIN {BLOB} b
            USING (originator_node_id, originator_sequence_id)
            WHERE topic IS NULL OR originator_envelope IS NULL""") == "0"
        assert world.run()["verdict"] == "green"
        assert_same(world)
        assert psql(world.beta, """
            SELECT count(*) FROM pg_class WHERE relname ~ '^(meta|blob)_o'
            AND relnamespace = 'xmtp_migrate'::regnamespace""") == "0"
    finally:
        server.drop_database(world.beta)
        psql(server.dsn(), "DROP TABLESPACE small")
