"""Runs one after another, and runs that are taken up: whose rows an account speaks of."""

import datetime
import hashlib
import re
import shutil

import pytest

from support.servers import psql
from support.world import (  # noqa: F401
    BLOB, GROUP, META, add_message, chain_bundle, count, insert_message, message, world)

RUNS = "xmtp_migrate.runs"


def add_broken(world, text):
    """A message that no node can have: its group id is too short."""
    return int(psql(world.v3, insert_message(text, group="a0a0") + " RETURNING id"))


def hold_otherwise(dsn, id):
    """Puts other bytes under an id into a node."""
    psql(dsn, f"""
        SELECT ensure_gateway_parts_v3(10, {id});
        INSERT INTO {META} (originator_node_id, originator_sequence_id, topic, expiry)
        VALUES (10, {id}, '\\x00ff', 42)""")


def reopen(world, *names):
    """As if a run had been stopped just before its end."""
    for name in names or world.nodes:
        psql(world.nodes[name], f"UPDATE {RUNS} SET finished_at = NULL")


def waive(world, *words, status=0):
    return world.migrate("rejected", "waive", *words, "--reason", "known", status=status)


def test_a_waiver_of_a_row_that_is_gone_covers_no_other_row(world):
    gone = add_broken(world, "one")
    world.run(status=4)
    waive(world, "group_messages", gone)
    world.status(0)
    psql(world.v3, f"DELETE FROM group_messages WHERE id = {gone}")
    fresh = add_broken(world, "two")
    account = world.run(status=4)
    kind = account["kinds"]["group_messages"]
    assert (kind["rejected"], kind["waived"], account["verdict"]) == (1, 0, "partial")
    waive(world, "group_messages", fresh)
    assert [one["id"] for one in world.status(0)["waivers"]] == [fresh]


def test_a_conflict_of_an_earlier_run_is_none_of_a_later_one(world):
    ids = [add_message(world.v3, f"message {i}") for i in range(4)]
    for id in ids[:2]:
        hold_otherwise(world.beta, id)
    assert world.run(status=4)["rejects"] == {"conflict": 2}
    psql(world.v3, f"DELETE FROM group_messages WHERE id = {ids[0]}")
    account = world.run(status=4)
    kind = account["kinds"]["group_messages"]
    assert (account["rejects"], kind["counted"], kind["for_nodes"]) == ({"conflict": 1}, 3, 2)


def test_retrying_a_letter_of_an_earlier_run_moves_no_count_of_this_one(world):
    ids = [add_message(world.v3, f"message {i}") for i in range(3)]
    hold_otherwise(world.alpha, ids[0])
    hold_otherwise(world.alpha, ids[1])
    world.run(status=4)
    psql(world.v3, f"DELETE FROM group_messages WHERE id = {ids[0]}")
    before = world.run(status=4)["kinds"]
    psql(world.alpha, f"DELETE FROM {META} WHERE originator_sequence_id = {ids[0]}")
    world.migrate("rejected", "retry", "group_messages", ids[0])
    account = world.status(4)
    assert account["kinds"] == before and account["verdict"] == "partial"


def test_rows_pruned_between_two_sittings_are_counted_twice_by_nobody(world):
    world.seed(12000)
    world.run()
    cut = int(psql(world.beta, "SELECT min(last_id) FROM xmtp_migrate.parts"
                               " WHERE source_table = 'group_messages'"))
    psql(world.beta, "DELETE FROM xmtp_migrate.parts WHERE source_table = 'group_messages'"
                     f" AND first_id > {cut}")
    reopen(world)
    psql(world.v3, f"DELETE FROM group_messages WHERE id BETWEEN {cut + 1} AND {cut + 40}")
    problems = world.run(status=3)["problems"]
    assert any("counted other rows" in problem for problem in problems)
    assert not any("gap" in problem for problem in problems)
    assert count(world.alpha, "xmtp_migrate.parts", "source_table = 'group_messages'") == int(psql(
        world.alpha, "SELECT count(DISTINCT first_id) FROM xmtp_migrate.parts"
                     " WHERE source_table = 'group_messages'"))
    assert world.run()["verdict"] == "green"


