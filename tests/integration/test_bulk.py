"""The bulk path: a band that is filled beside the node's tables and attached is told by nothing
from one that came row by row, and nobody notices how it came."""

import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest
from conftest import tool_environment, tool_path
from support.servers import ServerError, client, psql, rows
from support.world import (  # noqa: F401
    BLOB, INSTALLATION, META, as_user, count, digest_of_node, world)

UNTIL = "2026-01-01T00:00:00Z"
ROLE_SQL = pathlib.Path(__file__).resolve().parents[2] / "schemas/sql/node_role.sql"
GROUP_MESSAGES = 10
FAR = 10 ** 9  # above are rows with ids drawn by hand, each alone in its band
LEFT = ("SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('xmtp_migrate')"
        " AND relname ~ '^(meta|blob)_o'")


@pytest.fixture
def full(world):
    """Several parts of a band for the tables with rows for nodes, with all that can be amiss."""
    def fill(dsn):
        world.tool("xmtp-seed", "schema", "v3", "--dsn", dsn)
        world.tool("xmtp-seed", "rows", "--dsn", dsn, "--rows", 16000, "--seed", 5, "--until", UNTIL,
                   "--shape", "hostile")
        psql(dsn, f"""
            INSERT INTO welcome_messages (created_at, installation_key, data, hpke_public_key,
                installation_key_data_hash, wrapper_algorithm)
            SELECT '{UNTIL}'::timestamptz - interval '2 days', '\\x{INSTALLATION}',
                decode(repeat(md5(g::text), 200), 'hex'), '\\x00', sha256(g::text::bytea), 0
            FROM generate_series(1, 3000) g""")

    world.v3 = world.databases.copy("v3_full", fill)
    world.write()
    return world


def spread(world):
    """Moves the later messages two bands up, so that there are bands before and behind."""
    psql(world.v3, f"""
        UPDATE group_messages SET id = id + 2000000 WHERE id BETWEEN 6000 AND {FAR};
        SELECT setval('group_messages_id_seq', (SELECT max(id) FROM group_messages
            WHERE id < {FAR}))""")


def run(world, status=4):
    return world.run("--as-of", UNTIL, status=status)


def put_in_the_way(dsn):
    """A row that no run brings, in each first band: no band is empty then."""
    psql(dsn, "".join(f"""
        SELECT ensure_gateway_parts_v3({originator}, {start});
        INSERT INTO {META} (originator_node_id, originator_sequence_id, topic, expiry)
        VALUES ({originator}, {start + 999999}, '\\x00ff', 42);
        """ for originator in (10, 11, 13) for start in (0, 2000000)))


def clear_the_way(dsn):
    psql(dsn, f"DELETE FROM {META} WHERE topic = '\\x00ff' AND expiry = 42")


def contents(dsn):
    """As digest_of_node; the clock apart, which the rows in the way have raised."""
    lines = digest_of_node(dsn).split("\n")
    return [line for line in lines if not re.match(r"1[013]\|", line)]


def clocks(dsn):
    return rows(dsn, "SELECT originator_node_id, originator_sequence_id, gateway_time FROM"
                     " gateway_envelopes_latest WHERE originator_node_id IN (10, 11, 13) ORDER BY 1")


def took_bulk(dsn, originator=GROUP_MESSAGES):
    """Rows of a band that was attached all come from one transaction; staged parts do not."""
    writers, bands = rows(dsn, f"""
        SELECT count(DISTINCT xmin::text), count(DISTINCT originator_sequence_id / 1000000)
        FROM {META} WHERE originator_node_id = {originator}
            AND originator_sequence_id < {FAR}""")[0]
    return writers == bands


# ---- what it looks like ---------------------------------------------------------------------------

def neutral(text):
    """Without what differs from band to band."""
    text = re.sub(r"_s\d+_\d+", "_BAND", text)
    text = re.sub(r"_s\d+_", "_BAND_", text)
    text = re.sub(r"INDEX \S+ ON", "INDEX ON", text)
    text = re.sub(r"_[a-z]*_(fkey|fk_?|f_?)\d+", "_fkeyN", text)  # the how many-th it is
    return re.sub(r"\(?'\d+'\) TO \('\d+'\)", "BOUNDS", text)


