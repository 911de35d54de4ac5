"""A run that is taken up is the run that was begun: its facts, its source and its nodes are those
that it was pinned with, or it is refused with what differs."""

import signal
import subprocess

import pytest
from conftest import tool_environment, tool_path
from support.servers import psql
from support.world import add_message, digest_of_node, world  # noqa: F401

UNTIL = "2026-01-01T00:00:00Z"


def reopen(world):
    """As if a run had been stopped just before its end."""
    for dsn in world.nodes.values():
        psql(dsn, "UPDATE xmtp_migrate.runs SET finished_at = NULL")


@pytest.fixture
def begun(world):
    """A run that is yet to be finished."""
    world.seed(300, until=UNTIL)
    world.run()
    reopen(world)
    return world


# ---- the manifest ---------------------------------------------------------------------------------


def change_policy(document):
    document["policy"]["retention_days"]["group_messages"] = 61
    document["policy"]["expired"] = "keep"
    document["rates"].append({"start": "2025-06-01T00:00:00Z", "message_fee": 5, "storage_fee": 6})


def test_another_manifest_is_refused_member_by_member(begun):
    begun.edit(change_policy)
    ran = begun.run(status=1)
    for told in ("the unfinished run", "expired: drop in the run, keep in the manifest",
                 "retention_days.group_messages: 60 in the run, 61 in the manifest",
                 "rates[1].start: none in the run, 2025-06-01T00:00:00Z in the manifest",
                 "--new-run"):
        assert told in ran.err, ran.err
    begun.run("--new-run")


def test_other_keys_are_refused_with_both_addresses(begun, tmp_path):
    addresses = psql(begun.alpha, "SELECT payer, originator FROM xmtp_migrate.runs").split("|")
    for name in ("payer", "originator"):
        (tmp_path / f"{name}.key").write_text("33" * 32)
    ran = begun.run(status=1)
    for name, address in zip(("payer", "originator"), addresses):
        assert f"keys.{name}: {address} in the run, 0x" in ran.err, ran.err


def test_another_bundle_than_the_manifests_is_refused_with_what_it_tells(world, tmp_path):
    world.seed(50, until=UNTIL)
    rows = tmp_path / "rows"
    world.stage("export", "--out", rows)
    world.edit(change_policy)
    ran = world.stage("transform", "--in", rows, "--out", tmp_path / "out", status=1)
    assert "retention_days or rates: the bundle holds a digest of them alone" in ran.err
    world.edit(lambda document: document.update(network="other"))
    ran = world.stage("transform", "--in", rows, "--out", tmp_path / "out", status=1)
    assert "network: local in the bundle, other in the manifest" in ran.err


# ---- the source -----------------------------------------------------------------------------------


def assert_source_refused(world, *told):
    for words in (("run",), ("run", "--dry-run"), ("plan",)):
        ran = world.migrate(*words, status=1)
        for text in told:
            assert text in ran.err + ran.out, ran.err + ran.out
    return ran


@pytest.mark.parametrize("finished", [False, True])
def test_a_source_that_is_another_database_is_refused_unless_it_was_moved(begun, databases, tool,
                                                                          finished):
    if finished:
        begun.run()
    moved = databases.v3()
    psql(moved, "SELECT 1")
    tool("xmtp-seed", "rows", "--dsn", moved, "--rows", 300, "--until", UNTIL)
    here, there = (psql(dsn, "SELECT oid FROM pg_database WHERE datname = current_database()")
                   for dsn in (begun.v3, moved))
    begun.write(source=moved)
    assert_source_refused(begun, "is another database than the run was begun with",
                          f"database oid is {there}, was {here}")
    assert "--source-moved" in begun.run(status=1).err
    if finished:
        ran = begun.migrate("rejected", "retry", status=1)
        assert "is another database" in ran.err
    begun.run("--source-moved")
    begun.run()  # and it is the run's source from now on
    begun.parity()
    begun.write()
    assert_source_refused(begun, f"database oid is {here}, was {there}")
    begun.run("--new-run")


def test_a_table_made_anew_is_another(begun):
    psql(begun.v3, """
        CREATE TABLE fresh (LIKE inbox_log INCLUDING ALL);
        ALTER SEQUENCE inbox_log_sequence_id_seq OWNED BY fresh.sequence_id;
        INSERT INTO fresh SELECT * FROM inbox_log;
        DROP TABLE inbox_log CASCADE; ALTER TABLE fresh RENAME TO inbox_log""")
    ran = begun.run(status=1)
    assert "oid of inbox_log is " in ran.err and "oid of group_messages" not in ran.err
    assert "sequence of inbox_log" not in ran.err
    begun.run("--source-moved")


@pytest.mark.parametrize("finished", [False, True])
def test_a_source_that_was_set_back_is_refused(begun, finished):
    if finished:
        begun.run()
    last = int(psql(begun.v3, "SELECT last_value FROM group_messages_id_seq"))
    psql(begun.v3, f"SELECT setval('group_messages_id_seq', {last - 10})")
    assert_source_refused(begun, f"the sequence of group_messages has come to {last - 10}",
                          f"had been at {last}")
    assert "set back" in begun.run("--source-moved", status=1).err
    begun.run("--new-run")


