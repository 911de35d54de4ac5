"""How rows enter a node's database: clocks, trackers, leaves, conflicts, usage, rights."""

import concurrent.futures
import pathlib
import re

import pytest
from support.servers import psql, rows
from support.world import (BLOB, META, add_message, as_user, assert_closes, count, digest_of_node,
                           held, row, world)  # noqa: F401

SQL = pathlib.Path(__file__).resolve().parents[2] / "schemas" / "sql"
FORGED = "\\xdeadbeef"


def put_other_bytes(dsn, id, originator=10):
    """What another writer might have left under an id of ours."""
    psql(dsn, f"""
        SELECT ensure_gateway_parts_v3({originator}, {id});
        INSERT INTO {META} (originator_node_id, originator_sequence_id, topic, expiry)
        VALUES ({originator}, {id}, '\\x00ff', 42);
        INSERT INTO {BLOB} VALUES ({originator}, {id}, '{FORGED}')""")


# ---- clock and tracker --------------------------------------------------------------------------


def test_the_vector_clock_rises_to_the_highest_row_and_never_sinks(world):
    ids = [add_message(world.v3, f"message {i}") for i in range(3)]
    psql(world.beta, "INSERT INTO gateway_envelopes_latest VALUES (10, 777, '2020-01-01')")
    world.run()
    assert rows(world.alpha, "SELECT originator_node_id, originator_sequence_id"
                             " FROM gateway_envelopes_latest") == [["10", str(ids[-1])]]
    assert rows(world.beta, "SELECT originator_sequence_id, gateway_time"
                            " FROM gateway_envelopes_latest") == [["777", "2020-01-01 00:00:00"]]


def test_the_vector_clock_catches_up_with_rows_that_others_put_into_a_leaf(world):
    """No trigger fires for a row that enters a leaf directly."""
    id = add_message(world.v3, "there before")
    world.run()
    psql(world.alpha, "DELETE FROM gateway_envelopes_latest")
    world.run()
    assert rows(world.alpha, "SELECT originator_sequence_id FROM gateway_envelopes_latest") == [
        [str(id)]]


def test_the_tracker_never_sinks(world):
    id = add_message(world.v3, "one")
    psql(world.alpha, "INSERT INTO migration_tracker VALUES ('group_messages', 5000)"
                      " ON CONFLICT (source_table) DO UPDATE SET last_migrated_id = 5000")
    world.run()
    tracker = "SELECT last_migrated_id FROM migration_tracker WHERE source_table = 'group_messages'"
    assert psql(world.alpha, tracker) == "5000"
    assert psql(world.beta, tracker) == str(id)


# ---- leaves -------------------------------------------------------------------------------------


def drop_leaf(band):
    """As the node's pruner does it, under the exclusive lock."""
    return f"""
        SELECT pg_advisory_xact_lock(5);
        DROP TABLE {BLOB}_o10_{band};
        ALTER TABLE {META}_o10 DETACH PARTITION {META}_o10_{band};
        DROP TABLE {META}_o10_{band};"""


def test_a_leaf_that_the_nodes_pruner_dropped_is_made_again(world):
    add_message(world.v3, "first band", id=5)
    add_message(world.v3, "third band", id=2000005)
    psql(world.v3, "SELECT setval('group_messages_id_seq', 2000005)")
    world.run()
    psql(world.alpha, f"DELETE FROM {META} WHERE {row(10, 5)}")
    psql(world.alpha, drop_leaf("s0_1000000"))
    account = world.run("--new-run")
    assert account["kinds"]["group_messages"]["nodes"] == {
        "alpha": {"loaded": 1, "already_there": 1}, "beta": {"loaded": 0, "already_there": 2}}
    assert digest_of_node(world.alpha) == digest_of_node(world.beta)


@pytest.mark.parametrize("parent", [META, BLOB])
def test_a_leaf_that_is_detached_is_named(world, parent):
    add_message(world.v3, "one")
    psql(world.beta, f"""
        SELECT ensure_gateway_parts_v3(10, 1);
        ALTER TABLE {parent}_o10 DETACH PARTITION {parent}_o10_s0_1000000""")
    ran = world.run(status=1)
    assert f"'beta': the table {parent}_o10_s0_1000000 is there, but is no partition" in ran.err
    assert "ATTACH PARTITION" in ran.err
    psql(world.beta, f"ALTER TABLE {parent}_o10 ATTACH PARTITION {parent}_o10_s0_1000000"
                     " FOR VALUES FROM (0) TO (1000000)")
    world.run()