def catalogue(dsn, leaf):
    """All that PostgreSQL knows of a leaf that does not depend on its rows."""
    queries = {
        "table": "SELECT pg_get_userbyid(relowner), relkind, relpersistence, relreplident,"
                 " relispartition, reloptions, relacl, relhasindex, relhastriggers, relnamespace::"
                 "regnamespace, pg_get_expr(relpartbound, oid), reltablespace, relam,"
                 " relrowsecurity, (SELECT reloptions FROM pg_class t WHERE t.oid = c.reltoastrelid)"
                 " FROM pg_class c WHERE oid = L",
        "inherits": "SELECT inhparent::regclass, inhseqno, inhdetachpending FROM pg_inherits"
                    " WHERE inhrelid = L",
        "columns": "SELECT attnum, attname, atttypid::regtype, attnotnull, attstorage,"
                   " attcompression, attislocal, attinhcount, attidentity, attgenerated, attacl,"
                   " pg_get_expr(adbin, adrelid) FROM pg_attribute LEFT JOIN pg_attrdef ON"
                   " adrelid = attrelid AND adnum = attnum WHERE attrelid = L AND attnum > 0"
                   " AND NOT attisdropped ORDER BY attnum",
        "constraints": "SELECT conname, contype, condeferrable, convalidated, conislocal,"
                       " coninhcount, conparentid::bigint <> 0, confrelid::regclass,"
                       " pg_get_constraintdef(oid), (SELECT conname FROM pg_constraint p"
                       " WHERE p.oid = c.conparentid), conindid::regclass"
                       " FROM pg_constraint c WHERE conrelid = L OR confrelid = L"
                       " ORDER BY c.conname, c.confrelid::regclass::text",
        "indexes": "SELECT pg_get_indexdef(indexrelid), indisvalid, indisready, indisprimary,"
                   " i.relispartition, i.reloptions, pg_get_userbyid(i.relowner),"
                   " (SELECT inhparent::regclass FROM pg_inherits WHERE inhrelid = indexrelid)"
                   " FROM pg_index JOIN pg_class i ON i.oid = indexrelid WHERE indrelid = L"
                   " ORDER BY 1",
        "triggers": "SELECT tgfoid::regproc, tgenabled, tgtype, tgparentid::bigint <> 0,"
                    " tgisinternal, tgconstrrelid::regclass FROM pg_trigger WHERE tgrelid = L"
                    " ORDER BY 1, 3, 6",
    }
    return {name: neutral(psql(dsn, sql.replace("= L", f"= '{leaf}'::regclass")))
            for name, sql in queries.items()}


def test_an_attached_leaf_is_told_by_nothing_from_one_of_the_nodes_own(full):
    psql(full.alpha, "CREATE ROLE leaf_owner" if psql(
        full.alpha, "SELECT count(*) FROM pg_roles WHERE rolname = 'leaf_owner'") == "0" else "")
    for relation in rows(full.alpha, "SELECT oid::regclass FROM pg_class WHERE relnamespace ="
                                     " 'public'::regnamespace AND relkind IN ('r', 'p')"):
        psql(full.alpha, f"ALTER TABLE {relation[0]} OWNER TO leaf_owner")
    psql(full.alpha, "GRANT USAGE, CREATE ON SCHEMA public TO leaf_owner")
    run(full)
    assert took_bulk(full.alpha)
    psql(full.alpha, "SET ROLE leaf_owner; SELECT ensure_gateway_parts_v3(10, 5000000)")
    for table in (META, BLOB):
        ours = catalogue(full.alpha, f"public.{table}_o10_s0_1000000")
        theirs = catalogue(full.alpha, f"public.{table}_o10_s5000000_6000000")
        for what in ours:
            assert sorted(ours[what].split("\n")) == sorted(theirs[what].split("\n")), what
        assert "leaf_owner" in ours["table"] and table in ours["indexes"]
    psql(full.alpha, f"""
        DELETE FROM {META} WHERE originator_node_id = 10 AND originator_sequence_id =
            (SELECT min(originator_sequence_id) FROM {META} WHERE originator_node_id = 10)""")
    assert count(full.alpha, META) == count(full.alpha, BLOB)
    with pytest.raises(Exception, match="foreign key"):
        psql(full.alpha, f"INSERT INTO {BLOB} VALUES (10, 999999, 'x')")


