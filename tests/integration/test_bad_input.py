"""What bad input gets: a message with the subject and the next step, the right exit status, and
nothing changed."""

import io
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import tarfile
import time

import pytest
from conftest import ORIGINATOR_KEY, PAYER_KEY, tool_environment, tool_path
from support.servers import Server, client, psql, rows
from support.world import (META, add_message, as_user, count, digest_of_node, insert_message,
                           world)  # noqa: F401

PASSWORD = "s3cret-Pa55word"
NOWHERE = "host=127.0.0.1 port=1 user=postgres dbname=none"


def assert_told(ran, *subjects):
    """One error with its subjects, and a hint."""
    for subject in subjects:
        assert subject in ran.err, ran.err
    assert "hint:" in ran.err, ran.err
    assert ran.out == ""


# ---- databases that can't be used ---------------------------------------------------------------


@pytest.mark.parametrize("which", ["source", "node 'alpha'", "node 'beta'"])
def test_an_unreachable_database_is_named_and_may_be_tried_again(world, which):
    add_message(world.v3, "message")
    nodes = {name: NOWHERE if name in which else dsn for name, dsn in world.nodes.items()}
    world.write(source=NOWHERE if which == "source" else world.v3, nodes=nodes)
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
            pass
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
    process = subprocess.Popen([tool_path("xmtp-migrate"), "run", "--manifest", path],
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


# ---- files --------------------------------------------------------------------------------------


def limited(megabytes):
    """For preexec_fn: files can't grow beyond this, as on a full disk."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes << 20, megabytes << 20))
    return limit


@pytest.mark.parametrize("out", ["rows", "rows.tar"])
def test_a_full_disk_leaves_no_bundle(world, tmp_path, out):
    psql(world.v3, "INSERT INTO group_messages (group_id, data, group_id_data_hash) SELECT"
                   " '\\xa0a0', string_agg(sha256(('' || g || r)::bytea), ''::bytea),"
                   " g::text::bytea FROM generate_series(1, 100) g, generate_series(1, 1500) r"
                   " GROUP BY g")
    ran = subprocess.run([tool_path("xmtp-export"), "--manifest", world.manifest, "--out",
                          tmp_path / out], capture_output=True, text=True, env=tool_environment(),
                         preexec_fn=limited(1))
    assert ran.returncode == 1, ran.stderr
    assert "File too large" in ran.stderr and "rows" in ran.stderr
    assert not (tmp_path / "rows" / "index.json").exists()
    assert not (tmp_path / "rows.tar").exists()
    world.stage("export", "--out", tmp_path / out)  # once there is room, in the same place
    world.stage("transform", "--in", tmp_path / out, "--out", tmp_path / "envelopes")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_really_full_leaves_no_bundle(world, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small],
                             capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this container may not mount")
    try:
        world.seed(4000)
        for out in ("rows", "rows.tar"):
            ran = world.stage("export", "--out", small / out, status=1)
            assert "No space left" in ran.err and out in ran.err
            assert not (small / "rows" / "index.json").exists()
            assert not (small / "rows.tar").exists()
            shutil.rmtree(small / "rows", ignore_errors=True)
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_closed_pipe_is_told(world):
    world.seed(4000)
    ran = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$0" --manifest "$1" --out - | head -c 100 >/dev/null;'
                       ' echo "${PIPESTATUS[0]}"', tool_path("xmtp-export"), world.manifest],
        capture_output=True, text=True, env=tool_environment())
    assert ran.stdout == "1\n", ran.stderr
    assert "Broken pipe" in ran.stderr


def test_output_that_cannot_be_written_is_told(world):
    add_message(world.v3, "message")
    with open("/dev/full", "w") as full:
        ran = subprocess.run([tool_path("xmtp-migrate"), "run", "--manifest", world.manifest,
                              "--json"], stdout=full, stderr=subprocess.PIPE, text=True,
                             env=tool_environment())
    assert ran.returncode == 1 and "output" in ran.stderr
    with open("/dev/full", "w") as full:
        ran = subprocess.run([tool_path("xmtp-export"), "--manifest", world.manifest, "--out", "-"],
                             stdout=full, stderr=subprocess.PIPE, text=True,
                             env=tool_environment())
    assert ran.returncode == 1 and "No space left" in ran.stderr


def test_a_folder_that_takes_no_chain_bundle_is_known_before_anything_is_moved(world, tmp_path):
    world.seed(300)
    ran = world.run("--chain-out", tmp_path / "no" / "such" / "folder", status=1)
    assert_told(ran, "such", "--chain-out")
    assert world.untouched()


def test_an_existing_bundle_is_not_overwritten(world, tmp_path):
    add_message(world.v3, "message")
    for out in (tmp_path / "rows", tmp_path / "rows.tar"):
        world.stage("export", "--out", out)
        assert_told(world.stage("export", "--out", out, status=2), str(out), "exists")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("mine")
    ran = world.stage("export", "--out", tmp_path / "mine", status=None)
    assert ran.status in (1, 2) and (tmp_path / "mine" / "precious.txt").read_text() == "mine"


# ---- bundles that are not ours ------------------------------------------------------------------


@pytest.fixture
def bundles(world, tmp_path):
    world.seed(600, until="2026-01-01T00:00:00Z")
    now = ("--as-of", "2026-01-01T00:00:00Z")
    world.stage("export", "--out", tmp_path / "rows", *now)
    world.stage("transform", "--in", tmp_path / "rows", "--out", tmp_path / "envelopes")
    world.stage("transform", "--in", tmp_path / "rows", "--out", tmp_path / "envelopes.tar")
    return world


@pytest.mark.parametrize("change, said", [
    (lambda world: world.write(network="other"), "network"),
    (lambda world: world.write(policy={"profile": "xmtpd"}), "profile"),
    (lambda world: world.write(policy={"retention_days": {
        "group_messages": 61, "welcome_messages": 90, "key_packages": 90}}), "policy"),
    (lambda world: world.write(rates=[{"start": "2025-01-01T00:00:00Z", "message_fee": 101,
                                       "storage_fee": 200}]), "rates"),
    (lambda world: (world.folder / "payer.key").write_text("33" * 32), "payer"),
    (lambda world: (world.folder / "originator.key").write_text("33" * 32), "originator"),
])
def test_a_bundle_made_under_other_terms_is_refused(bundles, tmp_path, change, said):
    change(bundles)
    for place in ("envelopes", "envelopes.tar"):
        assert_told(bundles.stage("load", "--in", tmp_path / place, status=1), place, said)
    assert bundles.untouched()
    if said not in ("payer", "originator"):
        ran = bundles.stage("transform", "--in", tmp_path / "rows", "--out", tmp_path / "new",
                            status=1)
        assert_told(ran, "rows", said)
        assert not (tmp_path / "new").exists()


def test_a_bundle_of_another_stage_is_refused(bundles, tmp_path):
    assert_told(bundles.stage("load", "--in", tmp_path / "rows", status=1), "rows", "envelopes")
    assert_told(bundles.stage("transform", "--in", tmp_path / "envelopes", "--out",
                              tmp_path / "new", status=1), "envelopes")
    assert bundles.untouched() and not (tmp_path / "new").exists()


def test_a_damaged_bundle_changes_nothing(bundles, tmp_path):
    """Every file of a folder, cut short, emptied, gone or with a bit turned over."""
    names = sorted(path.relative_to(tmp_path / "envelopes")
                   for path in (tmp_path / "envelopes").rglob("*") if path.is_file())
    assert len(names) > 4
    for name in names:
        for harm in ("cut", "empty", "flip", "flip late", "gone", "longer"):
            broken = tmp_path / "broken"
            shutil.rmtree(broken, ignore_errors=True)
            shutil.copytree(tmp_path / "envelopes", broken)
            harm_file(broken / name, harm)
            ran = bundles.stage("load", "--in", broken, status=None)
            assert ran.status == 1, (name, harm, ran.err)
            assert "broken" in ran.err or name.name in ran.err, (name, harm, ran.err)
    assert bundles.untouched()


def harm_file(path, harm):
    content = bytearray(path.read_bytes())
    if harm == "cut":
        del content[len(content) // 2:]
    elif harm == "empty":
        content.clear()
    elif harm == "flip":
        content[len(content) // 2] ^= 1
    elif harm == "flip late":
        content[-2] ^= 0x20
    elif harm == "longer":
        content += b"x"
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize("way", ["file", "stream"])
def test_a_damaged_tar_changes_nothing(bundles, tmp_path, way):
    whole = (tmp_path / "envelopes.tar").read_bytes()
    broken = tmp_path / "broken.tar"
    places = [len(whole) * i // 9 for i in range(9)]
    for place in places:
        for kind in ("cut", "flip"):
            content = bytearray(whole)
            if kind == "cut":
                del content[place:]
            else:
                content[place] ^= 4
            broken.write_bytes(content)
            if way == "file":
                ran = bundles.stage("load", "--in", broken, status=None)
            else:
                with open(broken, "rb") as stream:
                    ran = subprocess.run([tool_path("xmtp-load"), "--manifest", bundles.manifest,
                                          "--in", "-"], stdin=stream, capture_output=True,
                                         text=True, env=tool_environment())
                    ran.status, ran.err = ran.returncode, ran.stderr
            if ran.status == 0:  # a byte of padding, which no digest covers
                assert kind == "flip"
                return
            assert ran.status == 1, (kind, place, ran.err)
    assert bundles.untouched()


def test_two_bundles_mixed_are_refused(bundles, tmp_path):
    """Parts of one bundle under the index of another."""
    add_message(bundles.v3, "one more")
    bundles.stage("export", "--out", tmp_path / "rows2", "--as-of", "2026-01-01T00:00:00Z")
    bundles.stage("transform", "--in", tmp_path / "rows2", "--out", tmp_path / "other")
    shutil.copy(tmp_path / "other" / "header.json", tmp_path / "envelopes" / "header.json")
    assert bundles.stage("load", "--in", tmp_path / "envelopes", status=1).err
    assert bundles.untouched()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "parts/../../evil", "parts/evil\n"])
def test_a_tar_with_a_path_that_leads_out_is_refused(bundles, tmp_path, name):
    with tarfile.open(tmp_path / "envelopes.tar") as old, \
            tarfile.open(tmp_path / "evil.tar", "w") as new:
        for i, member in enumerate(old.getmembers()):
            content = old.extractfile(member).read()
            if i == 1:
                added = tarfile.TarInfo(name)
                added.size = 4
                new.addfile(added, io.BytesIO(b"evil"))
            new.addfile(member, io.BytesIO(content))
    assert bundles.stage("load", "--in", tmp_path / "evil.tar", status=1).err
    assert bundles.untouched()
    assert not (tmp_path.parent / "evil").exists() and not (tmp_path / "evil").exists()


def test_no_bundle_at_all_is_told(bundles, tmp_path):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "text.tar").write_text("this is no tar\n" * 100)
    for place in ("nothing", "text.tar", "not-there", "not-there.tar", "manifest.json"):
        ran = bundles.stage("load", "--in", tmp_path / place, status=None)
        assert ran.status in (1, 2) and place in ran.err, (place, ran.err)
    assert bundles.untouched()


def test_a_node_that_is_not_in_the_manifest_is_refused(bundles, tmp_path):
    ran = bundles.stage("load", "--in", tmp_path / "envelopes", "--node", "gamma", status=2)
    assert_told(ran, "gamma")


def test_a_part_of_a_run_that_differs_from_what_was_loaded_is_a_conflict(bundles, tmp_path):
    """The index is made right again, the rows are others: the node keeps what it has."""
    bundles.stage("load", "--in", tmp_path / "envelopes")
    before = digest_of_node(bundles.alpha)
    bundles.stage("load", "--in", tmp_path / "envelopes")
    bundles.stage("load", "--in", tmp_path / "envelopes.tar")
    assert digest_of_node(bundles.alpha) == before
    assert rows(bundles.alpha, "SELECT count(*) FROM xmtp_migrate.runs") == [["1"]]


def test_deep_and_wide_json_does_no_harm(world):
    for text in ('{"a":' * 5000, "[" * 100000, '{"schema": "' + "x" * 5000000 + '"}', "\0\0", "",
                 '{"schema": "xmtp-migrate/manifest/1", "nodes": ' + json.dumps([{}] * 5000) + "}"):
        world.manifest.write_text(text)
        ran = world.migrate("run", status=2)
        assert "manifest.json" in ran.err
        assert len(ran.err) < 5_000_000
