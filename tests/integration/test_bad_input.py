"""What bad input gets: a message with the subject and the next step, the right exit status, and
nothing changed."""

import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest
from conftest import ORIGINATOR_KEY, PAYER_KEY, tool_environment, tool_path
from support.servers import Server, client, psql
from support.world import (META, add_message, as_user, assert_told, count, digest_of_node,
                           insert_message, world)  # noqa: F401

PASSWORD = "s3cret-Pa55word"
NOWHERE = "host=127.0.0.1 port=1 user=postgres dbname=none"


# ---- databases that can't be used ---------------------------------------------------------------


@pytest.mark.parametrize("which", ["source", "node 'alpha'"])
def test_an_unreachable_database_is_named_and_may_be_tried_again(world, which):
    """Of nodes, when none can be reached: one alone does not stop the others."""
    add_message(world.v3, "message")
    nowhere = {name: NOWHERE for name in world.nodes}
    world.write(source=NOWHERE if which == "source" else world.v3,
                nodes=world.nodes if which == "source" else nowhere)
    assert_told(world.run(status=5), which, "127.0.0.1:1/none")
    assert world.untouched()


def test_an_unknown_database_is_named(world):
    world.write(nodes={"alpha": re.sub(r"dbname=\S+", "dbname=nothing_here", world.alpha)})
    assert_told(world.run(status=1), "node 'alpha'", "nothing_here")