def test_leaves_may_vanish_while_a_run_is_at_work(world):
    """A pruner that drops every empty leaf at every moment delays a run, it does not break it."""
    for band in range(12):
        add_message(world.v3, f"band {band}", id=band * 1000000 + 7)
    psql(world.v3, "SELECT setval('group_messages_id_seq', 11000007)")
    prune = f"""
        DO $$ DECLARE leaf text; held boolean; BEGIN
        PERFORM pg_advisory_xact_lock(5);
        FOR leaf IN SELECT relname FROM pg_class WHERE relname ~ '^{META}_o10_s[0-9]+_[0-9]+$'
            AND relkind = 'r' LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM %I)', leaf) INTO held;
            IF NOT held THEN
                EXECUTE format('DROP TABLE %I', replace(leaf, 'meta', 'blob'));
                EXECUTE format('ALTER TABLE {META}_o10 DETACH PARTITION %I', leaf);
                EXECUTE format('DROP TABLE %I', leaf);
            END IF;
        END LOOP; END $$"""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(world.migrate, "run", status=None)
        while not running.done():
            psql(world.alpha, prune)
    ran = running.result()
    if ran.status == 5:  # dropped faster than made: said so, and resumable
        assert "dropped" in ran.err or "bands" in ran.err
        world.run()
    else:
        assert ran.status == 0, ran.err
    assert digest_of_node(world.alpha) == digest_of_node(world.beta)


# ---- rows that are there ------------------------------------------------------------------------


def test_other_bytes_under_an_id_are_kept_and_the_row_is_a_conflict(world):
    ids = [add_message(world.v3, f"message {i}") for i in range(5)]
    put_other_bytes(world.beta, ids[2])
    account = world.run(status=4)
    kind = account["kinds"]["group_messages"]
    assert account["verdict"] == "partial" and account["rejects"] == {"conflict": 1}
    assert (kind["counted"], kind["rejected"], kind["for_nodes"]) == (5, 1, 4)
    for name in world.nodes:
        assert kind["nodes"][name]["loaded"] == 4
    assert kind["nodes"]["alpha"]["beside_conflicts"] == 1
    assert psql(world.beta, f"SELECT originator_envelope FROM {BLOB} WHERE {row(10, ids[2])}"
                ) == FORGED
    assert rows(world.beta, "SELECT source_table, sequence_id, reason, retryable"
                            " FROM migration_dead_letter_box") == [
        ["group_messages", str(ids[2]), "conflict", "t"]]
    assert count(world.alpha, "migration_dead_letter_box") == 0
    shown = world.migrate("rejected", "show", "group_messages", ids[2], "--node", "beta").json
    assert shown["row"]["data"] == psql(world.v3, "SELECT encode(data, 'hex') FROM group_messages"
                                                  f" WHERE id = {ids[2]}")


def test_a_difference_in_the_meta_row_alone_is_a_conflict_too(world):
    ids = [add_message(world.v3, f"message {i}") for i in range(2)]
    world.run()
    psql(world.alpha, f"UPDATE {META} SET topic = '\\x00aa' WHERE {row(10, ids[0])};"
                      f"UPDATE {META} SET expiry = 1 WHERE {row(10, ids[1])}")
    account = world.run("--new-run", status=4)
    assert account["kinds"]["group_messages"]["rejected"] == 2
    assert psql(world.alpha, f"SELECT expiry FROM {META} WHERE {row(10, ids[1])}") == "1"


def test_conflicts_on_different_nodes_are_each_counted_once(world):
    ids = [add_message(world.v3, f"message {i}") for i in range(6)]
    put_other_bytes(world.alpha, ids[0])
    put_other_bytes(world.alpha, ids[1])
    put_other_bytes(world.beta, ids[1])
    put_other_bytes(world.beta, ids[2])
    account = world.run(status=4)
    kind = account["kinds"]["group_messages"]
    assert (kind["rejected"], kind["for_nodes"]) == (3, 3)
    assert account["rejects"] == {"conflict": 3}


def test_thousands_of_conflicts_are_no_harder_than_one(world):
    world.seed(8000)
    psql(world.beta, f"""
        SELECT ensure_gateway_parts_v3(10, 1);
        INSERT INTO {META} (originator_node_id, originator_sequence_id, topic, expiry)
        SELECT 10, g, '\\x00ff', 42 FROM generate_series(1, 20000) g""")
    account = world.run(status=4)
    assert account["rejects"]["conflict"] == account["kinds"]["group_messages"]["rejected"] > 2000