def test_a_role_that_may_not_see_the_system_identifier_goes_by_oids(begun):
    function = "EXECUTE ON FUNCTION pg_control_system()"
    psql(begun.v3, f"""CREATE ROLE reads_little LOGIN IN ROLE pg_read_all_data;
        REVOKE {function} FROM PUBLIC""")
    try:
        begun.write(source=begun.v3.replace("user=postgres", "user=reads_little"))
        begun.run()
        assert psql(begun.alpha, "SELECT source FROM xmtp_migrate.runs").startswith(
            "system identifier=0; database oid=")
    finally:
        psql(begun.v3, f"GRANT {function} TO PUBLIC; DROP ROLE reads_little")


def test_a_run_that_a_bundle_began_learns_its_source_when_it_is_taken_up(world, tmp_path):
    world.seed(50, until=UNTIL)
    rows, envelopes = tmp_path / "rows", tmp_path / "envelopes"
    world.stage("export", "--out", rows)
    world.stage("transform", "--in", rows, "--out", envelopes)
    world.stage("load", "--in", envelopes)
    assert psql(world.alpha, "SELECT source FROM xmtp_migrate.runs") == ""
    reopen(world)
    world.run()
    assert "database oid=" in psql(world.alpha, "SELECT source FROM xmtp_migrate.runs")


# ---- rows above what the sequence gave out ----------------------------------------------------------


def add_strays(world, first, count):
    for id in range(first, first + count):
        add_message(world.v3, f"drawn by hand {id}", id=id)


def test_strays_count_as_loaded_by_whichever_sitting_of_the_run_did_it(world):
    world.seed(30, until=UNTIL)
    add_strays(world, 10 ** 9, 3)
    account = world.run()
    for _ in range(3):
        reopen(world)
        assert world.run() == account
    add_strays(world, 10 ** 9 + 3, 2)
    # Another run: three are there from the one before.
    account = world.run("--new-run")
    beta = account["kinds"]["group_messages"]["nodes"]["beta"]
    assert beta["loaded"] == 2
    for _ in range(2):
        reopen(world)
        assert world.run() == account
    # A node that had not come so far.
    psql(world.beta, "DELETE FROM xmtp_migrate.parts WHERE NOT settled")
    reopen(world)
    again = world.run()["kinds"]["group_messages"]["nodes"]
    assert again["alpha"] == beta and again["beta"]["loaded"] == 0
    # One more that came while the run was stopped.
    add_strays(world, 10 ** 9 + 5, 1)
    reopen(world)
    again = world.run()["kinds"]["group_messages"]["nodes"]
    assert again["alpha"]["loaded"] == 3


# ---- the end of a run -------------------------------------------------------------------------------


def untell(world):
    """As if the process had been killed between the run's end and the word of it."""
    for dsn in world.nodes.values():
        psql(dsn, "UPDATE xmtp_migrate.runs SET told_at = NULL")


def runs(dsn):
    return psql(dsn, "SELECT run FROM xmtp_migrate.runs ORDER BY 1").split("\n")


@pytest.mark.parametrize("as_of", [(), ("--as-of", UNTIL)])
def test_a_run_that_nobody_was_told_of_is_told_again(world, tmp_path, as_of):
    world.seed(300, until=UNTIL)
    words = (*as_of, "--chain-out", tmp_path / "chain")
    account = world.run(*words)
    untell(world)
    assert world.run(*words) == account
    psql(world.beta, "UPDATE xmtp_migrate.runs SET told_at = NULL")
    assert world.run(*words) == account
    assert runs(world.alpha) == runs(world.beta) == [account["run"]]
    ran = world.run(*words, status=2)  # another run, and the bundle there is of this one
    assert "exists" in ran.err


def test_it_is_told_only_once_the_account_has_gone_out(world):
    world.seed(30, until=UNTIL)
    with open("/dev/full", "wb") as full:
        ran = subprocess.run([tool_path("xmtp-migrate"), "run", "--manifest", world.manifest],
                             stdout=full, stderr=subprocess.PIPE, env=tool_environment(),
                             check=False)
    assert ran.returncode == 1
    [run] = runs(world.alpha)
    assert world.run()["run"] == run
    assert world.run()["run"] != run


def test_another_command_than_that_of_the_run_begins_one(world):
    world.seed(30, until=UNTIL)
    first = world.run("--as-of", UNTIL)["run"]
    untell(world)
    second = world.run("--as-of", "2026-01-02T00:00:00Z")["run"]
    untell(world)
    world.edit(change_policy)
    third = world.run(status=4)["run"]  # other bytes for the same ids
    untell(world)
    fourth = world.run("--new-run", status=4)["run"]
    assert len({first, second, third, fourth}) == 4