def test_a_host_that_never_answers_is_given_up(world):
    """A listening socket that says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        world.write(source=f"host=127.0.0.1 port={silent.getsockname()[1]} user=p dbname=d")
        began = time.monotonic()
        assert_told(world.run(status=5), "source", "no answer")
        assert time.monotonic() - began < 20


@pytest.fixture(scope="module")
def locked_server():
    """A server that asks for passwords and writes down every statement."""
    with Server({"log_statement": "all", "log_connections": "on",
                         "log_min_duration_statement": "0"}) as server:
        psql(server.dsn(), f"ALTER ROLE postgres PASSWORD '{PASSWORD}'")
        for name, words in (("v3", ["v3"]), ("alpha", ["node", "--node-id", "100"])):
            psql(server.dsn(), f"CREATE DATABASE {name}")
            subprocess.run([tool_path("xmtp-seed"), "schema", *words, "--dsn", server.dsn(name)],
                           check=True, env=tool_environment())
        hba = pathlib.Path(server.data) / "pg_hba.conf"
        hba.write_text("host all all 127.0.0.1/32 scram-sha-256\n"
                       "local all all trust\n")
        server.local = f"host={server.folder} port={server.port} user=postgres"
        psql(server.local, "SELECT pg_reload_conf()")
        yield server


def locked_dsn(server, database, password, uri):
    if uri:
        return f"postgresql://postgres:{password}@127.0.0.1:{server.port}/{database}"
    return f"{server.dsn(database)} password={password}"


@pytest.fixture
def locked(locked_server, manifest):
    """run(password, uri): xmtp-migrate run against it; gives the process while it runs."""
    def start(password, uri=False):
        path = manifest("env:V3", {"alpha": "env:ALPHA"})
        environment = tool_environment({
            "V3": locked_dsn(locked_server, "v3", password, uri),
            "ALPHA": locked_dsn(locked_server, "alpha", password, uri)})
        return subprocess.Popen(
            [tool_path("xmtp-migrate"), "run", "--manifest", path, "--log-level", "debug"],
            env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return start


@pytest.mark.parametrize("uri", [False, True])
@pytest.mark.parametrize("password", ["wr0ng-Passw0rd", "wr0ng%40Passw0rd", "wr0ng@Passw0rd",
                                      "wr0ng/Passw0rd", "wr0ng:Passw0rd", "wr0ng%Passw0rd",
                                      "12345/Passw0rd", "wr0ng?Passw0rd", "wr0ng#Passw0rd",
                                      "wr0ng Passw0rd", "'wr0ng Passw0rd"])
def test_a_wrong_password_is_told_without_it(locked, uri, password):
    process = locked(password, uri)
    out, err = process.communicate(timeout=30)
    assert process.returncode in (1, 2), err
    assert "source" in err and "hint:" in err
    for piece in ("wr0ng", "Passw0rd", "12345"):
        assert piece not in out + err, err


def test_no_secret_is_seen_anywhere(locked, locked_server, tmp_path):
    psql(f"{locked_server.local} dbname=v3", ";".join(
        insert_message(f"m{i}", group="a0" * (16 if i % 3 else 2)) for i in range(300)))
    process = locked(PASSWORD)
    seen = []
    folder = pathlib.Path(f"/proc/{process.pid}")
    while process.poll() is None:
        try:
            seen.append((folder / "cmdline").read_text())
        except OSError:
            break
    out, err = process.communicate(timeout=30)
    assert process.returncode == 4, err
    assert seen
    log = locked_server.log()
    assert "COPY" in log and "xmtp_migrate" in log
    kept = [psql(f"{locked_server.local} dbname=alpha",
                 "SELECT string_agg(encode(payload, 'escape') || encode(payload, 'hex'), '')"
                 " FROM migration_dead_letter_box"),
            psql(f"{locked_server.local} dbname=alpha", "SELECT string_agg(r::text, '')"
                                                        " FROM xmtp_migrate.runs r")]
    left = [path.read_bytes().decode("latin1") for path in tmp_path.rglob("*")
            if path.is_file() and path.suffix not in (".key", ".json")]
    for text in [out, err, log.replace(f"PASSWORD '{PASSWORD}'", ""), *seen, *kept, *left]:
        for secret in (PASSWORD, PAYER_KEY, ORIGINATOR_KEY):
            assert secret not in text


def test_no_connection_is_left_to_be_had(new_server, tool, manifest):
    crowded = new_server(max_connections="6", superuser_reserved_connections="0",
                         max_wal_senders="0", autovacuum="off")
    path = manifest(crowded.dsn(), {"alpha": crowded.dsn()})
    sleepers = [subprocess.Popen([client("psql"), "-XAtqc", "SELECT pg_sleep(60)", crowded.dsn()],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                for _ in range(6)]
    try:
        time.sleep(1)
        ran = tool("xmtp-migrate", "run", "--manifest", path, status=5)
        assert_told(ran, "source", "too many clients")
    finally:
        for one in sleepers:
            one.kill()
            one.wait()


# ---- nodes that are not what they should be -----------------------------------------------------


@pytest.mark.parametrize("change, said", [
    ("UPDATE schema_migrations SET version = 22", "level 22"),
    ("UPDATE schema_migrations SET version = 24", "level 24"),
    ("UPDATE schema_migrations SET dirty = true", "dirty"),
    ("DELETE FROM schema_migrations", "level none"),
    ("DROP TABLE schema_migrations", "schema_migrations"),
    ("CREATE TABLE gateway_envelope_blobs ()", "gateway_envelope_blobs"),
    ("DROP TABLE migration_tracker", "migration_tracker"),
    ("ALTER TABLE payers DROP address CASCADE", "payers.address"),
    ("ALTER TABLE gateway_envelopes_meta RENAME expiry TO until", "gateway_envelopes_meta.expiry"),
    ("DROP FUNCTION ensure_gateway_parts_v3 CASCADE", "ensure_gateway_parts_v3"),
    ("DROP TABLE gateway_envelopes_blob; CREATE TABLE gateway_envelopes_blob"
     " (originator_node_id int, originator_sequence_id bigint, originator_envelope bytea)",
     "partitioned"),
    ("UPDATE node_info SET node_id = 999", "node 999"),
    ("DELETE FROM node_info", "node_info is empty"),
    ("DROP TABLE node_info; CREATE TABLE node_info (node_id int);"
     "INSERT INTO node_info VALUES (200), (300)", "node_info"),
    ("DROP TABLE node_info; CREATE TABLE node_info (node_id int);"
     "INSERT INTO node_info VALUES (NULL)", "node_info"),
    ("ALTER TABLE node_info ALTER node_id TYPE text", "node_info.node_id"),
])
def test_a_database_that_is_not_the_node_is_refused(world, change, said):
    add_message(world.v3, "message")
    psql(world.beta, change)
    ran = world.run(status=1)
    assert_told(ran, "node 'beta'", said)
    assert world.untouched("alpha")
    assert psql(world.beta, "SELECT to_regnamespace('xmtp_migrate') IS NULL") == "t"


def test_swapped_dsns_are_noticed(world):
    world.write(nodes={"alpha": world.beta, "beta": world.alpha})
    assert_told(world.run(status=1), "node 'alpha'", "is node 200, not 100")


def test_a_v3_database_is_no_node(world):
    world.write(nodes={"alpha": world.v3})
    assert_told(world.run(status=1), "node 'alpha'", "not a node's database")


def test_books_of_a_newer_version_are_left_alone(world):
    add_message(world.v3, "message")
    world.run()
    psql(world.beta, "INSERT INTO xmtp_migrate.versions (version) VALUES (99)")
    assert_told(world.run(status=1), "node 'beta'", "level 99")


def test_a_read_only_target_is_refused(world, server):
    add_message(world.v3, "message")
    psql(server.dsn(), "CREATE ROLE readonly SUPERUSER LOGIN;"
                       "ALTER ROLE readonly SET default_transaction_read_only = on")
    try:
        world.write(nodes={"alpha": world.alpha, "beta": as_user(world.beta, "readonly")})
        assert_told(world.run(status=1), "node 'beta'", "takes no writes")
        assert world.untouched()
    finally:
        psql(server.dsn(), "DROP ROLE readonly")


@pytest.fixture
def policed(world, server):
    """police(dsn, table): the DSN of a role that may read all and for whom a policy hides rows."""
    def police(dsn, table):
        psql(dsn, f"GRANT USAGE ON SCHEMA public TO policed; GRANT SELECT ON ALL TABLES IN SCHEMA"
                  f" public TO policed; GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO policed;"
                  f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
                  f"CREATE POLICY half ON {table} USING (false)")
        return as_user(dsn, "policed")

    psql(server.dsn(), "CREATE ROLE policed LOGIN")
    yield police
    for dsn in (world.v3, world.alpha, world.beta):
        psql(dsn, "DROP OWNED BY policed")
    psql(server.dsn(), "DROP ROLE policed")


@pytest.mark.parametrize("table", ["group_messages", "installations"])
def test_rows_that_a_policy_hides_are_refused_and_not_left_out(world, policed, table):
    add_message(world.v3, "message")
    world.write(source=policed(world.v3, table))
    assert_told(world.run(status=1), "source", f'"{table}"', "row-level security", "BYPASSRLS")
    psql(world.v3, "ALTER ROLE policed BYPASSRLS")
    assert world.run()["kinds"]["group_messages"]["counted"] == 1


def test_a_nodes_rows_that_a_policy_hides_are_not_taken_for_missing(world, policed):
    add_message(world.v3, "message")
    world.run()
    world.write(nodes={"alpha": world.alpha, "beta": policed(world.beta, META)})
    psql(world.beta, "GRANT USAGE ON SCHEMA xmtp_migrate TO policed;"
                     "GRANT SELECT ON ALL TABLES IN SCHEMA xmtp_migrate TO policed")
    ran = world.tool("xmtp-parity", "check", "--manifest", world.manifest, status=1)
    assert_told(ran, "node 'beta'", META, "row-level security", "BYPASSRLS")


def test_a_nodes_own_trigger_that_refuses_rows_stops_the_run(world):
    add_message(world.v3, "message")
    psql(world.beta, "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                     " RAISE EXCEPTION 'not on my watch'; END $$;"
                     f"CREATE TRIGGER refuse BEFORE INSERT ON {META} FOR EACH ROW"
                     " EXECUTE FUNCTION refuse()")
    ran = world.run(status=1)
    assert "node 'beta'" in ran.err and "not on my watch" in ran.err
    psql(world.beta, f"DROP TRIGGER refuse ON {META}")
    world.run()
    assert digest_of_node(world.alpha) == digest_of_node(world.beta)


def test_a_trigger_that_drops_rows_silently_is_noticed(world):
    add_message(world.v3, "message")
    psql(world.beta, "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                     " RETURN NULL; END $$;"
                     f"CREATE TRIGGER swallow BEFORE INSERT ON {META} FOR EACH ROW"
                     " EXECUTE FUNCTION swallow()")
    ran = world.run(status=1)
    assert "node 'beta'" in ran.err and "0 rows were stored of 1" in ran.err


def test_a_row_that_another_writer_puts_there_meanwhile_is_looked_at_again(world):
    id = add_message(world.v3, "message")
    psql(world.beta, f"SELECT ensure_gateway_parts_v3(10, {id})")
    with subprocess.Popen([client("psql"), "-Xq", "-d", world.beta, "-c", f"""
            BEGIN;
            INSERT INTO {META} (originator_node_id, originator_sequence_id, topic, expiry)
                VALUES (10, {id}, '\\x00ff', 42);
            INSERT INTO gateway_envelopes_blob VALUES (10, {id}, '\\xdeadbeef');
            SELECT pg_sleep(1);
            COMMIT"""], stdout=subprocess.DEVNULL):
        while psql(world.beta, "SELECT count(*) FROM pg_stat_activity WHERE wait_event ="
                               " 'PgSleep'") == "0":
            time.sleep(0.02)
        assert world.run(status=4)["rejects"] == {"conflict": 1}


def test_an_id_that_is_always_there_already_is_not_to_be_tried_for_ever(world):
    for text in ("one", "two"):
        id = add_message(world.v3, text)
    psql(world.beta, f"SELECT ensure_gateway_parts_v3(10, {id});"
                     f"CREATE UNIQUE INDEX odd ON {META}_o10_s0_1000000 (topic)")
    assert_told(world.run(status=1), "node 'beta'", "group_messages", "duplicate key", '"odd"')


def test_rows_that_are_seeded_twice_are_refused_for_good(databases, tool):
    dsn = databases.sample()
    sample = pathlib.Path(__file__).parent.parent / "data" / "sample"
    ran = tool("xmtp-seed", "csv", "--dsn", dsn, sample, status=1)
    assert_told(ran, "group_messages.csv", "duplicate key", "empty database")


def test_a_server_that_restarts_in_the_middle_is_tried_again(new_server, tool, manifest,
                                                             databases):
    v3 = databases.v3(rows=6000)
    server = new_server()
    dsn = server.create_database("node")
    tool("xmtp-seed", "schema", "node", "--dsn", dsn)
    path = manifest(v3, {"alpha": dsn})
    process = subprocess.Popen([tool_path("xmtp-migrate"), "run", "--manifest", path,
                                "--retry-for", "1"],
                               stderr=subprocess.PIPE, text=True, env=tool_environment())
    time.sleep(0.4)
    server.stop(signal.SIGQUIT)
    _, err = process.communicate(timeout=30)
    assert process.returncode in (5, 0), err
    server.start()
    account = tool("xmtp-migrate", "run", "--manifest", path, "--json").json
    assert account["verdict"] == "green"
    tool("xmtp-parity", "check", "--manifest", path)


# ---- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("content, said", [
    ("zz" * 32, "keys.payer"), ("11" * 31, "keys.payer"), ("11" * 33, "keys.payer"),
    ("", "keys.payer"), ("00" * 32, "keys.payer"), ("ff" * 32, "keys.payer"),
    ("\0" * 32, "keys.payer"), ("1" * 100000, "keys.payer"),
])
def test_a_key_that_is_none_is_refused_without_showing_it(world, content, said):
    add_message(world.v3, "message")
    (world.folder / "payer.key").write_text(content)
    ran = world.run(status=None)
    assert ran.status in (1, 2), ran.err
    assert said in ran.err
    if len(content) > 20:
        assert content[:20] not in ran.err
    assert world.untouched()


def test_a_key_file_that_is_missing_is_named(world):
    (world.folder / "originator.key").unlink()
    ran = world.run(status=2)
    assert "keys.originator" in ran.err and "originator.key" in ran.err
    assert world.untouched()


def test_a_key_file_that_all_may_read_is_warned_of_and_works(world):
    add_message(world.v3, "message")
    (world.folder / "payer.key").chmod(0o644)
    ran = world.migrate("run")
    assert "warning" in ran.err and "payer.key" in ran.err


def test_an_environment_variable_that_is_not_set_is_named(world):
    world.edit(lambda document: document["keys"].update(payer="env:NOT_THERE"))
    ran = world.run(status=2)
    assert_told(ran, "keys.payer", "NOT_THERE")


def test_0x_and_upper_case_are_the_same_key(world):
    add_message(world.v3, "message")
    world.run()
    (world.folder / "payer.key").write_text("0x" + PAYER_KEY.upper())
    world.run("--new-run")
    assert count(world.alpha, "payers") == 1


# ---- policy -------------------------------------------------------------------------------------


@pytest.mark.parametrize("members, said", [
    ({"rates": [{"start": "2025-01-01T00:00:00Z", "message_fee": 100,
                 "storage_fee": 1735689600}]}, "/rates/0/storage_fee"),
    ({"policy": {"retention_days": {"group_messages": 60, "welcome_messages": 60,
                                    "key_packages": 90}}}, "welcome_messages"),
    ({"surprise": 1}, "surprise"),
])
def test_a_policy_out_of_bounds_is_refused(world, members, said):
    world.write(**members)
    ran = world.run(status=2)
    assert said in ran.err and "manifest.json" in ran.err
    assert world.untouched()


def test_a_shorter_retention_is_allowed_by_name_and_counted(world):
    psql(world.v3, insert_message("older than the policy").replace(
        "interval '1 day'", "interval '20 days'"))
    world.write(policy={"retention_days": {"group_messages": 10, "welcome_messages": 90,
                                           "key_packages": 90},
                        "allow_shorter_than_source": ["group_messages"]})
    ran = world.migrate("run")
    assert ran.json["kinds"]["group_messages"]["expired"] == 1


@pytest.mark.parametrize("text", ["yesterday", "2026-01-01", "2026-01-01T00:00:00", "",
                                  "1767225600",
                                  "2026-02-30T00:00:00Z", "2026-01-01T25:00:00Z",
                                  "2026-01-01T00:00:00.1234567890Z", "0000-01-01T00:00:00Z",
                                  "9999-01-01T00:00:00Z"])
def test_an_instant_that_is_not_rfc_3339_is_refused(world, text):
    ran = world.run("--as-of", text, status=2)
    assert_told(ran, "--as-of")
    assert world.untouched()


def test_instants_in_the_future_are_warned_of(world):
    rate = {"message_fee": 100, "storage_fee": 200}
    assert "future" not in world.migrate("run").err
    assert "count as expired" in world.migrate("run", "--as-of", "2199-01-01T00:00:00Z").err
    world.write(rates=[{"start": "2198-01-01T00:00:00Z", **rate}])
    assert "a time in the future" in world.migrate("run").err


def test_an_unfinished_run_keeps_its_instant_and_policy(world, start_tool):
    world.seed(3000)
    account = world.run("--as-of", "2026-06-01T00:00:00Z")
    for dsn in world.nodes.values():
        psql(dsn, "UPDATE xmtp_migrate.runs SET finished_at = NULL")
    assert_told(world.run("--as-of", "2026-06-02T00:00:00Z", status=1), "--as-of")
    world.write(policy={"retention_days": {"group_messages": 61, "welcome_messages": 90,
                                           "key_packages": 90}})
    assert_told(world.run(status=1), "unfinished run")
    world.write()
    (world.folder / "payer.key").write_text("33" * 32)
    assert_told(world.run(status=1), "payer")
    world.write()
    assert world.run()["run"] == account["run"]