def test_a_foreign_key_is_named_without_counting_through_those_of_other_bands(full):
    """PostgreSQL names it once for each leaf of the node, by what fits of the table's name, and
    counts up until the name is free: with hundreds of leaves that is what others would wait for.
    From 18 on it counts in each table by itself."""
    by_table = int(psql(full.alpha, "SHOW server_version_num")) < 180000
    psql(full.alpha, "SELECT ensure_gateway_parts_v3(100, n * 1000000) FROM generate_series(0, 29) n")
    process = start_run(full)
    assert wait_for(full.alpha, "query ~ 'COPY xmtp_migrate.meta_o10'")
    process.send_signal(signal.SIGSTOP)
    names = rows(full.alpha, """
        SELECT conrelid::regclass, count(*), bool_and(conname ^@ (relname || '_originator_node_id')),
            (SELECT bool_and(convalidated) FROM pg_constraint v WHERE v.conrelid = c.conrelid AND
                v.conparentid = 0)
        FROM pg_constraint c JOIN pg_class t ON t.oid = conrelid
        WHERE relnamespace = 'xmtp_migrate'::regnamespace AND relname ~ '^blob_o10' AND
            contype = 'f' AND conparentid <> 0 GROUP BY conrelid, relname""")
    process.send_signal(signal.SIGCONT)
    process.communicate()
    assert process.returncode == 4
    assert [name[3] for name in names] == ["t"] and int(names[0][1]) > 30
    assert names[0][2] == "t" or not by_table


# ---- what is in it --------------------------------------------------------------------------------


def test_bulk_staging_and_file_by_file_come_to_the_same(full, tmp_path):
    spread(full)
    full.node("gamma")
    full.write()
    put_in_the_way(full.beta)
    # PostgreSQL cuts the names of this band's indexes to those of the band from 2000000.
    psql(full.alpha, "SELECT ensure_gateway_parts_v3(10, 20000000)")
    account = run(full)
    assert took_bulk(full.alpha) and took_bulk(full.alpha, 11) and not took_bulk(full.beta)
    assert len(rows(full.alpha, f"SELECT DISTINCT tableoid FROM {META} WHERE"
                                f" originator_node_id = 10 AND originator_sequence_id < {FAR}")) == 2
    for kind in account["kinds"].values():
        nodes = kind.get("nodes", {})
        assert len({tuple(node.items()) for node in nodes.values()}) <= 1
    clear_the_way(full.beta)
    assert contents(full.alpha) == contents(full.beta) == contents(full.nodes["gamma"])
    assert count(full.alpha, "migration_dead_letter_box") > 10
    assert psql(full.alpha, LEFT) == psql(full.beta, LEFT) == "0"

    full.nodes = {"delta": full.databases.node(100)}
    full.write()
    out, envelopes = tmp_path / "rows", tmp_path / "envelopes"
    full.stage("export", "--as-of", UNTIL, "--out", out)
    full.stage("transform", "--in", out, "--out", envelopes)
    full.stage("load", "--in", envelopes, status=4)
    delta = full.nodes["delta"]
    assert took_bulk(delta)
    assert contents(delta) == contents(account_of(full))
    assert clocks(delta) == clocks(account_of(full))


def test_staged_blobs_are_not_looked_up_row_by_row(full):
    put_in_the_way(full.beta)
    run(full)
    assert not took_bulk(full.beta)
    looked, there = rows(full.beta, f"""
        SELECT idx_scan, (SELECT count(*) FROM {BLOB}_o10_s0_1000000) FROM pg_stat_user_indexes
        WHERE indexrelname = '{META}_o10_s0_1000000_pkey'""")[0]
    assert int(looked) < 100 < int(there)


def account_of(full):
    """The node that took everything on the bulk path."""
    return full.first


@pytest.fixture(autouse=True)
def remember_first(request):
    if "full" in request.fixturenames:
        full = request.getfixturevalue("full")
        full.first = full.alpha


def test_a_half_filled_node_is_completed_with_its_conflicts_kept(full):
    spread(full)
    run(full)
    before = digest_of_node(full.beta)
    psql(full.alpha, f"""
        DELETE FROM {META} WHERE originator_node_id = 10 AND originator_sequence_id BETWEEN 2000000
            AND {FAR};
        DELETE FROM {META} WHERE originator_node_id = 10 AND originator_sequence_id % 3 = 0""")
    other = psql(full.alpha, f"""
        UPDATE {META} SET expiry = 7 WHERE originator_node_id = 10 AND originator_sequence_id IN
            (SELECT min(originator_sequence_id) FROM {META} WHERE originator_node_id = 10)
        RETURNING originator_sequence_id""")
    full.run("--new-run", "--as-of", UNTIL, status=4)
    assert count(full.alpha, META, "expiry = 7") == 1
    assert psql(full.alpha, "SELECT sequence_id FROM migration_dead_letter_box"
                            " WHERE reason = 'conflict'") == other
    assert psql(full.alpha, f"SELECT count(DISTINCT xmin::text) FROM {META} WHERE"
                            " originator_node_id = 10 AND originator_sequence_id BETWEEN 2000000 AND"
                            f" {FAR}") == "1"
    assert count(full.alpha, META) == count(full.beta, META)
    assert digest_of_node(full.beta) == before


