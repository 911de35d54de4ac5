"""Key packages that change their standing after they were migrated: the newest envelope of every
installation on every node is its current key package, and no byte is other than what V3 says now."""

import datetime
import json
import time

import pytest

from support.servers import psql
from support.world import BLOB, INSTALLATION, META, count, held, row, world  # noqa: F401

DAY = 86400 * 10**9
OTHER = "d0" * 32


@pytest.fixture
def clock():
    """Moments that rise, none to come and none long ago."""
    now = time.time_ns() - 100 * 10**9

    def tick(step=10**9):
        nonlocal now
        now += step
        return now

    return tick


def upload(v3, text, at_ns, installation=INSTALLATION, created_ns=None):
    """As V3 does: known bytes move the installation alone. Gives the row's id."""
    return int(psql(v3, f"""
        INSERT INTO installations (id, created_at, updated_at, key_package, is_appended)
        VALUES ('\\x{installation}', {at_ns}, {at_ns}, '{text}', true)
        ON CONFLICT (id) DO UPDATE SET key_package = '{text}', updated_at = {at_ns};
        INSERT INTO key_packages (installation_id, key_package, created_at)
        VALUES ('\\x{installation}', '{text}', {created_ns or at_ns}) ON CONFLICT DO NOTHING;
        SELECT sequence_id FROM key_packages
        WHERE installation_id = '\\x{installation}' AND key_package = '{text}'"""))


def newest(dsn, installation=INSTALLATION):
    """The id of the envelope that a node would answer."""
    return int(psql(dsn, f"""
        SELECT originator_sequence_id FROM {META} WHERE topic = '\\x03{installation}'
        ORDER BY gateway_time DESC LIMIT 1"""))


def assert_newest(world, id, installation=INSTALLATION):
    assert {newest(dsn, installation) for dsn in world.nodes.values()} == {id}
    assert world.parity()["verdict"] == "green"


def renewed(dsn, kind="key_packages"):
    return [int(id) for id in psql(
        dsn, f"SELECT sequence_id FROM xmtp_migrate.renewed WHERE kind = '{kind}'"
             " ORDER BY renewed_at, sequence_id").split()]


def kinds(account):
    return account["kinds"]["key_packages"]


def test_an_older_package_uploaded_again_between_two_runs(world, clock):
    older, newer = upload(world.v3, "older", clock()), upload(world.v3, "newer", clock())
    world.run()
    assert_newest(world, newer)
    upload(world.v3, "older", clock())
    account = world.run()
    assert kinds(account)["nodes"]["beta"] == {"loaded": 0, "already_there": 2}
    assert_newest(world, older)
    assert renewed(world.alpha) == renewed(world.beta) == [older]
    world.run()
    assert renewed(world.alpha) == [older]


def test_back_and_forth_and_a_new_one(world, clock):
    one, two = upload(world.v3, "one", clock()), upload(world.v3, "two", clock())
    for text, id in (("one", one), ("two", two), ("one", one), ("one", one)):
        upload(world.v3, text, clock())
        assert world.run()["verdict"] == "green"
        assert_newest(world, id)
    three = upload(world.v3, "three", clock())
    world.run()
    assert_newest(world, three)
    upload(world.v3, "two", clock())
    world.run()
    assert_newest(world, two)


def test_what_is_kept_of_it(world, clock):
    id = upload(world.v3, "one", clock())
    world.run()
    digest = f"SELECT encode(sha256(originator_envelope), 'hex') FROM {BLOB}"
    before = psql(world.alpha, digest)
    upload(world.v3, "one", clock())
    run = world.run()["run"]
    assert psql(world.alpha, "SELECT run, kind, sequence_id, held, stored, held_time < stored_time"
                             " FROM xmtp_migrate.renewed") == "|".join(
        [run, "key_packages", str(id), before, psql(world.alpha, digest), "t"])
    assert psql(world.alpha, f"SELECT l.gateway_time = m.gateway_time FROM {META} m JOIN"
                             " gateway_envelopes_latest l USING (originator_node_id)") == "t"


