"""Following a live source: nothing is missed, nobody is waited for in vain, and any end is one to go
on from."""

import contextlib
import signal
import socket
import time

import pytest
from support.following import assert_whole, follow, live  # noqa: F401
from support.servers import psql
from support.stopwatch import Stopwatch
from support.world import (  # noqa: F401
    META, add_message, count, held, insert_message, row, world)


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


def test_its_first_run_is_ended_with_what_is_in_hand_and_gone_on_with(world, follow):
    world.seed(1500)
    following = follow("--max-rate", 300)
    deadline = time.monotonic() + 30
    while not count(world.beta, META):
        assert following.process.poll() is None and time.monotonic() < deadline, following.err
        time.sleep(0.05)
    account = following.stop()
    assert account["verdict"] != "green" and "following run" not in following.err
    assert world.status(5)["verdict"] != "green"
    following = follow()
    following.await_line("following run")
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


def test_a_sequence_that_is_set_far_ahead_is_followed_at_once(world, follow):
    world.seed(800)
    following = follow()
    following.await_line("following run")
    for ahead in (100000, 30000000):
        psql(world.v3, f"""SELECT setval('group_messages_id_seq', last_value + {ahead})
            FROM group_messages_id_seq""")
        add_message(world.v3, f"{ahead} ahead")
        following.await_rows(seconds=10)
        add_message(world.v3, f"one behind {ahead}")
        following.await_rows(seconds=10)
    assert following.stop()["verdict"] == "green"
    assert count(world.alpha, "xmtp_migrate.parts") < 20
    assert_whole(world)


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


def test_it_asks_little_while_nobody_writes(world, follow, new_server, tool):
    servers = [new_server(log_statement="all"), new_server(log_statement="all")]
    world.v3, world.nodes["beta"] = (each.create_database() for each in servers)
    tool("xmtp-seed", "schema", "v3", "--dsn", world.v3)
    tool("xmtp-seed", "schema", "node", "--dsn", world.beta, "--node-id", 200)
    world.write()
    world.seed(800)
    following = follow()
    following.await_line("following run")
    time.sleep(3)
    before = [len(each.log()) for each in servers]
    time.sleep(5)
    said = [each.log()[begin:] for each, begin in zip(servers, before)]
    asked = [text.count("LOG:  statement:") + text.count("LOG:  execute") for text in said]
    assert following.stop()["verdict"] == "green"
    assert 5 <= asked[0] <= 30 and asked[1] <= 2, (asked, said)


@pytest.mark.parametrize("table", ["welcome_messages", "installations"])
def test_a_table_that_somebody_locks_at_the_source_holds_up_no_other(world, follow, table):
    world.seed(800)
    world.run()
    with held(world.v3, f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"):
        following = follow()
        following.await_line("following run")
        time.sleep(2)  # what is looked at now and then is looked at for the first time
        id = add_message(world.v3, "one")
        deadline = time.monotonic() + 10
        while count(world.alpha, META, row(10, id)) == 0:
            assert following.process.poll() is None and time.monotonic() < deadline, following.err
            time.sleep(0.05)
        assert following.stop()["verdict"] == "green"
    assert_whole(world)


def test_a_source_that_was_set_back_and_has_come_farther_since_is_known_by_its_rows(world, follow):
    world.seed(300)
    following = follow()
    following.await_line("following run")
    id = add_message(world.v3, "lost")
    deadline = time.monotonic() + 20
    while not count(world.beta, META, row(10, id)):
        assert time.monotonic() < deadline, following.err
        time.sleep(0.05)
    psql(world.v3, f"""
        DELETE FROM group_messages WHERE id = {id}; {insert_message("in its place", id=id)};
        {insert_message("farther")};
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
            AND pid <> pg_backend_pid()""")
    assert following.process.wait(timeout=20) == 1
    following.reader.join()
    assert f"was set back: group_messages {id} is another row" in following.err
    again = follow()
    assert again.process.wait(timeout=20) == 1
    again.reader.join()
    assert f"was set back: group_messages {id} is another row" in again.err
    # What is gone may have been pruned.
    psql(world.v3, f"DELETE FROM group_messages WHERE id = {id}")
    following = follow()
    following.await_line("following run")
    following.await_rows()
    following.stop()


def test_a_sequence_that_comes_to_cache_ids_stops_it_before_one_is_passed(world, follow):
    world.seed(300)
    following = follow()
    following.await_line("following run")
    psql(world.v3, f"ALTER SEQUENCE group_messages_id_seq CACHE 20; {insert_message('one')}")
    assert following.process.wait(timeout=20) == 1
    following.reader.join()
    assert "caches 20 ids a session" in following.err
    assert not count(world.alpha, META, row(10, int(psql(world.v3, "SELECT max(id) FROM"
                                                                   " group_messages"))))
    psql(world.v3, "ALTER SEQUENCE group_messages_id_seq CACHE 1")
    following = follow()
    following.await_line("following run")
    following.stop()
    assert_whole(world)


@pytest.mark.parametrize("how", ["frozen", "locked"])
def test_a_node_that_does_not_answer_delays_no_other_for_long(world, follow, new_server, tool, freeze,
                                                              how):
    apart = new_server()
    world.nodes["beta"] = apart.create_database()
    tool("xmtp-seed", "schema", "node", "--dsn", world.beta, "--node-id", 200)
    world.write()
    world.seed(800)
    following = follow()
    following.await_line("following run")
    with contextlib.ExitStack() as stack:
        if how == "frozen":
            freeze(apart)
        else:
            stack.enter_context(held(world.beta, f"LOCK TABLE {META} IN ACCESS EXCLUSIVE MODE"))
        add_message(world.v3, "one")
        following.await_line("no answer for 6 s")
        id = add_message(world.v3, "two")
        deadline = time.monotonic() + 40
        while count(world.alpha, META, row(10, id)) == 0:
            assert following.process.poll() is None and time.monotonic() < deadline, following.err
            time.sleep(0.1)
        following.stop()
    if how == "locked":
        following = follow()
        following.await_line("following run")
        time.sleep(1)
        following.stop()
        assert_whole(world)


def test_a_node_whose_host_is_silent_delays_no_other(world, follow, new_server, tool):
    apart = new_server()
    world.nodes["beta"] = apart.create_database()
    tool("xmtp-seed", "schema", "node", "--dsn", world.beta, "--node-id", 200)
    world.write()
    world.seed(800)
    following = follow()
    following.await_line("following run")
    apart.stop(signal.SIGQUIT)
    with socket.create_server(("127.0.0.1", apart.port), reuse_port=True):
        watch = Stopwatch(world.v3, [world.alpha])
        following.await_line("the other nodes go on without it")
        time.sleep(8)
        watch.stop()
    assert watch.lags and max(watch.lags) < 5, max(watch.lags)
    apart.start()
    following.await_line("node 'beta' is back")
    following.await_rows()
    assert following.stop()["verdict"] == "green"
    assert_whole(world)