def test_an_empty_leaf_of_the_nodes_own_is_replaced(full):
    psql(full.alpha, "SELECT ensure_gateway_parts_v3(10, 0)")
    leaf = psql(full.alpha, f"SELECT '{META}_o10_s0_1000000'::regclass::oid")
    run(full)
    assert took_bulk(full.alpha)
    assert psql(full.alpha, f"SELECT '{META}_o10_s0_1000000'::regclass::oid") != leaf
    assert digest_of_node(full.alpha) == digest_of_node(full.beta)


# ---- stopped in the middle --------------------------------------------------------------------------


def start(*words):
    return subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=tool_environment())


def start_run(world):
    """One table after another, so that a test can tell what comes next."""
    return start(tool_path("xmtp-migrate"), "run", "--manifest", world.manifest, "--as-of", UNTIL,
                 "--source-connections", "1")


def wait_for(dsn, condition, wanted=True, seconds=30):
    """Until some session of ours on the node is as the condition says, or none. The server looks
    itself, a thousand times a second: what is waited for may be over soon."""
    try:
        psql(dsn, f"""
            DO $$ BEGIN
                FOR i IN 1 .. {seconds * 1000} LOOP
                    PERFORM pg_stat_clear_snapshot();
                    IF EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                        AND application_name ~ '^xmtp-migrate' AND {condition}) = {wanted} THEN
                        RETURN;
                    END IF;
                    PERFORM pg_sleep(0.001);
                END LOOP;
                RAISE EXCEPTION 'waited in vain';
            END $$""")
    except ServerError:
        return False
    return True


