"""xmtp-migrate plan: its figures against what a run then does, every refusal at once, the exit
status of a run, and nothing changed anywhere."""

import subprocess
import time

import pytest
from conftest import Databases, tool_path
from support.servers import psql
from support.world import World, add_message, as_user, held, world  # noqa: F401

LOCK = int.from_bytes(b"xmtpmigr", "big")
AS_OF = ("--as-of", "2026-01-01T00:00:00Z")


@pytest.fixture
def quiet(new_server, tool, manifest, tmp_path):
    """A world on a server where nobody else does anything, not even autovacuum."""
    return World(Databases(new_server(autovacuum="off"), tool), manifest, tool, tmp_path)


def plan(world, *words, status=0, probe=0):
    return world.migrate("plan", "--probe", probe, *words, status=status).json


def fill(world, rows=3000, **options):
    world.seed(rows, seed=3, until="2026-01-01T00:00:00Z", **options)


def messages(document):
    return [refusal["message"] for refusal in document["refusals"]]


# ---- figures -----------------------------------------------------------------------------------


def test_exact_figures_are_those_of_the_run(world):
    fill(world, shape="hostile")
    planned = plan(world, "--exact", *AS_OF)
    account = world.run(*AS_OF, status=None)
    for name, kind in account["kinds"].items():
        expected = planned["kinds"][name]
        assert expected["rows"] == kind["counted"], name
        assert expected["expired"] == kind.get("expired", 0), name
        assert expected["rejected"] == kind["rejected"], name
        for to_go in {"for_nodes", "for_chain"} & set(kind):
            assert expected[to_go] == kind[to_go], name
    for name, table in planned["tables"].items():
        assert table["parts"] == int(psql(world.alpha, f"""
            SELECT count(*) FROM xmtp_migrate.parts WHERE source_table = '{name}'"""))
    assert planned["exact"] and planned["would_run"] and not planned["at_most"]


def test_estimates_come_near_to_what_the_run_does(world):
    fill(world, rows=20000)
    psql(world.v3, "ANALYZE")
    planned = plan(world, *AS_OF)
    account = world.run(*AS_OF, status=None)
    for name, kind in account["kinds"].items():
        expected = planned["kinds"][name]
        assert expected["rows"] == pytest.approx(kind["counted"], rel=0.2), name
        to_go = "for_nodes" if "for_nodes" in kind else "for_chain"
        assert expected[to_go] == pytest.approx(kind[to_go], rel=0.2), name
    assert planned["kinds"]["group_messages"]["rejected"] is None
    assert not planned["exact"] and not planned["at_most"]


def test_what_was_never_analysed_is_counted_and_its_expiry_called_unknown(quiet):
    fill(quiet)
    planned = plan(quiet, *AS_OF)
    assert planned["tables"]["welcome_messages"]["rows"] == 750
    assert planned["kinds"]["welcome_messages"]["expired"] is None
    assert planned["kinds"]["welcome_messages"]["for_nodes"] is None
    assert planned["kinds"]["inbox_log"]["for_chain"] == 300
    assert planned["at_most"]
    kept = {"policy": {"expired": "keep"}}
    quiet.write(**kept)
    assert plan(quiet, *AS_OF)["kinds"]["welcome_messages"]["expired"] == 0


def test_disk_and_wal_come_near_to_what_a_node_grows_by(quiet):
    fill(quiet, rows=20000)
    psql(quiet.v3, "ANALYZE")
    del quiet.nodes["beta"]
    quiet.write()
    planned = plan(quiet, *AS_OF)["nodes"]["alpha"]

    def measure():
        return int(psql(quiet.alpha, "CHECKPOINT; SELECT pg_database_size(current_database())")), \
            int(psql(quiet.alpha, "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"))
    size, wal = measure()
    quiet.run(*AS_OF, status=None)
    size_now, wal_now = measure()
    assert 0.5 < planned["disk_bytes"] / (size_now - size) < 2
    assert 0.4 < planned["wal_bytes"] / (wal_now - wal) < 2.5


def test_bands_with_rows_are_staged_and_the_others_seeded_in_bulk(world):
    for id in (5, 1_000_000, 7_000_000, 7_999_999):
        add_message(world.v3, f"m{id}", id=id)
    planned = plan(world)
    assert planned["tables"]["group_messages"]["bands"] == 3
    assert planned["nodes"]["alpha"]["bands_bulk"] == 3
    assert planned["nodes"]["alpha"]["bands_staged"] == 0
    world.run()
    add_message(world.v3, "more", id=30_000_000)
    for words in ((), ("--exact",)):
        nodes = plan(world, *words)["nodes"]
        assert [(node["bands_bulk"], node["bands_staged"]) for node in nodes.values()] == \
            [(1, 3), (1, 3)]


