"""Reading V3: what is settled, who is waited for and who not, ids drawn by hand, odd servers."""

import re
import subprocess
import time

import pytest
from support.servers import client, psql, rows
from support.world import (META, TABLES, add_message, count, digest_of_node, insert_message,
                           world)  # noqa: F401


class Session:
    """A session that stays open: each call runs SQL and waits until it is done."""

    def __init__(self, dsn):
        self._psql = subprocess.Popen([client("psql"), "-XAtq", "-d", dsn], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.pid = int(self("SELECT pg_backend_pid()"))

    def __call__(self, sql):
        self._psql.stdin.write(f"{sql};\nSELECT 'done';\n")
        self._psql.stdin.flush()
        lines = iter(self._psql.stdout.readline, "done\n")
        return "".join(lines).rstrip("\n")

    def close(self):
        self._psql.communicate()


@pytest.fixture
def session():
    opened = []

    def begin(dsn):
        opened.append(Session(dsn))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


def lines_until(process, text, seconds=20):
    """Reads what a tool says until text appears; gives the line."""
    deadline = time.monotonic() + seconds
    seen = []
    while time.monotonic() < deadline:
        line = process.stderr.readline()
        if not line:
            break
        seen.append(line)
        if text in line:
            return line
    raise AssertionError(f"never said '{text}': {seen}")


def loaded_ids(dsn, originator=10):
    return [int(id) for [id] in rows(dsn, f"""
        SELECT originator_sequence_id FROM {META} WHERE originator_node_id = {originator}
        ORDER BY 1""")]


def tracker(dsn, table="group_messages"):
    return int(psql(dsn, f"SELECT last_migrated_id FROM migration_tracker WHERE source_table ="
                         f" '{table}'"))


# ---- what is settled ----------------------------------------------------------------------------


def test_a_late_commit_is_waited_for_and_loaded(world, session, start_tool):
    writer = session(world.v3)
    writer("BEGIN")
    writer(insert_message("late"))
    visible = add_message(world.v3, "quicker, with a higher id")
    running = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest), "--progress",
                         "plain")
    said = lines_until(running, f"pid {writer.pid}")
    assert "group_messages" in said and "waiting" in said
    time.sleep(0.3)
    assert running.poll() is None
    writer("COMMIT")
    out, err = running.communicate(timeout=30)
    assert running.returncode == 0, err
    assert loaded_ids(world.alpha) == [visible - 1, visible]


PARTITIONED = """
    ALTER TABLE group_messages RENAME TO whole;
    CREATE TABLE group_messages (LIKE whole INCLUDING DEFAULTS) PARTITION BY RANGE (id);
    CREATE TABLE middle PARTITION OF group_messages DEFAULT PARTITION BY RANGE (id);
    CREATE TABLE leaf PARTITION OF middle DEFAULT"""
CHILD = "CREATE TABLE leaf () INHERITS (group_messages)"
DRAWN = "; SELECT nextval('group_messages_id_seq')"
INTO_LEAF = insert_message("late").replace("group_messages", "leaf")
ONE_INTO_LEAF = insert_message("late", id=1).replace("group_messages", "leaf")


@pytest.mark.parametrize("before, first, last", [
    (PARTITIONED, INTO_LEAF, "SELECT 1"),
    (PARTITIONED + DRAWN, ONE_INTO_LEAF, "SELECT 1"),
    (CHILD, INTO_LEAF, "SELECT 1"),
    (CHILD + DRAWN, ONE_INTO_LEAF, "SELECT 1"),
    ("SELECT 1", f"{CHILD}; {INTO_LEAF}", "SELECT 1"),
    ("SELECT 1", "SELECT 1" + DRAWN, insert_message("late", id=1)),
], ids=["leaf", "leaf by hand", "child", "child by hand", "child not yet seen", "only drawn yet"])
def test_a_writer_that_has_no_lock_on_the_table_is_waited_for(world, session, start_tool, before,
                                                              first, last):
    psql(world.v3, before)
    writer = session(world.v3)
    writer("BEGIN")
    writer(first)
    assert add_message(world.v3, "quicker, with a higher id") == 2
    running = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest), "--progress",
                         "plain")
    lines_until(running, f"pid {writer.pid}")
    writer(last)
    writer("COMMIT")
    assert running.wait(30) == 0
    assert loaded_ids(world.alpha) == [1, 2]