def test_expired_rows_pruned_between_two_sittings_are_nothing_to_two_nodes(world):
    """Also where all of a part go, and though the rows that are left would fill fewer parts."""
    psql(world.v3, f"""
        INSERT INTO group_messages (created_at, group_id, data, group_id_data_hash, is_commit)
        SELECT now() - interval '1 day' * CASE WHEN g % 3 = 0 OR g BETWEEN 8000 AND 13000 THEN 100
            ELSE 1 END, '\\x{GROUP}', '\\x{message(GROUP, "x")}', sha256(g::text::bytea), false
        FROM generate_series(1, 20000) g""")
    world.run()
    cut = int(psql(world.beta, "SELECT min(last_id) FROM xmtp_migrate.parts"
                               " WHERE source_table = 'group_messages'"))
    psql(world.beta, "DELETE FROM xmtp_migrate.parts WHERE source_table = 'group_messages'"
                     f" AND first_id > {cut}")
    psql(world.beta, f"DELETE FROM {META} WHERE originator_sequence_id > {cut}")
    reopen(world)
    psql(world.v3, "DELETE FROM group_messages WHERE created_at < now() - interval '90 days'")
    assert world.run()["verdict"] == "green"
    ends = "SELECT last_id FROM xmtp_migrate.parts ORDER BY 1"
    assert psql(world.alpha, ends) == psql(world.beta, ends)


def test_a_recount_that_was_red_stays_red(world):
    for i in range(3):
        add_message(world.v3, f"message {i}")
    world.run()
    reopen(world)
    add_message(world.v3, "below what was settled", id=-7)
    add_message(world.v3, "far above the sequence", id=10 ** 12)
    assert "4 rows of group_messages" in world.run(status=3)["problems"][0]
    assert "4 rows of group_messages" in world.status(3)["problems"][0]
    world.run(status=4)  # judges all anew: a node has no place for -7


def test_loading_an_older_bundle_again_tells_of_that_one(world, tmp_path):
    runs = []
    for number in (1, 2):
        add_message(world.v3, f"message {number}")
        rows, out = tmp_path / f"rows{number}", tmp_path / f"envelopes{number}"
        world.stage("export", "--out", rows)
        world.stage("transform", "--in", rows, "--out", out)
        runs.append(world.stage("load", "--in", out, "--json").json["run"])
    again = world.stage("load", "--in", tmp_path / "envelopes1", "--json").json
    assert again["run"] == runs[0] != runs[1]
    assert again["kinds"]["group_messages"]["counted"] == 1


def bundle_rows(world, account):
    ran = world.tool("xmtp-inspect", chain_bundle(world.manifest, account), "--rows")
    return [line for line in ran.out.splitlines() if '"commit_messages"' in line]


def test_a_column_filled_in_between_the_readings_changes_nothing(world):
    add_message(world.v3, "a message")
    commit = message("a0" * 16, "x").replace("00" * 8 + "01", "00" * 8 + "03", 1)
    psql(world.v3, f"""
        INSERT INTO group_messages (created_at, group_id, data, group_id_data_hash, is_commit) VALUES
        (now(), '\\x{"a0" * 16}', '\\x{commit}', 'h1', NULL),
        (now(), '\\x{"a0" * 16}', '\\xdeadbeef', 'h2', NULL)""")
    account = world.run(status=4)
    reopen(world)
    shutil.rmtree(chain_bundle(world.manifest, account))
    psql(world.v3, "UPDATE group_messages SET is_commit = true WHERE is_commit IS NULL")
    account = world.run(status=4)
    assert account["rejects"] == {"mls_unparsable": 1}
    assert len(bundle_rows(world, account)) == 1


@pytest.mark.parametrize("change", [
    "SELECT setval('group_messages_id_seq', 2000000)",
    "DELETE FROM group_messages WHERE id = 1000000",
    insert_message("one more", id=1000001),
])
def test_rows_above_the_sequence_may_change_between_two_sittings(world, change):
    add_message(world.v3, "a message")
    add_message(world.v3, "drawn by hand", id=1000000)
    world.run()
    reopen(world)
    psql(world.v3, change)
    world.run()
    world.status(0)