def test_half_a_row_is_completed(world):
    ids = [add_message(world.v3, f"message {i}") for i in range(3)]
    world.run()
    psql(world.alpha, f"DELETE FROM {BLOB} WHERE {row(10, ids[1])}")
    account = world.run("--new-run")
    assert account["kinds"]["group_messages"]["nodes"]["alpha"] == {"loaded": 1,
                                                                    "already_there": 2}
    assert digest_of_node(world.alpha) == digest_of_node(world.beta)


def test_a_row_with_a_wrong_half_is_not_completed(world):
    id = add_message(world.v3, "message")
    world.run()
    psql(world.alpha, f"DELETE FROM {BLOB}; UPDATE {META} SET topic = '\\x00aa'")
    world.run("--new-run", status=4)
    assert count(world.alpha, BLOB, row(10, id)) == 0


def lose_meta(dsn, ids):
    """As somebody leaves it who works with the node's constraints off."""
    psql(dsn, f"""SET session_replication_role = replica;
        DELETE FROM {META} WHERE originator_node_id = 10
        AND originator_sequence_id IN ({", ".join(map(str, ids))})""")


def test_a_blob_without_its_meta_row_is_completed_when_it_is_right(world):
    ids = [add_message(world.v3, f"message {i}") for i in range(4)]
    world.run()
    digest = digest_of_node(world.beta)
    lose_meta(world.beta, ids[1:3])
    psql(world.beta, "DELETE FROM gateway_envelopes_latest")
    account = world.run("--new-run")
    assert account["kinds"]["group_messages"]["nodes"]["beta"] == {"loaded": 2, "already_there": 2}
    assert digest_of_node(world.beta).split() == digest.split()
    world.parity(0)


def test_a_blob_of_other_bytes_without_its_meta_row_is_a_conflict(world):
    id = add_message(world.v3, "one")
    world.run()
    lose_meta(world.beta, [id])
    psql(world.beta, f"UPDATE {BLOB} SET originator_envelope = '{FORGED}'")
    assert world.run("--new-run", status=4)["rejects"] == {"conflict": 1}
    assert count(world.beta, META) == 0 and count(world.beta, BLOB) == 1
    world.migrate("rejected", "waive", "group_messages", id, "--reason", "known")
    world.status(0)


def test_a_rerun_touches_no_band_that_it_has_no_row_in(world):
    """A node may have hundreds of bands: each that a statement names is planned for and locked."""
    world.seed(300)
    world.run()
    psql(world.alpha, "SELECT ensure_gateway_parts_v3(10, 5000000)")
    leaf = "o10_s5000000_6000000"
    with held(world.alpha, f"LOCK {META}_{leaf}, {BLOB}_{leaf}"):
        account = world.run("--new-run", seconds=30)
    assert account["kinds"]["group_messages"]["nodes"]["alpha"]["loaded"] == 0


# ---- two at once --------------------------------------------------------------------------------


def wait_until_it_waits(world, process):
    """For a lock of beta's that somebody else holds."""
    while psql(world.beta, f"""SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
            AND datname = current_database() AND application_name LIKE '%pid {process.pid} %'
            """) == "0":
        assert process.poll() is None, process.stderr.read()


def test_a_second_run_is_refused_and_told_of_the_first(world, start_tool):
    add_message(world.v3, "message")
    world.run()
    add_message(world.v3, "another")
    with held(world.beta, f"LOCK {META}"):
        first = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest))
        wait_until_it_waits(world, first)
        second = world.migrate("run", status=5)
        assert f"pid {first.pid}" in second.err and "another run is at work" in second.err
        assert "hint:" in second.err
        world.migrate("rejected", "list")
        world.migrate("status", status=5)  # looking is allowed
    assert first.wait(30) == 0
    world.status(0)


def test_two_first_runs_at_the_same_moment_do_not_spoil_each_other(world):
    world.seed(500)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        ran = list(pool.map(lambda _: world.migrate("run", status=None), range(4)))
    assert {one.status for one in ran} <= {0, 5}, [one.err for one in ran]
    assert any(one.status == 0 for one in ran)
    world.run()
    assert digest_of_node(world.alpha) == digest_of_node(world.beta)


@pytest.mark.parametrize("superuser", [True, False])
def test_a_run_that_was_killed_is_taken_over_at_once(world, start_tool, roles, superuser):
    """Its session waits for a lock, so that the server does not see for itself that it is gone."""
    if not superuser:
        world.write(nodes={name: as_user(dsn, roles[1]) for name, dsn in world.nodes.items()})
    add_message(world.v3, "message")
    world.run()
    add_message(world.v3, "another")
    with held(world.beta, "LOCK migration_tracker"):
        for _ in range(4):
            killed = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest))
            wait_until_it_waits(world, killed)
            killed.kill()
            killed.wait()
        last = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest))
        wait_until_it_waits(world, last)
    assert last.wait(30) == 0
    world.status(0)