def test_a_prepared_writer_of_a_partition_is_waited_for(world, start_tool):
    psql(world.v3, PARTITIONED)
    psql(world.v3, f"BEGIN; {INTO_LEAF}; PREPARE TRANSACTION 'leaf'")
    add_message(world.v3, "quicker, with a higher id")
    running = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest), "--progress",
                         "plain")
    lines_until(running, "a prepared transaction")
    psql(world.v3, "COMMIT PREPARED 'leaf'")
    assert running.wait(30) == 0
    assert loaded_ids(world.alpha) == [1, 2]


def test_what_was_rolled_back_is_a_gap_that_nobody_waits_for(world, session):
    writer = session(world.v3)
    writer("BEGIN")
    writer(insert_message("given up"))
    writer("ROLLBACK")
    id = add_message(world.v3, "stays")
    world.run(seconds=20)
    assert loaded_ids(world.alpha) == [id] and id > 1


@pytest.mark.parametrize("settle", ["writers", "all-transactions"])
def test_a_prepared_transaction_is_waited_for(world, session, start_tool, settle):
    world.edit(lambda document: document["source"].update(settle=settle))
    psql(world.v3, f"BEGIN; {insert_message('prepared')}; PREPARE TRANSACTION 'p{settle}'")
    running = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest), "--progress",
                         "plain")
    lines_until(running, "a prepared transaction")
    psql(world.v3, f"COMMIT PREPARED 'p{settle}'")
    assert running.wait(30) == 0
    assert len(loaded_ids(world.alpha)) == 1


def test_a_writer_that_prepares_while_it_is_waited_for_is_still_waited_for(world, session,
                                                                           start_tool):
    writer = session(world.v3)
    writer("BEGIN")
    writer(insert_message("prepared later"))
    running = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest), "--progress",
                         "plain")
    lines_until(running, f"pid {writer.pid}")
    writer("PREPARE TRANSACTION 'later'")
    time.sleep(0.5)
    assert running.poll() is None
    psql(world.v3, "COMMIT PREPARED 'later'")
    assert running.wait(30) == 0
    assert len(loaded_ids(world.alpha)) == 1


def test_a_long_reader_delays_nothing(world, session):
    id = add_message(world.v3, "message")
    reader = session(world.v3)
    reader("BEGIN ISOLATION LEVEL REPEATABLE READ")
    for table in TABLES:
        reader(f"LOCK TABLE {table} IN ACCESS SHARE MODE")
        reader(f"SELECT count(*) FROM {table}")
    world.run(seconds=20)
    assert loaded_ids(world.alpha) == [id]


def test_a_writer_of_another_table_delays_nothing(world, session):
    psql(world.v3, "CREATE TABLE elsewhere (a int)")
    writer = session(world.v3)
    writer("BEGIN")
    writer("INSERT INTO elsewhere VALUES (1)")
    world.run(seconds=20)


def test_all_transactions_waits_for_whoever_is_in_one(world, session, start_tool):
    world.edit(lambda document: document["source"].update(settle="all-transactions"))
    drawing = session(world.v3)
    drawing("BEGIN")
    drawing("SELECT nextval('group_messages_id_seq')")  # drawn by hand, no lock on the table yet
    running = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest), "--progress",
                         "plain")
    lines_until(running, f"pid {drawing.pid}")
    drawing(insert_message("by hand", id=1))
    drawing("COMMIT")
    assert running.wait(30) == 0
    assert loaded_ids(world.alpha) == [1]


def test_a_writer_that_never_ends_can_be_left_by_a_signal(world, session, start_tool):
    writer = session(world.v3)
    writer("BEGIN")
    writer(insert_message("never"))
    running = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest), "--progress",
                         "plain")
    lines_until(running, f"pid {writer.pid}")
    running.send_signal(2)
    assert running.wait(2) == 130
    assert world.untouched()


# ---- sequences ----------------------------------------------------------------------------------


def test_a_sequence_that_caches_ids_is_refused_unless_all_transactions_are_waited_for(world):
    add_message(world.v3, "message")
    psql(world.v3, "ALTER SEQUENCE group_messages_id_seq CACHE 10")
    ran = world.run(status=1)
    assert "group_messages" in ran.err and "all-transactions" in ran.err
    assert world.untouched()
    world.edit(lambda document: document["source"].update(settle="all-transactions"))
    world.run()
    assert len(loaded_ids(world.alpha)) == 1


def test_ids_that_come_from_no_sequence_are_refused_unless_all_transactions_are_waited_for(world):
    add_message(world.v3, "message")
    psql(world.v3, "ALTER TABLE key_packages ALTER sequence_id DROP DEFAULT")
    ran = world.run(status=1)
    assert "key_packages.sequence_id" in ran.err and "all-transactions" in ran.err
    assert world.untouched()
    world.edit(lambda document: document["source"].update(settle="all-transactions"))
    world.run()


