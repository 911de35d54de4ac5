"""A standby as source, and a role that may not see who writes: ranges are settled by time, what
comes later all the same is found, and no server is read that lacks what was settled."""

import signal
import time

import pytest

from conftest import Databases
from support.following import assert_whole, follow, live  # noqa: F401
from support.servers import Server, Standby, psql
from support.world import (  # noqa: F401
    META, add_message, assert_closes, count, held, insert_message, world)

HOLD_S = 1


def holds(world, id):
    """Whether every node has a message."""
    return all(count(dsn, META, f"originator_node_id = 10 AND originator_sequence_id = {id}")
               for dsn in world.nodes.values())


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def replicated():
    with Server() as primary, Standby(primary) as standby:
        until(lambda: psql(primary.dsn(), "SELECT count(*) FROM pg_stat_replication"
                                          " WHERE state = 'streaming'") == "1")
        yield primary, standby


class Replica:
    """A V3 database of a primary, as its standby shows it."""

    def __init__(self, world, primary, standby):
        self.world = world
        self.standby = standby
        self.name = world.v3.split("dbname=")[1].split()[0]

    def dsn(self):
        return self.standby.dsn(self.name)

    def read_from(self, dsn):
        self.world.edit(lambda document: document["source"].update(dsn=dsn, settle_hold_s=HOLD_S))

    def pause(self):
        psql(self.standby.dsn(), "SELECT pg_wal_replay_pause()")
        until(lambda: psql(self.standby.dsn(), "SELECT pg_get_wal_replay_pause_state()") ==
              "paused")

    def resume(self):
        psql(self.standby.dsn(), "SELECT pg_wal_replay_resume()")

    def catch_up(self):
        end = psql(self.world.v3, "SELECT pg_current_wal_insert_lsn()")
        until(lambda: psql(self.standby.dsn(), f"SELECT pg_last_wal_replay_lsn() >= '{end}'") ==
              "t")


@pytest.fixture
def replica(world, replicated, tool):
    """The world's source is on the primary; the manifest names its standby."""
    primary, standby = replicated
    world.v3 = Databases(primary, tool).v3()
    world.write()
    world.seed(800)
    replica = Replica(world, primary, standby)
    replica.catch_up()
    replica.read_from(replica.dsn())
    yield replica
    replica.resume()


def loses_sight(world, right):
    """The manifest's source is read by a role that lacks a right that everybody has."""
    psql(world.v3, f"""
        DROP ROLE IF EXISTS blind; CREATE ROLE blind LOGIN;
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO blind;
        GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO blind;
        REVOKE {right} FROM PUBLIC""")
    world.edit(lambda document: document["source"].update(
        dsn=world.v3.replace("user=postgres", "user=blind"), settle_hold_s=HOLD_S))


def tear_down_role(world):
    psql(world.v3, "DROP OWNED BY blind; DROP ROLE blind")


# ---- what it says, and what it brings -----------------------------------------------------------


def test_a_standby_is_read_and_followed_and_says_that_it_settles_by_time(replica, world, follow,
                                                                        start_tool):
    following = follow()
    following.await_line("following run")
    assert "a standby does not see who writes, so ids count as settled by time: 1 s" in \
        following.err
    live(world, start_tool, 2, "--hold-ms", 500, "--rollback-percent", 10).wait(timeout=60)
    with held(world.v3, insert_message("known only by its number")):
        late = add_message(world.v3, "what is seen last needs one behind it no more than time")
        following.await_line("writers of group_messages: transaction ")
        assert not count(world.alpha, META, f"originator_sequence_id = {late}")
    following.await_rows()
    assert "came to the source" not in following.err
    account = following.stop()
    assert account["verdict"] == "green", account
    replica.read_from(world.v3)
    assert_whole(world)


@pytest.mark.parametrize("command", ["run", "follow"])
def test_a_row_that_comes_late_all_the_same_is_found(replica, world, follow, command):
    psql(world.v3, "SELECT setval('group_messages_id_seq', 2000000)")
    gap = int(psql(world.v3, "SELECT nextval('group_messages_id_seq')"))
    last = add_message(world.v3, "behind the gap")
    replica.catch_up()
    world.run()
    if command == "follow":
        following = follow()
        following.await_line("following run")
        last = add_message(world.v3, "followed")
        until(lambda: holds(world, last))
        following.stop()
    add_message(world.v3, "late", id=gap)
    # What V3 prunes meanwhile makes no room for it.
    psql(world.v3, """DELETE FROM group_messages WHERE id = (SELECT min(id) FROM group_messages
        WHERE created_at < now() - interval '61 days' AND NOT is_commit)""")
    replica.catch_up()
    if command == "run":
        for dsn in world.nodes.values():
            psql(dsn, "UPDATE xmtp_migrate.runs SET finished_at = NULL, told_at = NULL")
        ran = world.migrate("run")
        assert "1 rows of group_messages came to the source" in ran.err, ran.err
    else:
        following = follow()
        following.await_line("1 rows of group_messages came to the source")
        until(lambda: holds(world, gap))
        assert following.stop()["verdict"] == "green"
    assert holds(world, gap) and holds(world, last)
    replica.read_from(world.v3)
    account = assert_whole(world)
    # What was loaded before counts as loaded still.
    assert account["kinds"]["group_messages"].get("already_there", 0) == 0