def test_a_bundle_is_no_newer_than_its_export(world, tmp_path):
    """What has expired since is in no range that the next run compares: its last pass has to look
    back as far as the bundle."""
    hour, now = 3600 * 10**9, time.time_ns()
    as_of = datetime.datetime.fromtimestamp((now - 2 * hour) / 1e9, datetime.timezone.utc)
    old = upload(world.v3, "old", now - 3 * hour, created_ns=now - 200 * DAY)
    world.stage("export", "--out", tmp_path / "rows", "--as-of",
                as_of.strftime("%Y-%m-%dT%H:%M:%SZ"))
    new = upload(world.v3, "new", now - hour)
    world.stage("transform", "--in", tmp_path / "rows", "--out", tmp_path / "envelopes")
    world.stage("load", "--in", tmp_path / "envelopes")
    world.run()
    assert_newest(world, new)
    assert renewed(world.alpha) == [old]


def test_a_bundle_of_some_age_takes_no_standing_back(world, clock, tmp_path):
    older = upload(world.v3, "older", clock())
    upload(world.v3, "newer", clock())
    world.stage("export", "--out", tmp_path / "rows")
    upload(world.v3, "older", clock())
    world.run()
    world.stage("transform", "--in", tmp_path / "rows", "--out", tmp_path / "envelopes")
    world.stage("load", "--in", tmp_path / "envelopes", status=4)
    assert newest(world.alpha) == newest(world.beta) == older
    world.run("--new-run")
    assert_newest(world, older)


@pytest.mark.parametrize("clock_of, conflicts", [("created", 2), ("migrated", 1)])
def test_what_the_go_migrator_brought_did_not_change_its_standing(world, clock, clock_of,
                                                                  conflicts):
    """Its envelopes are of the same messages, and may be of the same keys."""
    upload(world.v3, "older", clock())
    upload(world.v3, "newer", clock())
    world.write(policy={"profile": "xmtpd"})
    world.run()
    world.write(policy={"originator_ns": clock_of})
    upload(world.v3, "older", clock())
    assert world.run("--new-run", status=4)["rejects"] == {"conflict": conflicts}
    assert renewed(world.alpha) == []


def test_a_package_uploaded_again_while_a_run_reads(world, clock, start_tool):
    older = upload(world.v3, "older", clock())
    upload(world.v3, "newer", clock())
    world.write(nodes={"alpha": world.alpha})
    with held(world.alpha, "LOCK payers"):
        process = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest), "--json")
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while psql(world.alpha, waiting) == "0":
            assert process.poll() is None
        upload(world.v3, "older", clock())
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert newest(world.alpha) == older
    assert renewed(world.alpha) == [older]
    assert world.parity()["verdict"] == "green"


def test_the_clock_is_locked_behind_usage(world, clock, start_tool):
    """As the node's own insert does, which would else wait for us while we wait for it."""
    upload(world.v3, "older", clock())
    newer = upload(world.v3, "newer", clock())
    world.write(nodes={"alpha": world.alpha})
    world.edit(lambda document: document["policy"].update(usage="count"))
    world.run()
    upload(world.v3, "newer", clock())
    upload(world.v3, "other", clock(), installation=OTHER)
    with held(world.alpha, "LOCK unsettled_usage IN SHARE MODE"):
        process = start_tool("xmtp-migrate", "run", "--manifest", str(world.manifest), "--json")
        waiting = ("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND"
                   " query LIKE '%INSERT INTO unsettled_usage%' AND pid <> pg_backend_pid()")
        while psql(world.alpha, waiting) == "0":
            assert process.poll() is None
        psql(world.alpha, "SELECT FROM gateway_envelopes_latest FOR UPDATE NOWAIT")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert renewed(world.alpha) == [newer]


def test_nodes_that_were_given_other_readings_hold_the_same_in_the_end(world, clock):
    older = upload(world.v3, "older", clock())
    upload(world.v3, "newer", clock())
    nodes = dict(world.nodes)
    world.write(nodes={"alpha": nodes["alpha"]})
    world.run()
    upload(world.v3, "older", clock())
    world.write(nodes=nodes)
    assert world.run()["verdict"] == "green"
    assert_newest(world, older)
    assert renewed(world.alpha) == [older] and renewed(world.beta) == []