def test_an_identity_column_is_as_good_as_a_serial_one(world):
    psql(world.v3, """
        ALTER TABLE group_messages ALTER id DROP DEFAULT;
        DROP SEQUENCE group_messages_id_seq;
        ALTER TABLE group_messages ALTER id ADD GENERATED BY DEFAULT AS IDENTITY""")
    add_message(world.v3, "message")
    world.run()
    assert loaded_ids(world.alpha) == [1]


def test_ids_above_the_sequence_are_loaded_and_counted_but_not_tracked(world):
    low = add_message(world.v3, "drawn by default")
    add_message(world.v3, "by hand", id=500)
    account = world.run()
    assert account["kinds"]["group_messages"]["counted"] == 2
    assert loaded_ids(world.alpha) == [low, 500]
    assert tracker(world.alpha) == low
    # The sequence goes on below the stray: nothing is skipped, nothing counted twice.
    second = add_message(world.v3, "drawn by default, later")
    account = world.run()
    kind = account["kinds"]["group_messages"]
    assert (kind["counted"], kind["nodes"]["alpha"]) == (3, {"loaded": 1, "already_there": 2})
    assert loaded_ids(world.alpha) == [low, second, 500]
    assert tracker(world.alpha) == second
    # And when it has passed the stray, that is a row like any other.
    psql(world.v3, "SELECT setval('group_messages_id_seq', 600)")
    account = world.run()
    assert account["kinds"]["group_messages"]["counted"] == 3
    assert tracker(world.alpha) == 500
    world.parity(0)


def test_the_highest_and_lowest_ids_there_can_be_do_no_harm(world):
    for id in (2**63 - 1, 0, -1, -2**63):
        add_message(world.v3, f"id {id}", id=id)
    good = add_message(world.v3, "good")
    account = world.run(status=4)
    assert account["rejects"] == {"sequence_id_out_of_range": 4}
    assert loaded_ids(world.alpha) == [good]
    assert world.run(status=4)["kinds"]["group_messages"]["counted"] == 5


def test_many_millions_of_ids_without_a_row_cost_nothing(world):
    add_message(world.v3, "far up", id=200_000_000)
    psql(world.v3, "SELECT setval('group_messages_id_seq', 200000000)")
    began = time.monotonic()
    world.run()
    assert time.monotonic() - began < 10
    assert loaded_ids(world.alpha) == [200_000_000]
    assert psql(world.alpha, "SELECT count(*) FROM xmtp_migrate.parts WHERE source_table ="
                             " 'group_messages'") == "1"


# ---- the database's age and habits --------------------------------------------------------------


def test_an_old_database_gives_the_defaults_for_what_it_lacks(world):
    psql(world.v3, "ALTER TABLE welcome_messages DROP message_type, DROP welcome_metadata;"
                   "DROP TABLE installations;"
                   "INSERT INTO welcome_messages (installation_key, data, hpke_public_key,"
                   " installation_key_data_hash) VALUES ('k', 'd', 'h', 'x');"
                   "INSERT INTO key_packages (installation_id, key_package, created_at) VALUES"
                   " ('i', 'p', (extract(epoch FROM now()) * 1e9)::bigint)")
    ran = world.migrate("run")
    assert "installations" in ran.err
    assert ran.json["kinds"]["welcome_messages"]["for_nodes"] == 1
    assert count(world.alpha, META) == 2


def test_old_and_new_columns_give_the_same_bytes(world, databases):
    """A missing column counts as its default, so both databases become the same envelopes."""
    world.seed(600, seed=3, until="2026-01-01T00:00:00Z")
    psql(world.v3, "UPDATE welcome_messages SET message_type = 0, welcome_metadata = NULL")
    now = "2026-01-01T00:00:00Z"
    world.run("--as-of", now)
    old = world.databases.v3(600, seed=3, until="2026-01-01T00:00:00Z")
    psql(old, "ALTER TABLE welcome_messages DROP message_type, DROP welcome_metadata")
    first = digest_of_node(world.alpha)
    world.nodes = {"alpha": world.databases.node(100), "beta": world.databases.node(200)}
    world.write(source=old)
    world.run("--as-of", now)
    assert digest_of_node(world.alpha) == first