def test_books_that_were_changed_by_hand_are_called_red_not_read_again(replica, world):
    world.run()
    for dsn in world.nodes.values():
        psql(dsn, """UPDATE xmtp_migrate.runs SET finished_at = NULL, told_at = NULL;
            UPDATE xmtp_migrate.counts SET rows = rows - 1 WHERE state = 'counted'
            AND kind = 'group_messages' AND first_id = (SELECT min(first_id) FROM
            xmtp_migrate.counts WHERE kind = 'group_messages')""")
    ran = world.migrate("run", status=3)
    assert "the books do not add up" in ran.err and "is read once more" not in ran.err
    assert "rows were counted" in ran.out, ran.out


def test_no_time_passes_on_a_standby_that_nobody_tells(world, start_tool, tool):
    with Server() as primary:
        with Standby(primary) as standby:
            world.v3 = Databases(primary, tool).v3()
            world.write()
            world.seed(50)
            replica = Replica(world, primary, standby)
            replica.read_from(replica.dsn())
            replica.catch_up()
            primary.stop(signal.SIGQUIT)
            until(lambda: psql(standby.dsn(), "SELECT count(pid) FROM pg_stat_wal_receiver") == "0")
            running = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest))
            time.sleep(2 * HOLD_S + 1)
            assert running.poll() is None
            running.send_signal(signal.SIGTERM)
            running.wait(timeout=20)


def test_what_a_crashed_source_forgot_is_not_taken_for_given_out(world, follow, tool):
    """Ids of a transaction that was in progress, of which nothing had come to the disk."""
    with Server() as primary:
        world.v3 = Databases(primary, tool).v3()
        world.write()
        world.seed(50)
        following = follow()
        following.await_line("following run")
        psql(world.v3, "ALTER SYSTEM SET wal_writer_delay = '10s'")
        psql(world.v3, "SELECT pg_reload_conf()")
        with held(world.v3, "; ".join(insert_message(f"lost {i}") for i in range(100))):
            following.await_line("writers of group_messages")
            primary.stop(signal.SIGQUIT)
        primary.start()
        following.await_line("connected again")
        last = [add_message(world.v3, f"after it {i}") for i in range(3)][-1]
        until(lambda: holds(world, last))
        assert following.stop()["verdict"] == "green"
        assert_whole(world)


def test_a_standby_that_is_behind_what_was_settled_is_not_read(replica, world, start_tool):
    replica.read_from(world.v3)
    replica.pause()
    add_message(world.v3, "not on the standby yet")
    world.run()
    replica.read_from(replica.dsn())
    psql(world.beta, """TRUNCATE xmtp_migrate.parts CASCADE;
        UPDATE xmtp_migrate.runs SET finished_at = NULL, told_at = NULL""")
    ran = world.migrate("run", "--retry-for", 1, status=5)
    assert "the standby has replayed the WAL up to" in ran.err
    replica.resume()
    replica.catch_up()
    world.migrate("run")
    assert_closes(world.status())
    # Nor are nodes held against it.
    replica.read_from(world.v3)
    replica.pause()
    add_message(world.v3, "not there yet either")
    world.run()
    replica.read_from(replica.dsn())
    checking = start_tool("xmtp-parity", "check", "--manifest", str(world.manifest))
    time.sleep(0.5)
    assert checking.poll() is None, checking.stderr.read()
    replica.resume()
    assert checking.wait(timeout=30) == 0


def test_it_goes_on_with_whichever_server_there_is(world, follow, start_tool, tool):
    """As a DSN of several hosts does when the first of them goes away."""
    with Server({"synchronous_standby_names": "*"}) as primary, Standby(primary) as standby:
        world.v3 = Databases(primary, tool).v3()
        world.write()
        world.seed(300)
        replica = Replica(world, primary, standby)
        replica.read_from(f"host=127.0.0.1,127.0.0.1 port={primary.port},{standby.port}"
                          f" user=postgres dbname={replica.name}")
        following = follow()
        following.await_line("following run")
        live(world, start_tool, 1, "--rate", 100).wait(timeout=60)
        following.await_rows()
        assert "settled by time" not in following.err
        primary.stop(signal.SIGQUIT)
        following.await_line("connected again")
        psql(standby.dsn(), "SELECT pg_promote()")
        world.v3 = replica.dsn()
        psql(world.v3, "ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf()")
        following.await_line("the standby was promoted")
        live(world, start_tool, 1, "--rate", 100).wait(timeout=60)
        following.await_rows()
        assert following.stop()["verdict"] == "green"
        assert_whole(world)


# ---- rights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("right, by_time", [
    ("SELECT ON pg_locks", True),
    ("SELECT ON pg_stat_activity", False),
], ids=["locks", "sessions"])
def test_a_role_that_sees_less_follows_all_the_same(world, follow, right, by_time):
    world.seed(300)
    loses_sight(world, right)
    try:
        following = follow()
        following.await_line("following run")
        assert ("the role may not see who writes" in following.err) == by_time
        with held(world.v3, insert_message("held back")):
            late = add_message(world.v3, "behind it")
            following.await_line("writers of group_messages: " + ("transaction " if by_time
                                                                  else "pid "))
            assert not count(world.alpha, META, f"originator_sequence_id = {late}")
        until(lambda: holds(world, late))
        assert following.stop()["verdict"] == "green"
        world.edit(lambda document: document["source"].update(dsn=world.v3))
        assert_whole(world)
    finally:
        tear_down_role(world)


def test_a_view_that_its_function_may_not_be_called_for_is_no_right(world):
    world.seed(50)
    loses_sight(world, "EXECUTE ON FUNCTION pg_lock_status()")
    try:
        assert "the role may not see who writes" in world.migrate("run").err
    finally:
        tear_down_role(world)