def test_a_new_run_that_was_begun_on_one_node_alone_is_taken_up(world):
    add_message(world.v3, "a message")
    world.run()
    reopen(world)
    psql(world.alpha, f"""
        INSERT INTO {RUNS} (run, network, as_of_ns, profile, policy_digest, payer, originator, bounds)
        SELECT repeat('f', 32), network, as_of_ns, profile, policy_digest, payer, originator, bounds
        FROM {RUNS}""")
    assert world.run()["run"] == "f" * 32
    world.status(0)


def test_a_conflict_of_the_second_node_is_listed_and_shown(world):
    ids = [add_message(world.v3, f"message {i}") for i in range(2)]
    hold_otherwise(world.beta, ids[1])
    world.run(status=4)
    [letter] = world.migrate("rejected", "list").json["rejected"]
    assert (letter["id"], letter["reason"], letter["node"]) == (ids[1], "conflict", "beta")
    shown = world.migrate("rejected", "show", "group_messages", ids[1]).json
    assert shown["row"]["id"] == ids[1]


@pytest.mark.parametrize("words", [
    ["--id", "1"], ["group_messages", "99999999999999999999999"], ["--kind", "group_messages"], []])
def test_a_waiver_names_its_rows(world, words):
    add_broken(world, "one")
    world.run(status=4)
    waive(world, *words, status=2)
    assert count(world.alpha, "xmtp_migrate.waivers") == 0


def test_a_waiver_has_a_document(world):
    id = add_broken(world, "one")
    world.run(status=4)
    document = waive(world, "group_messages", id).json
    assert document["schema"] == "xmtp-migrate/waive/1"
    assert document["nodes"] == {"alpha": 1, "beta": 1} and "@" in document["who"]


def books(dsn, *columns):
    return psql(dsn, f"SELECT {', '.join(columns)} FROM xmtp_migrate.parts"
                     " ORDER BY source_table, first_id")


def test_both_paths_write_the_same_books_and_leave_the_same_letters(world, tmp_path):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    world.seed(3000, shape="hostile", seed=4)
    old = add_message(world.v3, "will expire")
    commit = psql(world.v3, "SELECT min(id) FROM group_messages WHERE is_commit")
    for dsn in world.nodes.values():
        for id in (old, commit, 999999):
            psql(dsn, f"SELECT insert_migration_dead_letter_box('group_messages', {id}, 'x',"
                      " 'mls_unparsable', true)")
    psql(world.v3, "UPDATE group_messages SET created_at = created_at - interval '200 days'"
                   f" WHERE id = {old}")
    nodes = dict(world.nodes)
    world.write(nodes={"alpha": nodes["alpha"]})
    world.run("--as-of", now, status=4)
    world.write(nodes={"beta": nodes["beta"]})
    world.edit(lambda document: document["nodes"][0].update(node_id=200))
    world.stage("export", "--out", tmp_path / "rows", "--as-of", now)
    world.stage("transform", "--in", tmp_path / "rows", "--out", tmp_path / "envelopes")
    world.stage("load", "--in", tmp_path / "envelopes", status=4)
    columns = ("source_table", "first_id", "last_id", "settled", "chain_rows", "chain_digest",
               "chain_ids", "nodes_digest")
    assert books(nodes["alpha"], *columns) == books(nodes["beta"], *columns)
    box = "SELECT source_table, sequence_id, reason FROM migration_dead_letter_box ORDER BY 1, 2"
    assert psql(nodes["alpha"], box) == psql(nodes["beta"], box)
    assert f"group_messages|{commit}|" not in psql(nodes["alpha"], box)


def test_a_letter_that_is_gone_on_one_node_is_not_waived_away(world):
    id = add_broken(world, "one")
    world.run(status=4)
    psql(world.alpha, "DELETE FROM migration_dead_letter_box")
    waive(world, "group_messages", id)
    account = world.status(3)
    assert "'alpha' rejected 1 rows" in account["problems"][0]
    assert account["kinds"]["group_messages"]["waived"] == 0
    world.run("--new-run", status=4)
    waive(world, "group_messages", id)
    world.status(0)