@pytest.mark.parametrize("change", [
    "ALTER TABLE group_messages ALTER created_at TYPE timestamptz USING created_at AT TIME ZONE"
    " 'UTC'",
    "ALTER TABLE group_messages ALTER id TYPE int",
    "ALTER TABLE key_packages ALTER sequence_id TYPE int",
    "ALTER TABLE group_messages ADD extra text; ALTER TABLE installations ADD extra bytea",
])
def test_columns_of_another_width_give_the_same_bytes(world, change):
    world.seed(400, seed=4, until="2026-01-01T00:00:00Z")
    world.run("--as-of", "2026-01-01T00:00:00Z")
    first = digest_of_node(world.alpha)
    psql(world.v3, change)
    world.nodes = {"alpha": world.databases.node(100), "beta": world.databases.node(200)}
    world.write()
    world.run("--as-of", "2026-01-01T00:00:00Z")
    assert digest_of_node(world.alpha) == first


def test_odd_settings_of_servers_databases_and_roles_change_nothing(world, new_server, tool,
                                                                    manifest):
    world.seed(1200, seed=5, until="2026-01-01T00:00:00Z")
    world.run("--as-of", "2026-01-01T00:00:00Z")
    odd = new_server(timezone="Asia/Tokyo", datestyle="SQL, DMY", bytea_output="escape",
                     intervalstyle="sql_standard", statement_timeout="300ms", lock_timeout="200ms",
                     idle_in_transaction_session_timeout="300ms",
                     default_transaction_isolation="serializable", extra_float_digits="-5",
                     backslash_quote="on", search_path="pg_catalog", row_security="off",
                     quote_all_identifiers="on", standard_conforming_strings="off",
                     client_min_messages="debug1")
    psql(odd.dsn(), "CREATE ROLE odd SUPERUSER LOGIN; ALTER ROLE odd SET search_path = nowhere;"
                    "ALTER ROLE odd SET timezone = 'America/Caracas'")
    databases = {}
    for name, words in (("v3", ["v3"]), ("alpha", ["node", "--node-id", "100"]),
                        ("beta", ["node", "--node-id", "200"])):
        psql(odd.dsn(), f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0")
        databases[name] = odd.dsn(name, user="odd")
        tool("xmtp-seed", "schema", *words, "--dsn", odd.dsn(name))
    tool("xmtp-seed", "rows", "--dsn", odd.dsn("v3"), "--rows", 1200, "--seed", 5, "--until",
         "2026-01-01T00:00:00Z")
    assert psql(odd.dsn("v3"), "SHOW timezone") == "Asia/Tokyo"
    path = manifest(databases["v3"], {name: databases[name] for name in ("alpha", "beta")})
    tool("xmtp-migrate", "run", "--manifest", path, "--as-of", "2026-01-01T00:00:00Z")
    blobs = ("SELECT md5(string_agg(md5(originator_envelope), '' ORDER BY originator_node_id,"
             " originator_sequence_id)) FROM public.gateway_envelopes_blob")
    assert psql(odd.dsn("alpha"), blobs) == psql(world.alpha, blobs)
    times = ("SELECT md5(string_agg(extract(epoch FROM gateway_time)::text || expiry, '' ORDER BY"
             " originator_node_id, originator_sequence_id)) FROM public.gateway_envelopes_meta")
    assert psql(odd.dsn("alpha") + " options='-c extra_float_digits=1'", times) == psql(
        world.alpha, times)


@pytest.mark.parametrize("size, status", [(2667, 0), (2668, 4)])
def test_an_identifier_too_long_for_a_nodes_indexes_is_rejected_alone(world, size, status):
    random = f"decode(substr(string_agg(md5(i::text), ''), 1, {2 * size}), 'hex')"
    psql(world.v3, f"""
        INSERT INTO welcome_messages (created_at, installation_key, data, hpke_public_key,
            installation_key_data_hash)
        SELECT now(), {random}, 'welcome', 'hpke', 'hash' FROM generate_series(1, 200) i""")
    add_message(world.v3, "beside it")
    account = world.run(status=status)
    assert account["rejects"] == ({"payload_too_large": 1} if status else {})
    assert account["kinds"]["group_messages"]["for_nodes"] == 1
    world.parity(status)


def test_a_row_of_many_megabytes_is_moved(world):
    psql(world.v3, insert_message("big").replace(
        "sha256('" + "a0" * 16 + "big')", "'big'").replace(
        "'\\x" + "00010002", "repeat('', 0)::bytea || '\\x" + "00010002").replace(
        "', 'big'", "'::bytea || convert_to(repeat('x', 20000000), 'UTF8'), 'big'"))
    assert int(psql(world.v3, "SELECT max(length(data)) FROM group_messages")) > 20_000_000
    account = world.run(status=None)
    kind = account["kinds"]["group_messages"]
    assert kind["counted"] == 1 and kind["for_nodes"] + kind["rejected"] == 1
    if kind["rejected"]:
        assert account["rejects"] == {"payload_too_large": 1}
        shown = world.migrate("rejected", "show", "group_messages", 1).json
        assert len(shown["row"]["data"]) > 40_000_000


def test_blockers_are_looked_for_in_short_statements(world, server):
    """Every second of 25,001 installations has no key package, the one with an empty id too."""
    database = re.search(r"dbname=(\S+)", world.v3).group(1)
    psql(world.v3, f"""
        INSERT INTO installations (id, created_at, updated_at, key_package)
        SELECT CASE WHEN i = 0 THEN '' ELSE int4send(i) END, 1, 1, 'p'
        FROM generate_series(0, 25000) i;
        INSERT INTO key_packages (installation_id, key_package, created_at)
        SELECT id, 'p', (extract(epoch FROM now()) * 1e9)::bigint FROM installations
        WHERE length(id) = 4 AND get_byte(id, 3) % 2 = 1;
        ALTER DATABASE {database} SET log_statement = 'all'""")
    before = len(server.log())
    blockers = [blocker["subject"] for blocker in world.run()["blockers"]]
    assert blockers == ["installation "] + [f"installation {2 * i:08x}" for i in range(1, 1000)] + [
        "11501 installations more"]
    assert server.log()[before:].count("FROM installations i WHERE") == 3


# ---- what is no V3 database ---------------------------------------------------------------------


def test_everything_that_is_missing_is_named_at_once(world):
    psql(world.v3, "DROP TABLE inbox_log CASCADE;"
                   "ALTER TABLE group_messages DROP data, DROP group_id;"
                   "ALTER TABLE key_packages DROP key_package CASCADE;"
                   "ALTER TABLE welcome_messages RENAME hpke_public_key TO other")
    ran = world.run(status=1)
    for name in ("group_messages.data", "group_messages.group_id", "key_packages.key_package",
                 "welcome_messages.hpke_public_key", "inbox_log"):
        assert name in ran.err, name
    assert world.untouched()


def test_an_empty_database_is_no_v3_database(world):
    world.write(source=world.databases.empty())
    ran = world.run(status=1)
    for table in TABLES:
        assert table in ran.err
    assert "hint:" in ran.err and world.untouched()


def test_a_nodes_database_is_no_v3_database(world):
    world.write(source=world.alpha)
    ran = world.run(status=1)
    assert "not a V3 database" in ran.err


def test_tables_in_another_schema_are_not_v3s(world):
    psql(world.v3, "CREATE SCHEMA other; ALTER TABLE group_messages SET SCHEMA other")
    ran = world.run(status=1)
    assert "group_messages" in ran.err and world.untouched()


def test_a_view_is_read_when_all_transactions_are_waited_for(world):
    add_message(world.v3, "message")
    psql(world.v3, "ALTER TABLE group_messages RENAME TO kept;"
                   "CREATE VIEW group_messages AS TABLE kept")
    ran = world.run(status=1)
    assert "group_messages.id" in ran.err
    world.edit(lambda document: document["source"].update(settle="all-transactions"))
    world.run()
    assert len(loaded_ids(world.alpha)) == 1


def contents(dsn):
    """Every relation of a database outside of the catalogue, and what is in it."""
    names = psql(dsn, "SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'S', 'v')"
                      " AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN"
                      " ('pg_catalog', 'information_schema', 'pg_toast')) ORDER BY 1").splitlines()
    return {name: psql(dsn, f"SELECT md5(string_agg(row(t.*)::text, ' ' ORDER BY row(t.*)::text))"
                            f" FROM {name} t")
            for name in names}


def test_nothing_is_written_to_the_source(world):
    add_message(world.v3, "message")
    before = contents(world.v3)
    world.run()
    world.parity(0)
    assert contents(world.v3) == before and "group_messages" in before


def test_no_time_however_odd_stops_a_run(world):
    for i, time_text in enumerate(["infinity", "-infinity", "294276-12-31 23:59:59.999999",
                                   "4713-01-01 00:00:00 BC", "1969-12-31 23:59:59.999999",
                                   "2262-04-11 23:47:16.854775", "2262-04-12"]):
        psql(world.v3, insert_message(f"at {time_text}").replace(
            "now() - interval '1 day'", f"'{time_text}'"))
    for ns in (2**63 - 1, -2**63, -1, 0):
        psql(world.v3, f"INSERT INTO key_packages (installation_id, key_package, created_at)"
                       f" VALUES ('i', 'package {ns}', {ns})")
    account = world.run(status=None)
    assert account["verdict"] in ("green", "partial")
    assert account["kinds"]["group_messages"]["counted"] == 7
    assert world.parity(None)["difference_count"] == 0