class Holding:
    """A session that keeps a lock until it is let go."""

    def __init__(self, dsn, sql):
        self.process = subprocess.Popen([client("psql"), "-XAtq", "-d", dsn], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdin.write(f"BEGIN; {sql}; SELECT 'held';\n")
        self.process.stdin.flush()
        while self.process.stdout.readline().strip() != "held":
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def finish_after_a_kill(world):
    run(world)
    for dsn in world.nodes.values():
        assert psql(dsn, LEFT) == "0"
    assert digest_of_node(world.alpha) == digest_of_node(world.beta)
    fresh = world.databases.node(100)
    world.nodes = {"fresh": fresh}
    world.write()
    world.run("--as-of", UNTIL, status=4)
    assert digest_of_node(fresh) == digest_of_node(world.first)


def test_killed_while_it_fills_a_band(full):
    process = start_run(full)
    assert wait_for(full.alpha, "query ~ 'COPY xmtp_migrate.meta_'")
    process.kill()
    process.communicate()
    assert psql(full.alpha, LEFT) != "0"
    assert count(full.alpha, META, "originator_node_id = 10") == 0
    assert count(full.alpha, "xmtp_migrate.counts", "state = 'loaded'") == 0
    finish_after_a_kill(full)


def test_killed_just_before_it_attaches(full):
    process = start_run(full)
    assert wait_for(full.alpha, "query ~ 'COPY xmtp_migrate.meta_'")
    with Holding(full.alpha, "SELECT pg_advisory_xact_lock_shared(5)"):
        assert wait_for(full.alpha, "state = 'active' AND query ~ '^SAVEPOINT mig_attach'")
        process.kill()
        process.communicate()
    finish_after_a_kill(full)


def test_interrupted_while_it_waits_to_attach(full):
    process = start_run(full)
    assert wait_for(full.alpha, "query ~ 'COPY xmtp_migrate.meta_'")
    with Holding(full.alpha, "SELECT pg_advisory_xact_lock_shared(5)"):
        assert wait_for(full.alpha, "state = 'active' AND query ~ '^SAVEPOINT mig_attach'")
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        process.communicate(timeout=20)
        assert process.returncode == 130 and time.monotonic() - sent < 2
    finish_after_a_kill(full)


# ---- beside a live node -----------------------------------------------------------------------------


def test_rows_that_come_into_the_band_meanwhile_are_kept(full):
    process = start_run(full)
    assert wait_for(full.alpha, "query ~ 'COPY xmtp_migrate.meta_'")
    psql(full.alpha, f"""
        BEGIN; SELECT pg_advisory_xact_lock(5); SELECT ensure_gateway_parts_v3(10, 0); COMMIT;
        BEGIN; SELECT pg_advisory_xact_lock_shared(5);
        INSERT INTO {META} (originator_node_id, originator_sequence_id, topic, expiry)
        VALUES (10, 1, '\\x00ff', 42); COMMIT""")
    _, err = process.communicate()
    assert process.returncode == 4 and "while it was filled" in err, err
    assert "trying again in" in err
    assert count(full.alpha, META, "expiry = 42") == 1
    for dsn in full.nodes.values():
        assert psql(dsn, LEFT) == "0"


def test_bands_that_are_attached_at_once_do_not_keep_each_other_from_it(full):
    for table in ("group_messages", "welcome_messages"):  # a part behind would wait for its band
        psql(full.v3, f"DELETE FROM {table} WHERE id >= {FAR}")
    process = start(tool_path("xmtp-migrate"), "run", "--manifest", full.manifest, "--as-of", UNTIL)
    assert wait_for(full.alpha, """4 = (SELECT count(*) FROM pg_constraint JOIN pg_class t
        ON t.oid = conrelid WHERE contype = 'f' AND convalidated AND conparentid = 0 AND
        relname ~ '^(meta|blob)_o1[01]_')""")
    process.send_signal(signal.SIGSTOP)
    with Holding(full.alpha, "LOCK TABLE payers IN ROW SHARE MODE"):
        process.send_signal(signal.SIGCONT)
        assert wait_for(full.alpha, """2 <= (SELECT count(*) FROM pg_stat_activity WHERE datname =
            current_database() AND query ~ '^(SAVEPOINT mig_attach|SELECT to_regclass)' AND
            state <> 'idle' AND xact_start < clock_timestamp() - interval '500 ms')""")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    assert took_bulk(full.alpha) and took_bulk(full.alpha, 11)


LIVE = f"""
    BEGIN; SELECT pg_advisory_xact_lock_shared(5);
    SELECT inserted_meta_rows FROM insert_gateway_envelope_batch_v3(ARRAY[100], ARRAY[%d::bigint],
        ARRAY[(SELECT coalesce((SELECT topic FROM {META} LIMIT 1), '\\x0001'))], ARRAY[NULL::int],
        ARRAY[now()::timestamp], ARRAY[99::bigint], ARRAY['\\x01'::bytea], ARRAY[0::bigint],
        ARRAY[false], ARRAY[false]);
    COMMIT;
"""


class Live(threading.Thread):
    """Runs statements in one session, one after another, and notes how long each took."""

    def __init__(self, dsn, statement):
        super().__init__()
        self.process = subprocess.Popen(
            [client("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", dsn], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(os.environ, PGOPTIONS="-c client_min_messages=error"))
        self.statement, self.longest, self.times = statement, 0, 0
        self.go_on = True

    def run(self):
        while self.go_on:
            began = time.monotonic()
            self.times += 1
            self.process.stdin.write(self.statement(self.times) + "\nSELECT 'done';\n")
            self.process.stdin.flush()
            while (line := self.process.stdout.readline()) and line.strip() != "done":
                pass
            self.longest = max(self.longest, time.monotonic() - began)
            if not line:
                return
            time.sleep(0.002)

    def end(self):
        self.go_on = False
        self.join()
        _, err = self.process.communicate()
        return err


def test_a_live_node_goes_on_reading_writing_and_making_bands(full, capsys):
    spread(full)
    psql(full.alpha, "SELECT ensure_gateway_parts_v3(100, 0)")
    live = {
        "writer": Live(full.alpha, lambda i: LIVE % i),
        "reader": Live(full.alpha, lambda i: f"""
            SELECT count(*) FROM {META} m JOIN {BLOB} b USING (originator_node_id,
                originator_sequence_id) WHERE m.topic = (SELECT topic FROM {META} LIMIT 1);"""),
        "maker": Live(full.alpha, lambda i: f"""
            BEGIN; SELECT pg_advisory_xact_lock(5);
            SELECT ensure_gateway_parts_v3(100, {i % 50}000000); COMMIT;"""),
        "pruner": Live(full.alpha, lambda i: f"""
            BEGIN; SELECT pg_advisory_xact_lock_shared(5);
            DELETE FROM {META} WHERE originator_node_id = 100 AND originator_sequence_id = {i};
            COMMIT;"""),
    }
    for one in live.values():
        one.start()
    time.sleep(2)
    before = [one.longest for one in live.values()]
    for one in live.values():
        one.longest = 0
    try:
        run(full)
    finally:
        errors = {name: one.end() for name, one in live.items()}
    assert errors == dict.fromkeys(live, "")
    assert took_bulk(full.alpha)
    with capsys.disabled():
        print("\nlongest waits:", ", ".join(
            f"{name} {1000 * one.longest:.0f} ms (alone {1000 * alone:.0f} ms)"
            for (name, one), alone in zip(live.items(), before)))
    # How long is for people to judge, on a machine of its own; this only tells when somebody is
    # really kept out.
    assert max(one.longest for one in live.values()) < 5
    psql(full.alpha, f"""DELETE FROM {META} WHERE originator_node_id = 100;
        DELETE FROM gateway_envelopes_latest WHERE originator_node_id = 100""")
    assert digest_of_node(full.alpha) == digest_of_node(full.beta)
    assert full.parity(status=4)["differences"] == []


# ---- rights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("granted", [True, False])
def test_the_documented_role_is_enough_with_and_without_the_one_right(full, granted):
    owner, migrator = "bulk_owner", "bulk_migrator"
    for role in (owner, migrator):
        if psql(full.alpha, f"SELECT count(*) FROM pg_roles WHERE rolname = '{role}'") == "0":
            psql(full.alpha, f"CREATE ROLE {role} LOGIN")
    try:
        for dsn in full.nodes.values():
            psql(dsn, f"GRANT CREATE, USAGE ON SCHEMA public TO {owner}")
            for relation in rows(dsn, "SELECT oid::regclass FROM pg_class WHERE relnamespace ="
                                      " 'public'::regnamespace AND relkind IN ('r', 'p')"):
                psql(dsn, f"ALTER TABLE {relation[0]} OWNER TO {owner}")
            psql(dsn, file=str(ROLE_SQL), variables={"role": migrator, "owner": owner})
        if not granted:
            psql(full.alpha, f"REVOKE SET ON PARAMETER session_replication_role FROM {migrator}")
        full.write(nodes={name: as_user(dsn, migrator) for name, dsn in full.nodes.items()})
        run(full)
        assert took_bulk(full.alpha) == granted
        owners = rows(full.alpha, "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class"
                                  f" WHERE relname ~ '^{META}_o10_s'")
        assert owners == [[owner]]
    finally:
        for dsn in full.nodes.values():
            psql(dsn, f"DROP OWNED BY {owner}, {migrator} CASCADE")


# ---- told before ------------------------------------------------------------------------------------


def ways(world):
    document = world.migrate("run", "--dry-run", "--as-of", UNTIL).json
    assert document["schema"] == "xmtp-migrate/dry-run/1"
    return {(band["node"], band["table"], band["first_id"]): (band["way"], band["because"])
            for band in document["bands"] if band["first_id"] < FAR}


def test_a_dry_run_tells_each_bands_way_and_writes_nothing(full):
    psql(full.beta, f"""
        SELECT ensure_gateway_parts_v3(10, 0);
        INSERT INTO {META} (originator_node_id, originator_sequence_id, topic, expiry)
        VALUES (10, 999999, '\\x00ff', 42)""")
    told = ways(full)
    assert told["alpha", "group_messages", 0] == ("bulk", "empty")
    assert told["beta", "group_messages", 0] == ("staging", "has rows")
    assert told["alpha", "key_packages", 0] == ("staging", "few rows")
    assert not any(table == "inbox_log" for _, table, _ in told)
    assert full.untouched("alpha")
    table = full.tool("xmtp-migrate", "run", "--dry-run", "--manifest", full.manifest).out
    assert re.search(r"^beta +group_messages +0 +staging +has rows$", table, re.M)
    full.write(policy={"usage": "count"})
    assert ways(full)["alpha", "group_messages", 0] == ("staging", "the policy counts usage")
    full.write()
    run(full)
    assert "group_messages" in {table for _, table, _ in ways(full)}