def test_a_load_that_has_ended_leaves_nothing_to_tell(world, tmp_path):
    world.seed(30, until=UNTIL)
    rows, envelopes = tmp_path / "rows", tmp_path / "envelopes"
    world.stage("export", "--out", rows)
    world.stage("transform", "--in", rows, "--out", envelopes)
    account = world.stage("load", "--in", envelopes, "--json").json
    assert world.stage("load", "--in", envelopes, "--json").json == account
    assert world.run()["run"] != account["run"]


# ---- bundles that are finished ----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".tar"])
def test_a_stage_finds_the_bundle_that_it_has_finished(world, tmp_path, suffix):
    world.seed(400, until=UNTIL, shape="hostile")
    rows, envelopes = tmp_path / f"rows{suffix}", tmp_path / f"envelopes{suffix}"
    export = ("export", "--as-of", UNTIL, "--out", rows, "--json")
    transform = ("transform", "--in", rows, "--out", envelopes, "--json")
    for stage, out in ((export, rows), (transform, envelopes)):
        first = world.stage(*stage)
        when = out.stat().st_mtime_ns
        again = world.stage(*stage)
        assert again.json == first.json and "is there, whole, and what was asked for" in again.err
        assert out.stat().st_mtime_ns == when
    # Anything else than what was asked for is not.
    refused = world.stage("export", "--out", rows, status=2)
    assert f"as of {UNTIL}: --as-of asks for it" in refused.err and "exists" in refused.err
    world.stage("export", "--as-of", "2026-01-02T00:00:00Z", "--out", rows, status=2)
    other = tmp_path / f"other{suffix}"
    world.stage("export", "--as-of", UNTIL, "--out", other)
    world.stage("transform", "--in", other, "--out", envelopes, status=2)
    world.edit(change_policy)
    world.stage(*export, status=2)


def test_a_finished_bundle_that_was_damaged_is_not_taken_for_done(world, tmp_path):
    world.seed(300, until=UNTIL)
    words = ("export", "--as-of", UNTIL, "--out", tmp_path / "rows")
    world.stage(*words)
    part = next((tmp_path / "rows" / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:-1])
    assert "exists" in world.stage(*words, status=2).err


def test_what_a_crash_left_is_named_and_removed(world, tmp_path):
    world.seed(30, until=UNTIL)
    world.run("--chain-out", tmp_path / "first")
    for name in ("meta_o10_s5000000", "blob_o10_s5000000"):
        psql(world.beta, f"CREATE TABLE xmtp_migrate.{name} (id int)")
    rows, chain = tmp_path / "rows", tmp_path / "chain"
    for folder in (rows, chain):
        (folder / "parts").mkdir(parents=True)
        for name in ("header.json", "parts/000001-inbox_log-rows.zst.17-0.tmp"):
            (folder / name).write_text("half")
    (tmp_path / "rows.tar.unfinished").write_text("half")
    ran = world.migrate("run", "--chain-out", chain)
    for name in ("meta_o10_s5000000", "blob_o10_s5000000"):
        assert f"node 'beta': xmtp_migrate.{name}, of a band that a stopped run had" in ran.err
    told = "was begun and never finished: 2 of its files removed"
    assert f"'{chain}' {told}" in ran.err
    assert psql(world.beta, "SELECT to_regclass('xmtp_migrate.meta_o10_s5000000') IS NULL") == "t"
    assert told in world.stage("export", "--out", rows).err
    ran = world.stage("export", "--out", f"{rows}.tar")
    assert "was begun and never finished: 1 of its files removed" in ran.err
    assert "finished" not in world.stage("transform", "--in", rows, "--out", tmp_path / "e").err


# ---- clocks that jump -------------------------------------------------------------------------------


def test_the_newest_run_is_the_one_that_was_begun_last_whatever_the_clock_says(world):
    """The first run was begun while the node's clock was ahead."""
    world.seed(30, until=UNTIL)
    first = world.run()
    for dsn in world.nodes.values():
        psql(dsn, "UPDATE xmtp_migrate.runs SET started_at = started_at + interval '1 day',"
                  " finished_at = finished_at + interval '1 day'")
    second = world.run()
    assert second["run"] != first["run"] and world.status()["run"] == second["run"]
    psql(world.beta, f"UPDATE xmtp_migrate.runs SET finished_at = NULL WHERE run = '{second['run']}'")
    assert world.run() == second


# ---- a source that crashes --------------------------------------------------------------------------


def test_what_a_source_could_still_forget_is_not_taken_for_final(world, new_server, tool):
    """Commits are not waited for there, and the WAL is written out now and then."""
    source = new_server(synchronous_commit="off", wal_writer_delay="3s")
    v3 = source.create_database()
    tool("xmtp-seed", "schema", "v3", "--dsn", v3)
    world.v3 = v3
    world.write()
    for id in range(3):
        add_message(v3, f"message {id}")
    psql(v3, "BEGIN; SELECT nextval('group_messages_id_seq') FROM generate_series(1, 50); ROLLBACK")
    world.run()
    source.stop(signal.SIGQUIT)
    source.start()
    assert psql(v3, "SELECT count(*) FROM group_messages") == "3"
    assert int(psql(v3, "SELECT last_value FROM group_messages_id_seq")) >= 53
    world.run()
