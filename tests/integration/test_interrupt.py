"""SIGINT and SIGTERM at any time: exit 130 within two seconds, and running again ends where an
uninterrupted run ends."""

import json
import os
import random
import signal
import subprocess
import time

import pytest
from conftest import tool_environment, tool_path
from support.servers import psql
from support.world import assert_closes, chain_bundle, digest_of_node, held, world  # noqa: F401

ROWS = 8000
UNTIL = "2026-01-01T00:00:00Z"
SECONDS_TO_STOP = 2


def start(*words):
    return subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=tool_environment())


def interrupt(number, after, *words):
    """Runs a tool and sends it a signal; gives its exit status, its result and what it said."""
    process = start(tool_path(words[0]), *words[1:])
    time.sleep(after)
    process.send_signal(number)
    sent = time.monotonic()
    out, err = process.communicate(timeout=20)
    took = time.monotonic() - sent
    if process.returncode == 130:
        assert took < SECONDS_TO_STOP, f"{took} s until it stopped: {err}"
        assert out == ""
    return process.returncode, out, err


def until_done(number, *words, moments):
    """Interrupts a tool at each of the moments, then lets it end; gives how often it was hit, and its
    result."""
    hits = 0
    for after in moments:
        status, out, err = interrupt(number, after, *words)
        if status == -number and not err:
            continue  # it had not yet begun
        assert status in (0, 130), err
        if status == 0:
            return hits, out
        hits += 1
        assert "stopped on request" in err or "interrupted" in err, err
    last = start(tool_path(words[0]), *words[1:])
    out, err = last.communicate(timeout=120)
    assert last.returncode == 0, err
    return hits, out


def moments(count, longest, seed):
    """Rising: one that comes when all is done is the last."""
    chosen = random.Random(seed)
    return [0.01, 0.04] + sorted(chosen.uniform(0.04, longest) for _ in range(count))


@pytest.fixture
def full(world):
    world.seed(ROWS, seed=9, until=UNTIL)
    return world


def expected(world, tool):
    """What an uninterrupted run leaves on nodes of their own."""
    kept = world.nodes
    world.nodes = {"alpha": world.databases.node(100), "beta": world.databases.node(200)}
    world.write()
    began = time.monotonic()
    account = world.run("--as-of", UNTIL)
    took = time.monotonic() - began
    digest = digest_of_node(world.alpha)
    world.nodes = kept
    world.write()
    return account, digest, took


def same(account, other):
    """Whether two accounts differ in nothing but the id of their run."""
    return {**account, "run": ""} == {**other, "run": ""}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_can_be_stopped_at_any_time_and_goes_on_where_it_was(full, tool, number):
    account, digest, took = expected(full, tool)
    words = ("xmtp-migrate", "run", "--manifest", full.manifest, "--as-of", UNTIL, "--json")
    hits, out = until_done(number, *words, moments=moments(6, took, number))
    assert hits > 0
    last = json.loads(out)
    assert_closes(last)
    assert same(last, account)
    for dsn in full.nodes.values():
        assert digest_of_node(dsn) == digest
    full.parity(0)


def test_export_can_be_stopped_and_begun_again_in_the_same_place(full, tool, tmp_path):
    for out in (tmp_path / "rows", tmp_path / "rows.tar"):
        words = ("xmtp-export", "--manifest", full.manifest, "--as-of", UNTIL, "--out", out)
        hits, _ = until_done(signal.SIGINT, *words, moments=moments(4, 0.15, 1))
        assert hits > 0
        tool("xmtp-inspect", out)


def test_transform_and_load_can_be_stopped_and_begun_again(full, tool, tmp_path):
    account, digest, _ = expected(full, tool)
    rows, envelopes = tmp_path / "rows", tmp_path / "envelopes"
    full.stage("export", "--as-of", UNTIL, "--out", rows)
    words = ("xmtp-transform", "--manifest", full.manifest, "--in", rows, "--out", envelopes)
    hits, _ = until_done(signal.SIGINT, *words, moments=moments(4, 0.4, 2))
    words = ("xmtp-load", "--manifest", full.manifest, "--in", envelopes, "--json")
    more, out = until_done(signal.SIGTERM, *words, moments=moments(4, 0.6, 3))
    assert hits + more > 1
    last = json.loads(out)
    assert_closes(last)
    assert same(last, account)
    for dsn in full.nodes.values():
        assert digest_of_node(dsn) == digest
    full.parity(0)