LOCKS = ["pg_advisory_xact_lock(8677720083233597298)",
         "pg_advisory_xact_lock_shared(8677720083233597299)"]


@pytest.mark.parametrize("lock", LOCKS)
def test_sessions_of_a_process_that_is_gone_are_ended_and_named(world, start_tool, lock):
    add_message(world.v3, "message")
    world.run()
    add_message(world.v3, "another")
    with held(world.beta, "LOCK migration_tracker"):
        killed = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest))
        wait_until_it_waits(world, killed)
        name = psql(world.beta, "SELECT DISTINCT application_name FROM pg_stat_activity WHERE"
                                f" application_name LIKE '%pid {killed.pid} %'")
        killed.kill()
        killed.wait()
    with held(world.alpha, f"SET application_name = '{name}'; SELECT {lock}"):
        ran = world.migrate("run")
    told = f"node 'alpha': {name.split()[1]}, pid {killed.pid}, which was at work here since"
    assert told in ran.err, ran.err
    assert "has ended without a word: its session is ended" in ran.err


ELSEWHERE = "xmtp-migrate otherhost pid 17 000000010001"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_run_of_another_machine_is_waited_for_and_named(world, start_tool, lock):
    add_message(world.v3, "message")
    with held(world.alpha, f"SET application_name = '{ELSEWHERE}'; SELECT {lock}"):
        plan = world.migrate("plan", status=5)
        assert "otherhost, pid 17, since 2" in plan.out + plan.err
        refused = world.migrate("run", status=5)
        assert "another run is at work here: otherhost, pid 17, since 2" in refused.err
        waiting = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest))
        while psql(world.alpha, "SELECT count(*) FROM pg_stat_activity WHERE datname ="
                   f" current_database() AND application_name LIKE '%pid {waiting.pid} %'") == "0":
            assert waiting.poll() is None
    assert waiting.wait(30) == 0  # it had ended meanwhile


# ---- usage --------------------------------------------------------------------------------------


def test_usage_is_counted_once_and_for_rows_really_inserted(world):
    world.write(policy={"usage": "count"})
    ids = [add_message(world.v3, f"message {i}") for i in range(4)]
    put_other_bytes(world.alpha, ids[0])
    world.run(status=4)
    usage = ("SELECT sum(message_count), sum(spend_picodollars), max(last_sequence_id)"
             " FROM unsettled_usage")
    counted = rows(world.alpha, usage)
    assert counted[0][0] == "3" and int(counted[0][1]) > 0 and counted[0][2] == str(ids[3])
    assert rows(world.beta, usage)[0][0] == "4"
    world.run("--new-run", status=4)
    assert rows(world.alpha, usage) == counted


def test_usage_is_skipped_unless_asked_for(world):
    add_message(world.v3, "message")
    world.run()
    assert count(world.alpha, "unsettled_usage") == 0


# ---- rights -------------------------------------------------------------------------------------


@pytest.fixture
def roles(world, server):
    """An owner of the node's tables as in production, a migrator and a reader, of our scripts."""
    number = re.search(r"dbname=\w*?(\d+)", world.alpha).group(1)
    owner, migrator, reader = f"owner{number}", f"migrator{number}", f"reader{number}"
    psql(server.dsn(), f"CREATE ROLE {owner} LOGIN")
    for dsn in world.nodes.values():
        psql(dsn, f"""
            DO $$ DECLARE r record; BEGIN
            FOR r IN SELECT oid::regclass AS name FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') LOOP
                EXECUTE format('ALTER TABLE %s OWNER TO {owner}', r.name);
            END LOOP;
            FOR r IN SELECT oid::regprocedure AS name FROM pg_proc
                WHERE pronamespace = 'public'::regnamespace LOOP
                EXECUTE format('ALTER FUNCTION %s OWNER TO {owner}', r.name);
            END LOOP; END $$;
            GRANT CREATE, USAGE ON SCHEMA public TO {owner}""")
    psql(world.v3, file=str(SQL / "source_role.sql"), variables={"role": reader})
    psql(world.alpha, file=str(SQL / "node_role.sql"),
         variables={"role": migrator, "owner": owner})
    script = (SQL / "node_role.sql").read_text().replace("CREATE ROLE", "-- CREATE ROLE")
    psql(world.beta, f"\\set role {migrator}\n\\set owner {owner}\n{script}")
    yield owner, migrator, reader
    for dsn in [world.v3, *world.nodes.values()]:
        psql(dsn, f"DROP OWNED BY {owner}, {migrator}, {reader} CASCADE")
    psql(server.dsn(), f"DROP ROLE {migrator}, {reader}, {owner}")