@pytest.mark.parametrize("tamper", [
    f"UPDATE {BLOB} SET originator_envelope = 'x' WHERE ",
    f"UPDATE {META} SET expiry = expiry + 1 WHERE ",
    f"UPDATE {META} SET gateway_time = 'infinity', expiry = {-2**63} WHERE ",
    f"UPDATE {META} SET topic = '\\x03ff' WHERE ",
    f"UPDATE {BLOB} b SET originator_envelope = o.originator_envelope FROM {BLOB} o"
    " WHERE o.originator_sequence_id <> b.originator_sequence_id AND b.",
])
def test_what_is_not_ours_is_a_conflict_as_ever(world, clock, tamper):
    older = upload(world.v3, "older", clock())
    upload(world.v3, "newer", clock())
    world.run()
    psql(world.beta, tamper + row(13, older).replace("AND ", "AND " + "b." * ("b." in tamper)))
    before = psql(world.beta, f"SELECT originator_envelope FROM {BLOB} WHERE {row(13, older)}")
    upload(world.v3, "older", clock())
    account = world.run(status=4)
    assert account["rejects"] == {"conflict": 1}
    assert psql(world.beta,
                f"SELECT originator_envelope FROM {BLOB} WHERE {row(13, older)}") == before
    assert newest(world.alpha) == older and older not in renewed(world.beta)
    assert {one["node"] for one in world.parity(3)["differences"]} == {"beta"}


def test_another_key_signs_no_rewriting(world, clock):
    """What somebody else signed is not ours to replace, though its message is the same."""
    older, newer = upload(world.v3, "older", clock()), upload(world.v3, "newer", clock())
    world.run()
    key = world.manifest.parent / "other.key"
    key.write_text("44" * 32)
    world.write(keys={"payer": json.loads(world.manifest.read_text())["keys"]["payer"],
                      "originator": f"file:{key}"})
    upload(world.v3, "older", clock())
    assert world.run("--new-run", status=4)["rejects"] == {"conflict": 2}
    assert newest(world.alpha) == newer != older


def test_what_had_expired_comes_back_with_its_standing(world, clock):
    """Created long ago, so it was left out; uploaded again, it is what users are invited by."""
    now = clock()
    old = upload(world.v3, "old", now - 100 * DAY)
    upload(world.v3, "young", now, installation=OTHER)
    nodes = dict(world.nodes)
    world.write(nodes={"alpha": nodes["alpha"]})
    account = world.run()
    assert (kinds(account)["expired"], kinds(account)["for_nodes"]) == (1, 1)
    psql(world.alpha, "UPDATE xmtp_migrate.runs SET finished_at = NULL, renewed_since_ns = NULL")
    upload(world.v3, "old", clock())
    world.write(nodes=nodes)
    account = world.run()
    assert (kinds(account)["expired"], kinds(account)["for_nodes"]) == (0, 2)
    assert account["verdict"] == "green"
    assert_newest(world, old)


def test_what_lives_by_its_standing_alone_is_kept_without_it(world, clock):
    """Rows of V3's backfill carry an age that is not their own."""
    now = clock()
    old = upload(world.v3, "old", now, created_ns=now - 200 * DAY)
    world.run()
    assert_newest(world, old)
    new = upload(world.v3, "new", clock())
    account = world.run()
    assert (kinds(account)["expired"], kinds(account)["for_nodes"]) == (1, 1)
    assert_newest(world, new)
    assert old in renewed(world.alpha)
    upload(world.v3, "old", clock())
    world.run()
    assert_newest(world, old)


def test_what_expires_with_its_standing_is_counted_alike_by_all_nodes(world, clock):
    now = clock()
    old = upload(world.v3, "old", now, created_ns=now - 200 * DAY)
    other = upload(world.v3, "young", clock(), installation=OTHER)
    nodes = dict(world.nodes)
    world.write(nodes={"alpha": nodes["alpha"]})
    assert kinds(world.run())["for_nodes"] == 2
    upload(world.v3, "new", clock())
    world.write(nodes=nodes)
    account = world.run()
    assert (kinds(account)["expired"], kinds(account)["for_nodes"]) == (1, 1)
    assert account["verdict"] == "green" and world.parity()["verdict"] == "green"
    assert old in renewed(world.alpha) and other not in renewed(world.alpha)
    assert (count(world.alpha, META), count(world.beta, META)) == (2, 1)
    psql(world.alpha, "UPDATE xmtp_migrate.runs SET finished_at = NULL")
    upload(world.v3, "old", clock())
    account = world.run()
    assert (kinds(account)["expired"], kinds(account)["for_nodes"]) == (0, 2)
    assert account["verdict"] == "green"
    assert_newest(world, old)