def test_what_a_stopped_load_left_can_be_finished_by_run(full, tool, tmp_path):
    account, digest, took = expected(full, tool)
    rows, envelopes = tmp_path / "rows", tmp_path / "envelopes"
    full.stage("export", "--as-of", UNTIL, "--out", rows)
    full.stage("transform", "--in", rows, "--out", envelopes)
    for after in (0.25, 0.15, 0.1):
        status, _, _ = interrupt(signal.SIGINT, after, "xmtp-load", "--manifest", full.manifest,
                                 "--in", envelopes)
        if status == 130:
            break
    last = full.run("--as-of", UNTIL)
    assert status == 0 or same(last, account)
    assert digest_of_node(full.beta) == digest


def test_a_stream_can_be_stopped_in_the_middle(full, tmp_path):
    """A consumer that is cut off refuses the whole."""
    exporting = start(tool_path("xmtp-export"), "--manifest", full.manifest, "--out", "-")
    part = exporting.stdout.buffer.read(20000)
    exporting.send_signal(signal.SIGINT)
    exporting.stdout.buffer.read()
    assert exporting.wait(SECONDS_TO_STOP) in (0, 130)
    cut = tmp_path / "cut.tar"
    cut.write_bytes(part)
    full.stage("transform", "--in", cut, "--out", tmp_path / "envelopes", status=1)
    assert not (tmp_path / "envelopes" / "index.json").exists()


def test_a_second_signal_ends_it_at_once(full):
    for after in (0.05, 0.2):
        process = start(tool_path("xmtp-migrate"), "run", "--manifest", full.manifest)
        time.sleep(after)
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
        assert process.wait(1) in (130, 0, -signal.SIGINT)
        process.communicate()
    full.run()
    assert digest_of_node(full.alpha) == digest_of_node(full.beta)


def test_killed_outright_it_goes_on_as_well(full, tool):
    account, digest, took = expected(full, tool)
    last = None
    for after in moments(4, took, 5)[1:]:
        _, out, _ = interrupt(signal.SIGKILL, after, "xmtp-migrate", "run", "--manifest",
                              full.manifest, "--as-of", UNTIL, "--json")
        if out:
            last = json.loads(out)
            break
    last = last or full.run("--as-of", UNTIL)
    assert same(last, account)
    assert digest_of_node(full.alpha) == digest and digest_of_node(full.beta) == digest


def test_a_run_stopped_behind_its_last_part_still_ends(full, tool):
    """The chain's bundle is written, the run is not yet finished: it must not stand in the way."""
    first = full.run("--as-of", UNTIL)
    for dsn in full.nodes.values():
        psql(dsn, "UPDATE xmtp_migrate.runs SET finished_at = NULL")
    again = full.run("--as-of", UNTIL)
    assert again == first
    # Half of it written: made anew.
    for dsn in full.nodes.values():
        psql(dsn, "UPDATE xmtp_migrate.runs SET finished_at = NULL")
    os.unlink(chain_bundle(full.manifest, first) / "index.json")
    assert full.run("--as-of", UNTIL) == first
    tool("xmtp-inspect", chain_bundle(full.manifest, first))


def test_it_stops_while_another_session_holds_what_it_needs(full, start_tool):
    with held(full.beta, "SELECT pg_advisory_xact_lock(5)"):
        process = start_tool("xmtp-migrate", "run", "--manifest", str(full.manifest))
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS_TO_STOP) == 130
    full.run()


@pytest.mark.parametrize("which, hold", [("source", "LOCK installations"),
                                         ("nodes", "SELECT pg_advisory_xact_lock(5)")])
def test_it_stops_though_a_server_no_longer_answers(world, new_server, start_tool, tool, freeze,
                                                    which, hold):
    other = new_server()
    if which == "source":
        world.v3 = other.create_database()
        tool("xmtp-seed", "schema", "v3", "--dsn", world.v3)
    else:
        for name, number in (("alpha", 100), ("beta", 200)):
            world.nodes[name] = other.create_database()
            tool("xmtp-seed", "schema", "node", "--dsn", world.nodes[name], "--node-id", number)
    world.write()
    world.seed(ROWS)
    with held(world.v3 if which == "source" else world.alpha, hold):
        process = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest))
        while psql(other.dsn(), "SELECT count(*) FROM pg_locks WHERE NOT granted") == "0":
            assert process.poll() is None
        freeze(other)
        process.send_signal(signal.SIGINT)
        assert process.wait(8) == 130