def test_time_comes_from_signing_here_and_from_the_rate(world):
    fill(world)
    psql(world.v3, "ANALYZE")
    planned = plan(world, *AS_OF, "--threads", 1, probe=1)
    assert planned["threads"] == 1 and planned["rows_per_second"] > 100
    to_go = sum(kind.get("for_nodes", 0) for kind in planned["kinds"].values())
    assert planned["seconds"] == -(-to_go // planned["rows_per_second"])
    assert plan(world, *AS_OF, "--max-rate", 10, probe=1)["seconds"] >= 2900 // 10
    assert plan(world)["rows_per_second"] is None


def test_a_source_without_rows_can_be_planned(world):
    planned = plan(world, probe=1)
    assert planned["would_run"] and planned["rows_per_second"] > 0 and planned["seconds"] == 0
    assert all(table["rows"] == 0 for table in planned["tables"].values())
    assert plan(world, "--exact")["kinds"]["inbox_log"]["rows"] == 0


# ---- servers -----------------------------------------------------------------------------------


def test_settings_that_hurt_are_told_with_their_values(new_server, world, tool):
    slow = new_server(max_wal_size="64MB", checkpoint_timeout="30s", maintenance_work_mem="2MB",
                      synchronous_standby_names="nobody", synchronous_commit="local",
                      shared_buffers="16MB")
    world.nodes["beta"] = Databases(slow, tool).node(200)
    world.write()
    found = {setting["name"]: setting for setting in plan(world)["nodes"]["beta"]["settings"]}
    assert found["max_wal_size"]["value"] == "64MB"
    assert found["checkpoint_timeout"]["value"] == "30s"
    assert found["maintenance_work_mem"]["value"] == "2MB"
    assert found["synchronous_standby_names"]["value"] == "nobody"
    assert found["shared_buffers"]["value"] == "16MB"
    assert found["fsync"]["value"] == "off"
    assert all(setting["better"] and setting["why"] for setting in found.values())
    ran = tool("xmtp-migrate", "plan", "--probe", 0, "--manifest", world.manifest)
    assert "max_wal_size" in ran.out and "64MB" in ran.out and "it would run" in ran.out


def test_room_is_known_where_the_server_is_here_and_lets_it_be_seen(world, server):
    known = plan(world)["nodes"]["alpha"]
    assert known["free_bytes"] > 0 and known["wal_free_bytes"] > 0
    psql(server.dsn(), "DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN")
    psql(world.alpha, "GRANT ALL ON ALL TABLES IN SCHEMA public TO guest")
    world.write(nodes={**world.nodes, "alpha": as_user(world.alpha, "guest")})
    try:
        assert plan(world, status=1)["nodes"]["alpha"]["free_bytes"] is None
    finally:
        psql(world.alpha, "DROP OWNED BY guest")
        psql(server.dsn(), "DROP ROLE guest")


# ---- refusals ----------------------------------------------------------------------------------


def unreachable(world):
    world.write(source="host=127.0.0.1 port=1 dbname=v3 user=postgres")


def no_such_database(world):
    world.write(source=world.v3.replace("trial_", "nowhere_"))


def wrong_level(world):
    psql(world.alpha, "UPDATE schema_migrations SET version = 22")


def wrong_node(world):
    psql(world.beta, "UPDATE node_info SET node_id = 999")


def no_key(world):
    (world.folder / "payer.key").unlink()


def read_only(world):
    psql(world.beta, "ALTER DATABASE " + world.beta.split("dbname=")[1] +
         " SET default_transaction_read_only = on")


def cached_sequence(world):
    psql(world.v3, "ALTER SEQUENCE group_messages_id_seq CACHE 50")


def missing_column(world):
    psql(world.v3, "ALTER TABLE welcome_messages DROP COLUMN hpke_public_key CASCADE")


def no_rate(world):
    world.write(policy={"originator_ns": "migrated"},
                rates=[{"start": "2100-01-01T00:00:00Z", "message_fee": 1, "storage_fee": 1}])


FAULTS = {
    unreachable: "source (127.0.0.1:1/v3)",
    no_such_database: "nowhere_",
    wrong_level: "node 'alpha'",
    wrong_node: "is node 999",
    no_key: "payer.key",
    read_only: "node 'beta'",
    cached_sequence: "caches 50 ids",
    missing_column: "hpke_public_key",
    no_rate: "no rate is in force",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_plan_that_would_not_run_ends_as_the_run_does(world, fault):
    add_message(world.v3, "one")
    fault(world)
    ran = world.migrate("plan", "--probe", 0, status=None)
    assert FAULTS[fault] in ran.json["refusals"][0]["message"]
    assert not ran.json["would_run"]
    assert FAULTS[fault] in ran.err and ran.status not in (0, 130)
    assert world.migrate("run", status=None).status == ran.status


def test_everything_that_refuses_is_told_at_once(world):
    wrong_level(world)
    wrong_node(world)
    read_only(world)
    no_key(world)
    cached_sequence(world)
    psql(world.v3, "ALTER SEQUENCE inbox_log_sequence_id_seq CACHE 9")
    told = messages(plan(world, status=2))
    for said in ("payer.key", "group_messages_id_seq caches 50", "inbox_log_sequence_id_seq caches 9",
                 "node 'alpha'", "is node 999", "takes no writes"):
        assert len([message for message in told if said in message]) == 1, told
    assert len(told) == 6
    text = world.tool("xmtp-migrate", "plan", "--probe", 0, "--manifest", world.manifest, status=2)
    assert text.out.count("refused: ") == 6 and text.out.endswith("it would not run\n")


def test_a_role_without_rights_is_told_what_it_lacks(world, server):
    psql(server.dsn(), "DROP ROLE IF EXISTS weak; CREATE ROLE weak LOGIN")
    psql(world.beta, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO weak")
    psql(world.v3, "GRANT SELECT ON group_messages, welcome_messages, key_packages TO weak")
    world.write(source=as_user(world.v3, "weak"),
                nodes={**world.nodes, "beta": as_user(world.beta, "weak")})
    try:
        told = "\n".join(messages(plan(world, status=1)))
        assert "inbox_log can't be read by the role weak" in told
        assert "installations can't be read" in told and "group_messages can't" not in told
        assert "INSERT/UPDATE/DELETE on gateway_envelopes_meta" in told and "membership in" in told
    finally:
        for dsn in (world.v3, world.beta):
            psql(dsn, "DROP OWNED BY weak")
        psql(server.dsn(), "DROP ROLE weak")


def test_another_run_at_work_is_told(world):
    with held(world.beta, f"SELECT pg_advisory_lock({LOCK})"):
        [said] = messages(plan(world, status=5))
    assert "node 'beta': another run is at work here" in said
    assert plan(world)["would_run"]


def test_an_unfinished_run_is_taken_up_or_refused_under_other_facts(world):
    fill(world)
    psql(world.beta, """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON migration_tracker
        FOR EACH ROW EXECUTE FUNCTION refuse()""")
    world.run(*AS_OF, status=None)
    run = psql(world.alpha, "SELECT run FROM xmtp_migrate.runs")
    planned = plan(world)
    assert planned["takes_up"] == run and planned["as_of"] == "2026-01-01T00:00:00Z"
    assert plan(world, "--new-run")["takes_up"] is None
    world.write(policy={"retention_days": {"group_messages": 61, "welcome_messages": 90,
                                           "key_packages": 90}})
    [said] = messages(plan(world, status=1))
    assert run in said
    assert "retention_days.group_messages: 60 in the run, 61 in the manifest" in said
    assert plan(world, "--new-run")["would_run"]


def test_limits_that_can_not_be_seen_are_told(world, server):
    psql(server.dsn(), "DROP ROLE IF EXISTS blind; CREATE ROLE blind LOGIN")
    psql(world.v3, "GRANT ALL ON ALL TABLES IN SCHEMA public TO blind;"
                   "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO blind")
    world.write(source=as_user(world.v3, "blind"))
    world.edit(lambda document: document["source"].update(limits={"active_sessions": 5}))
    try:
        [said] = messages(plan(world, status=1))
        assert "the role blind may not see them" in said
    finally:
        psql(world.v3, "DROP OWNED BY blind")
        psql(server.dsn(), "DROP ROLE blind")


# ---- nothing changes ---------------------------------------------------------------------------


def trace(world):
    """What any writing transaction anywhere would leave: a transaction id, WAL, a relation."""
    kept = psql(world.v3, "SELECT pg_snapshot_xmax(pg_current_snapshot())")
    return kept, [psql(dsn, "SELECT md5(string_agg(c::text, '' ORDER BY oid)) FROM pg_class c")
                  for dsn in (world.v3, *world.nodes.values())]


@pytest.mark.parametrize("words", [(), ("--exact",)])
def test_a_plan_changes_nothing_anywhere(quiet, words):
    fill(quiet, rows=1000)
    psql(quiet.v3, "ANALYZE; VACUUM")
    before = trace(quiet)
    files = sorted(quiet.folder.iterdir())
    plan(quiet, *words, *AS_OF)
    assert trace(quiet) == before
    assert quiet.untouched()
    assert sorted(quiet.folder.iterdir()) == files


def test_a_plan_ends_at_once_on_request(world):
    process = subprocess.Popen([tool_path("xmtp-migrate"), "plan", "--manifest", world.manifest,
                                "--probe", "60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(1)
    process.terminate()
    process.communicate(timeout=5)
    assert process.returncode == 130


@pytest.mark.parametrize("words", [("--probe", "-1"), ("--probe", "forever"), ("--probe", "3601"),
                                   ("extra",), ("--max-rate", "0")])
def test_words_that_make_no_sense_are_usage_errors(world, words):
    ran = world.migrate("plan", *words, status=2)
    assert words[-1] in ran.err and ran.out == ""