def test_the_documented_roles_suffice_for_everything(world, roles):
    owner, migrator, reader = roles
    world.seed(800, shape="hostile")
    put = {name: as_user(dsn, migrator) for name, dsn in world.nodes.items()}
    world.write(source=as_user(world.v3, reader), nodes=put, policy={"usage": "count"})
    account = world.run(status=4)
    assert_closes(account)
    assert psql(world.alpha, "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class"
                             f" WHERE relname ~ '^({META}|{BLOB})'") == owner
    world.parity(4)
    world.status(4)
    world.migrate("rejected", "retry", status=4)
    world.migrate("rejected", "waive", "--kind", "group_messages", "--reject-reason", "data_empty",
                  "--reason", "a trial")
    psql(world.v3, "DELETE FROM welcome_messages WHERE data = '';"
                   "UPDATE installations SET updated_at = updated_at +"
                   " (extract(epoch FROM now()) * 1e9)::bigint - (SELECT max(updated_at) FROM"
                   " installations)")
    world.run(status=4)
    assert count(world.beta, "xmtp_migrate.renewed") > 10
    world.parity(4)


def test_the_role_takes_over_books_that_a_superuser_began(world, roles):
    owner, migrator, _ = roles
    world.seed(300)
    for dsn in world.nodes.values():
        psql(dsn, "DROP SCHEMA xmtp_migrate")
    world.run()
    for dsn in world.nodes.values():
        psql(dsn, file=str(SQL / "node_role.sql"), variables={"role": migrator, "owner": owner})
    world.write(nodes={name: as_user(dsn, migrator) for name, dsn in world.nodes.items()})
    world.parity(0)
    add_message(world.v3, "one more")
    world.run()
    world.parity(0)


@pytest.mark.parametrize("lost", [
    "REVOKE INSERT ON payers FROM {migrator}",
    "REVOKE {owner} FROM {migrator}",
    "REVOKE SELECT ON schema_migrations FROM {migrator}",
    "REVOKE ALL ON SCHEMA xmtp_migrate FROM {migrator};"
    " ALTER SCHEMA xmtp_migrate OWNER TO postgres",
])
def test_a_lacking_right_is_told_with_the_script_that_grants_it(world, roles, lost):
    owner, migrator, _ = roles
    add_message(world.v3, "message")
    world.write(nodes={name: as_user(dsn, migrator) for name, dsn in world.nodes.items()})
    # Without the owner's membership each right must be the role's own.
    psql(world.beta, f"REVOKE {owner} FROM {migrator};" +
         lost.format(owner=owner, migrator=migrator))
    ran = world.run(status=1)
    assert "node '" in ran.err and "_role.sql" in ran.err
    assert count(world.beta, META) == 0


def test_a_source_role_without_rights_is_refused(world, server):
    number = re.search(r"dbname=\w*?(\d+)", world.v3).group(1)
    psql(server.dsn(), f"CREATE ROLE nobody{number} LOGIN")
    try:
        world.write(source=as_user(world.v3, f"nobody{number}"))
        add_message(world.v3, "message")
        ran = world.run(status=1)
        assert "source" in ran.err and "role.sql" in ran.err
        assert world.untouched()
    finally:
        psql(server.dsn(), f"DROP ROLE nobody{number}")


# ---- more nodes ---------------------------------------------------------------------------------


def test_a_node_added_later_is_completed_by_the_next_run(world):
    world.seed(1500)
    alone = {"alpha": world.alpha}
    world.write(nodes=alone)
    first = world.run()
    world.write()
    second = world.run()
    assert second["run"] == first["run"] and second["as_of"] == first["as_of"]
    assert digest_of_node(world.alpha) == digest_of_node(world.beta)
    third = world.run()  # nothing is left of that run: the next one is new
    assert third["run"] != first["run"]
    assert all(kind["nodes"]["beta"]["loaded"] == 0 for kind in third["kinds"].values()
               if "nodes" in kind)


def test_a_node_that_missed_runs_gets_everything(world):
    """alpha took part in two runs, beta in the first only."""
    add_message(world.v3, "first")
    world.run()
    add_message(world.v3, "second")
    world.write(nodes={"alpha": world.alpha})
    world.run()
    world.write()
    add_message(world.v3, "third")
    world.run()
    assert count(world.beta, META) == 3
    assert digest_of_node(world.alpha) == digest_of_node(world.beta)