def test_a_lost_row_is_not_brought_back_unseen(world, clock):
    older = upload(world.v3, "older", clock())
    upload(world.v3, "newer", clock())
    world.run()
    psql(world.alpha, f"UPDATE xmtp_migrate.runs SET finished_at = NULL, renewed_since_ns = NULL;"
                      f"DELETE FROM {META} WHERE {row(13, older)}")
    upload(world.v3, "older", clock())
    world.run()
    assert count(world.alpha, META, row(13, older)) == 0
    assert {one["what"] for one in world.parity(3)["differences"]} >= {"missing"}


def test_times_of_the_run_are_no_change_of_standing(world, clock):
    world.write(policy={"originator_ns": "migrated"})
    older = upload(world.v3, "older", clock())
    upload(world.v3, "newer", clock())
    upload(world.v3, "kept", clock(), installation=OTHER)
    world.run()
    upload(world.v3, "older", clock())
    psql(world.alpha, "UPDATE xmtp_migrate.runs SET finished_at = NULL, renewed_since_ns = NULL")
    psql(world.v3, f"UPDATE installations SET updated_at = updated_at WHERE id = '\\x{OTHER}'")
    world.run()
    assert_newest(world, older)
    assert renewed(world.alpha) == renewed(world.beta) == [older]


def many(world, at_ns, count, start=1):
    """Installations with two packages each, of which the second is current."""
    psql(world.v3, f"""
        INSERT INTO installations (id, created_at, updated_at, key_package, is_appended)
        SELECT sha256(g::text::bytea), {at_ns}, {at_ns} + g / 7, ('b' || g)::bytea, true
        FROM generate_series({start}, {start + count - 1}) g;
        INSERT INTO key_packages (installation_id, key_package, created_at)
        SELECT sha256(g::text::bytea), (p || g)::bytea, {at_ns} - 1000000
        FROM generate_series({start}, {start + count - 1}) g, unnest(ARRAY['a', 'b']) p""")


def upload_all_again(world, at_ns):
    psql(world.v3, f"UPDATE installations SET key_package = replace(encode(key_package, 'escape'),"
                   f" 'b', 'a')::bytea, updated_at = {at_ns} WHERE length(key_package) < 9")


@pytest.mark.parametrize("index", ["", "CREATE INDEX ON installations (updated_at, id)",
                                   "CREATE INDEX ON installations USING brin (updated_at)"])
def test_many_installations_by_page_or_by_index(world, clock, index):
    many(world, clock(), 2300)
    psql(world.v3, index or "SELECT 1")
    world.run()
    upload_all_again(world, clock())
    world.run()
    assert len(renewed(world.alpha)) == len(renewed(world.beta)) == 4600
    assert world.parity()["verdict"] == "green"


def test_installations_of_many_pages_are_all_looked_at(world, clock):
    """A statement reads 32 MiB of them."""
    world.write(nodes={"alpha": world.alpha})
    now = clock()
    many(world, now, 3)
    psql(world.v3, f"""
        ALTER TABLE installations ALTER key_package SET STORAGE plain;
        INSERT INTO installations (id, created_at, updated_at, key_package, is_appended)
        SELECT 'x' || sha256(g::text::bytea), 1, 1, repeat('x', 4000)::bytea, true
        FROM generate_series(1, 8500) g""")
    many(world, now, 3, start=4)
    world.run()
    upload_all_again(world, clock())
    assert int(psql(world.v3, "SELECT pg_relation_size('installations') / 8192")) > 4096
    world.run()
    assert len(renewed(world.alpha)) == 12
    assert world.parity()["verdict"] == "green"


def test_live_uploads_between_two_runs(world):
    world.seed(600)
    world.run()
    for seed in (1, 2):
        world.tool("xmtp-seed", "live", "--dsn", world.v3, "--for", 2, "--rate", 200, "--seed", seed)
        world.run()
        assert world.parity()["verdict"] == "green"