def test_a_waiver_of_one_conflict_covers_no_other_in_its_place(world):
    id = add_message(world.v3, "one")
    world.run()
    here = f"originator_node_id = 10 AND originator_sequence_id = {id}"
    psql(world.alpha, f"UPDATE {BLOB} SET originator_envelope = 'x' WHERE {here}")
    world.run("--new-run", status=4)
    waive(world, "group_messages", id)
    assert world.status(0)["kinds"]["group_messages"]["waived"] == 1
    for change in (f"UPDATE {BLOB} SET originator_envelope = 'y' WHERE {here}",
                   f"DELETE FROM {BLOB} WHERE {here}",
                   f"UPDATE {META} SET topic = '\\x00ff' WHERE {here}",
                   f"UPDATE {META} SET expiry = 7 WHERE {here}"):
        psql(world.alpha, change)
        assert world.status(4)["kinds"]["group_messages"]["waived"] == 0
        waive(world, "group_messages", id)
        world.status(0)


def begin_one_more(dsn, run):
    """As an operator leaves it who was stopped before the first part."""
    psql(dsn, f"""
        INSERT INTO {RUNS} (run, network, as_of_ns, profile, policy_digest, payer, originator, bounds)
        SELECT repeat('{run}', 32), network, as_of_ns, profile, policy_digest, payer, originator,
            bounds FROM {RUNS} ORDER BY started_at LIMIT 1""")


def test_two_runs_that_were_only_begun_are_no_obstacle(world):
    add_message(world.v3, "a message")
    world.run()
    begin_one_more(world.alpha, "a")
    begin_one_more(world.beta, "b")
    assert world.run()["run"] in ("a" * 32, "b" * 32)
    world.status(0)


def test_a_place_for_the_chains_bundle_is_looked_at_before_rows_move(world, tmp_path):
    world.seed(300)
    out = tmp_path / "chain"
    first = world.run("--chain-out", out)
    id = add_message(world.v3, "one more")
    ran = world.run("--chain-out", out, status=2)
    assert f"bundle '{out}' exists" in ran.err
    assert count(world.alpha, META, f"originator_node_id = 10 AND originator_sequence_id = {id}") == 0
    assert world.status()["run"] == first["run"]
    other = tmp_path / "photos"
    other.mkdir()
    (other / "cat.jpg").write_text("meow")
    assert "cat.jpg" in world.run("--chain-out", other, status=2).err
    for nowhere in ("-", ""):
        assert "name a folder" in world.run("--chain-out", nowhere, status=2).err
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nothing")
    ran = world.run("--chain-out", dangling, status=1)
    assert "dangling" in ran.err
    assert count(world.alpha, META, f"originator_node_id = 10 AND originator_sequence_id = {id}") == 0
    world.run("--chain-out", tmp_path / "chain2.tar")
    assert "exists" in world.run("--chain-out", tmp_path / "chain2.tar", status=2).err


def test_a_run_without_rows_for_the_chain_leaves_the_place_for_its_bundle_empty(world, tmp_path):
    add_message(world.v3, "for nodes")
    out = tmp_path / "chain"
    out.mkdir()
    world.run("--chain-out", out)
    assert list(out.iterdir()) == []


def reseal(path, change):
    """Changes a header or an index and makes its last line right again."""
    body, _, _ = path.read_bytes().rpartition(b'"sha256":"')
    body = change(body)
    path.write_bytes(body + b'"sha256":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n')


@pytest.mark.parametrize("forged", ["payer", "originator"])
def test_a_bundle_signed_by_others_than_it_says_is_refused(world, tmp_path, forged):
    add_message(world.v3, "a message")
    world.stage("export", "--out", tmp_path / "rows")
    key = world.manifest.parent / f"{forged}.key"
    ours = key.read_text()
    world.stage("transform", "--in", tmp_path / "rows", "--out", tmp_path / "true")
    key.write_text("33" * 32)
    world.stage("transform", "--in", tmp_path / "rows", "--out", tmp_path / "false")
    key.write_text(ours)
    address = re.compile(f'"{forged}":"(0x[0-9a-fA-F]+)"'.encode())
    true = address.search((tmp_path / "true" / "header.json").read_bytes()).group(0)
    for name in ("header.json", "index.json"):
        reseal(tmp_path / "false" / name, lambda body: address.sub(true, body))
    ran = world.stage("load", "--in", tmp_path / "false", status=1)
    assert f"signed by {forged} 0x" in ran.err and "xmtp-transform" in ran.err
    assert world.untouched()
    world.stage("load", "--in", tmp_path / "true")
