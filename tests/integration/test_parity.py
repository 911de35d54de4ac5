"""xmtp-parity check: what it judges, by which run, and what it explains."""

import datetime
import json
import pathlib
import signal

import pytest
from support.parity_world import (NODES, ORIGINATOR_ADDRESS, PAYER_ADDRESS, add_key_package,
                                  add_message, named, sums, world)  # noqa: F401
from support.servers import psql, rows
from support.world import BLOB, META, row


# ---- all is well ----------------------------------------------------------------------------------


def test_is_green_after_a_run_and_counts_what_it_judged(world, tool):
    world.seed(3000)
    world.move()
    report = world.check(status=0)
    assert report["schema"] == "xmtp-migrate/parity/1"
    assert report["verdict"] == "green"
    assert report["differences"] == [] and report["difference_count"] == 0
    assert report["run"]
    for table, kind in report["kinds"].items():
        assert kind["judged"] == (kind["expired"] + kind["rejected"] + kind["for_nodes"] +
                                  kind["for_chain"]), table
        for node in kind.get("nodes", {}).values():
            assert node["held"] == kind["for_nodes"] and node["missing"] == 0, table
    assert report["kinds"]["commit_messages"]["for_chain"] > 0
    at_source = sum(int(psql(world.v3, f"SELECT count(*) FROM {table}")) for table in
                    ("group_messages", "welcome_messages", "key_packages", "inbox_log"))
    assert sum(kind["judged"] for kind in report["kinds"].values()) == at_source

    printed = tool("xmtp-parity", "check", "--manifest", world.manifest).out.splitlines()
    assert printed[-1].startswith("verdict: green")


@pytest.mark.parametrize("policy", [{"originator_ns": "migrated"}, {"profile": "xmtpd"}])
def test_is_green_under_another_clock(world, policy):
    add_key_package(world.v3, "older")
    add_key_package(world.v3, "newer")
    world.seed(500)
    world.write(policy=policy)
    world.move()
    assert world.check(status=0)["verdict"] == "green"


@pytest.mark.parametrize("policy", [{}, {"originator_ns": "migrated"}])
@pytest.mark.parametrize("created, updated", [((7, 7, 7), 7), ((7, 7, 9), 8), ((9, 7, 8), 6)])
def test_the_current_key_package_is_newest_whatever_the_times(world, policy, created, updated):
    ids = [add_key_package(world.v3, f"upload {place}") for place in range(3)]
    base = "(extract(epoch FROM date_trunc('day', now() - interval '3 days')) * 1e9)::bigint"
    for id, us in zip(ids, created):
        psql(world.v3, f"UPDATE key_packages SET created_at = {base} + {us}000"
                       f" WHERE sequence_id = {id}")
    psql(world.v3, f"UPDATE installations SET updated_at = {base} + {updated}000,"
                   " key_package = 'upload 1'")
    world.write(policy=policy)
    world.move()
    assert world.check(status=0)["verdict"] == "green"
    newest = psql(world.nodes["alpha"], "SELECT originator_sequence_id FROM gateway_envelopes_meta"
                                        " ORDER BY gateway_time DESC LIMIT 1")
    assert int(newest) == ids[1]


def test_judges_no_row_that_came_after_the_run(world):
    add_message(world.v3, "before")
    world.move()
    add_message(world.v3, "after")
    report = world.check(status=0)
    assert report["kinds"]["group_messages"]["judged"] == 1
    assert report["kinds"]["group_messages"]["above_bound"] == 1


def test_judges_all_that_is_settled_when_no_run_is_known(world):
    id = add_message(world.v3, "never moved")
    report = world.check(status=3)
    assert report["run"] is None
    assert named(report) == {(node, "group_messages", id, "missing") for node in NODES}


def test_judges_rows_with_ids_drawn_by_hand(world):
    id = add_message(world.v3, "drawn")
    world.move()
    psql(world.v3, f"UPDATE group_messages SET id = 5000 WHERE id = {id}")
    report = world.check(status=3)
    assert ("alpha", "group_messages", 5000, "missing") in named(report)


def test_a_row_drawn_by_hand_far_above_brings_no_later_row_into_the_judgement(world):
    stray = add_message(world.v3, "drawn by hand")
    psql(world.v3, f"UPDATE group_messages SET id = 10 ^ 12 WHERE id = {stray}")
    world.move()
    later = add_message(world.v3, "came after the run")
    report = world.check(status=0)
    assert report["kinds"]["group_messages"]["judged"] == 1
    psql(world.nodes["alpha"], f"DELETE FROM {META} WHERE {row(10, 10 ** 12)}")
    assert named(world.check(status=3)) == {("alpha", "group_messages", 10 ** 12, "missing")}
    assert later < 10 ** 12


def test_an_auditor_needs_addresses_only(world):
    add_message(world.v3, "hello")
    world.move()
    for name in ("payer", "originator"):
        (pathlib.Path(world.manifest).parent / f"{name}.key").unlink()
    ran = world.tool("xmtp-parity", "check", "--manifest", world.manifest, status=2)
    assert "payer.key" in ran.err
    addresses = ("--payer", PAYER_ADDRESS, "--originator", ORIGINATOR_ADDRESS)
    assert world.check(*addresses, status=0)["verdict"] == "green"
    swapped = ("--payer", ORIGINATOR_ADDRESS, "--originator", PAYER_ADDRESS)
    assert {what for *_, what in named(world.check(*swapped, status=3))} == {
        "payer", "payer_signer", "originator_signer"}


# ---- which run ------------------------------------------------------------------------------------


RUNS = "xmtp_migrate.runs"


def books(world, statement):
    for dsn in world.nodes.values():
        psql(dsn, statement)


def test_an_older_bundle_loaded_later_takes_nothing_out_of_the_judgement(world, tmp_path):
    add_message(world.v3, "in the bundle")
    rows_out, out = tmp_path / "rows", tmp_path / "envelopes"
    for words in (("xmtp-export", "--out", rows_out), ("xmtp-transform", "--in", rows_out, "--out",
                                                       out)):
        world.tool(*words, "--manifest", world.manifest)
    lost = add_message(world.v3, "after it")
    world.move()
    run = world.check(status=0)["run"]
    world.tool("xmtp-load", "--in", out, "--manifest", world.manifest)
    psql(world.nodes["alpha"], f"DELETE FROM {META} WHERE {row(10, lost)}")
    report = world.check(status=3)
    assert named(report) == {("alpha", "group_messages", lost, "missing")}
    assert report["run"] == run


def test_a_clock_set_back_takes_nothing_out_of_the_judgement(world):
    add_message(world.v3, "of the first run")
    world.move()
    books(world, f"UPDATE {RUNS} SET started_at = now() + interval '1 hour',"
                 " as_of_ns = as_of_ns + 3600 * 1000000000::bigint")
    lost = add_message(world.v3, "of the second")
    world.move()
    ran = world.tool("xmtp-parity", "check", "--manifest", world.manifest)
    assert "still to come" in ran.err
    psql(world.nodes["beta"], f"DELETE FROM {META} WHERE {row(10, lost)}")
    assert named(world.check(status=3)) == {("beta", "group_messages", lost, "missing")}


def test_an_instant_that_was_mistyped_once_takes_nothing_out_of_the_judgement(world):
    """In 2100 every message has expired: by such a run no node would have to hold any."""
    id = add_message(world.v3, "a message")
    world.tool("xmtp-migrate", "run", "--manifest", world.manifest, "--as-of",
               "2100-01-01T00:00:00Z")
    ran = world.tool("xmtp-parity", "check", "--manifest", world.manifest, status=1)
    assert "2100-01-01" in ran.err and "--as-of" in ran.err
    missing = {(node, "group_messages", id, "missing") for node in NODES}
    assert named(world.check("--as-of", at(days=0), status=3)) == missing
    world.move()
    assert world.check(status=0)["kinds"]["group_messages"]["for_nodes"] == 1
    books(world, f"DELETE FROM {META}")
    assert named(world.check(status=3)) == missing


@pytest.mark.parametrize("bounds", ["null", "[1]", '{"group_messages": "x"}'])
def test_a_run_that_cannot_be_read_is_left_out_once_a_later_one_has_finished(world, bounds):
    add_message(world.v3, "of the first run")
    world.move()
    books(world, f"UPDATE {RUNS} SET bounds = '{bounds}'")
    ran = world.tool("xmtp-parity", "check", "--manifest", world.manifest, status=1)
    assert "its bounds can't be read" in ran.err and "--new-run" in ran.err
    lost = add_message(world.v3, "of the second")
    world.tool("xmtp-migrate", "run", "--manifest", world.manifest, "--new-run")
    ran = world.tool("xmtp-parity", "check", "--manifest", world.manifest)
    assert "its bounds can't be read: left out" in ran.err
    psql(world.nodes["beta"], f"DELETE FROM {META} WHERE {row(10, lost)}")
    assert named(world.check(status=3)) == {("beta", "group_messages", lost, "missing")}


def test_a_run_under_way_adds_nothing_to_the_judgement(world):
    """Of its rows some are on one node, some on none, and all is well with the run before it."""
    kept = add_message(world.v3, "of the first run")
    world.move()
    first = world.check(status=0)["run"]
    ids = [add_message(world.v3, f"of the second, {place}") for place in range(2)]
    world.move()
    books(world, f"UPDATE {RUNS} SET finished_at = NULL WHERE run <> '{first}'")
    psql(world.nodes["alpha"], f"DELETE FROM {META} WHERE {row(10, ids[0])} OR {row(10, ids[1])}")
    psql(world.nodes["beta"], f"DELETE FROM {META} WHERE {row(10, ids[0])}")
    report = world.check(status=0)
    assert report["run"] == first
    assert report["kinds"]["group_messages"]["above_bound"] == 2
    psql(world.nodes["alpha"], f"DELETE FROM {META} WHERE {row(10, kept)}")
    assert named(world.check(status=3)) == {("alpha", "group_messages", kept, "missing")}


def test_a_run_that_ended_on_one_node_only_is_judged_on_both(world):
    add_message(world.v3, "of the first run")
    world.move()
    first = world.check(status=0)["run"]
    lost = add_message(world.v3, "of the second")
    world.move()
    psql(world.nodes["beta"], f"UPDATE {RUNS} SET finished_at = NULL WHERE run <> '{first}'")
    assert world.check(status=0)["run"] != first
    psql(world.nodes["beta"], f"DELETE FROM {META} WHERE {row(10, lost)}")
    assert named(world.check(status=3)) == {("beta", "group_messages", lost, "missing")}


def lower_bounds(world, id):
    books(world, f"""UPDATE {RUNS} SET
          bounds = jsonb_set(bounds, '{{group_messages}}', '"{id}"')""")


def test_rows_that_another_tool_brought_are_compared_up_to_where_its_tracker_is(world):
    ids = [add_message(world.v3, f"message {place}") for place in range(3)]
    world.move()
    lower_bounds(world, ids[0])
    assert world.check(status=0)["kinds"]["group_messages"]["above_bound"] == 2
    psql(world.nodes["alpha"], f"UPDATE {META} SET expiry = 0 WHERE {row(10, ids[1])}")
    psql(world.v3, f"DELETE FROM group_messages WHERE id = {ids[2]}")
    assert named(world.check(status=3)) == {
        ("alpha", "group_messages", ids[1], "expiry"),
        ("alpha", "group_messages", ids[2], "extra"), ("beta", "group_messages", ids[2], "extra")}


def test_rows_that_no_run_of_the_books_reached_are_a_difference(world):
    ids = [add_message(world.v3, f"message {place}") for place in range(3)]
    world.move()
    lower_bounds(world, ids[0])
    books(world, f"UPDATE migration_tracker SET last_migrated_id = {ids[0]}")
    report = world.check(status=3)
    assert named(report) == {(node, "group_messages", ids[1], "unknown_run") for node in NODES}
    assert report["differences"][0]["found"] == "2 rows"
    world.tool("xmtp-migrate", "run", "--manifest", world.manifest, "--new-run")
    assert world.check(status=0)["verdict"] == "green"


def test_a_row_once_above_the_sequence_is_known_when_the_sequence_has_passed_it(world):
    id = add_message(world.v3, "drawn by hand")
    psql(world.v3, f"UPDATE group_messages SET id = 5000 WHERE id = {id}")
    world.move()
    psql(world.v3, "SELECT setval('group_messages_id_seq', 6000)")
    add_message(world.v3, "to come")
    assert world.check(status=0)["kinds"]["group_messages"]["above_bound"] == 2


# ---- rows that time has overtaken -----------------------------------------------------------------


def test_a_row_that_v3_pruned_is_no_difference_and_a_vanished_one_is(world):
    old = add_message(world.v3, "old", age="40 days")
    young = add_message(world.v3, "young", age="20 days")
    world.move()
    psql(world.v3, f"DELETE FROM group_messages WHERE id = {old}")
    report = world.check(status=0)
    assert sums(report, "group_messages")["pruned_at_source"] == 1
    psql(world.v3, f"DELETE FROM group_messages WHERE id = {young}")
    assert named(world.check(status=3)) == {(node, "group_messages", young, "extra")
                                            for node in NODES}


def test_a_row_that_v3_pruned_is_missed_where_another_node_holds_it(world):
    """No run can bring it any more; only after its expiry may a node's own pruner have taken it."""
    world.write(policy={"expired": "keep"})
    old = [add_message(world.v3, f"old {place}", age="40 days") for place in range(3)]
    expired = add_message(world.v3, "expired", age="61 days")
    world.tool("xmtp-migrate", "run", "--manifest", world.manifest, "--as-of", at(days=20))
    books(world, "UPDATE xmtp_migrate.parts SET loaded_at = now() - interval '19 days'")
    psql(world.v3, f"DELETE FROM group_messages WHERE id IN ({old[0]}, {old[1]}, {expired})")
    psql(world.nodes["alpha"], f"DELETE FROM {META} WHERE {row(10, old[0])}")
    psql(world.nodes["beta"], f"DELETE FROM {META} WHERE {row(10, old[1])} OR {row(10, expired)}")
    report = world.check(status=3)
    assert named(report) == {("alpha", "group_messages", old[0], "missing"),
                             ("beta", "group_messages", old[1], "missing")}
    assert "'beta' holds it" in report["differences"][0]["expected"]
    counted = sums(report, "group_messages")
    assert (counted["missing"], counted["pruned_at_source"], counted["held"]) == (1, 2, 1)
    for name in NODES:
        assert world.check("--node", name, status=0)["verdict"] == "green"


def test_a_row_that_v3_kept_for_longer_is_missed_where_it_was_brought_and_is_gone(world):
    old = [add_message(world.v3, f"old {place}", age="40 days") for place in range(3)]
    world.move()
    psql(world.v3, f"DELETE FROM group_messages WHERE id = {old[0]}")
    psql(world.nodes["beta"], f"DELETE FROM {META} WHERE {row(10, old[0])}")
    report = world.check(status=3)
    assert named(report) == {("beta", "group_messages", old[0], "missing")}
    assert "pruned_elsewhere" not in sums(report, "group_messages", "beta")


def test_a_node_that_joined_late_cannot_have_what_v3_had_pruned(world):
    """Also when it is the run of an earlier instant that was taken up for it."""
    old = [add_message(world.v3, f"old {place}", age="40 days") for place in range(3)]
    nodes = dict(world.nodes)
    world.nodes = {"alpha": nodes["alpha"]}
    world.write()
    world.tool("xmtp-migrate", "run", "--manifest", world.manifest, "--as-of", at(days=20))
    psql(nodes["alpha"], "UPDATE xmtp_migrate.parts SET loaded_at = now() - interval '20 days'")
    psql(world.v3, f"DELETE FROM group_messages WHERE id IN ({old[0]}, {old[1]})")
    world.nodes = nodes
    world.write()
    world.tool("xmtp-migrate", "run", "--manifest", world.manifest, status=3)
    report = world.check(status=0)
    counted = sums(report, "group_messages", "beta")
    assert (counted["held"], counted["missing"], counted["pruned_elsewhere"]) == (1, 0, 2)
    assert "pruned_elsewhere" not in sums(report, "group_messages", "alpha")
    printed = world.tool("xmtp-parity", "check", "--manifest", world.manifest).out
    assert "beta: 2 of group_messages are on other nodes only" in printed


def test_a_pruned_key_package_is_told_by_its_upload_under_any_clock(world):
    days = {"group_messages": 60, "welcome_messages": 120, "key_packages": 120}
    world.write(policy={"originator_ns": "migrated", "retention_days": days})
    id = add_key_package(world.v3, "old")
    ages = "(extract(epoch FROM now() - interval '100 days') * 1e9)::bigint + 1234"
    psql(world.v3, f"UPDATE key_packages SET created_at = {ages}")
    psql(world.v3, f"UPDATE installations SET updated_at = {ages}")
    world.move()
    psql(world.v3, "DELETE FROM key_packages; DELETE FROM installations")
    assert sums(world.check(status=0), "key_packages")["pruned_at_source"] == 1
    for moved in ("- interval '1 second'", "+ interval '101 days'"):
        psql(world.nodes["alpha"], f"UPDATE {META} SET gateway_time = gateway_time {moved}")
        assert named(world.check(status=3)) == {("alpha", "key_packages", id, "extra")}


def test_a_pruned_key_package_may_have_come_out_before_another_one(world):
    """Its gateway_time is then the other one's, and that of its expiry is its own."""
    days = {"group_messages": 60, "welcome_messages": 120, "key_packages": 120}
    world.write(policy={"retention_days": days})
    current = add_key_package(world.v3, "current")
    add_key_package(world.v3, "rival")
    at_ns = "(extract(epoch FROM now() - interval '100 days') * 1e9)::bigint"
    psql(world.v3, f"""UPDATE key_packages SET created_at = {at_ns} +
                           CASE WHEN sequence_id = {current} THEN 0 ELSE 5000000000 END;
                       UPDATE installations SET key_package = 'current', updated_at = {at_ns}""")
    world.move()
    world.check(status=0)
    psql(world.v3, "DELETE FROM key_packages; DELETE FROM installations")
    assert sums(world.check(status=0), "key_packages")["pruned_at_source"] == 2


def test_an_expired_row_that_a_node_holds_is_counted(world):
    add_message(world.v3, "nearly expired", age="59 days")
    world.move()
    later = (datetime.datetime.now(datetime.timezone.utc) +
             datetime.timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    report = world.check("--as-of", later, status=0)
    assert report["kinds"]["group_messages"]["expired"] == 1
    assert sums(report, "group_messages")["expired_present"] == 1


# ---- rejected rows --------------------------------------------------------------------------------


def test_rejected_rows_are_partial_and_must_lie_whole_in_every_node(world):
    world.seed(2000, shape="hostile")
    world.move()
    report = world.check(status=4)
    assert report["verdict"] == "partial" and report["difference_count"] == 0
    assert report["rejects"]

    letters = rows(world.nodes["beta"], """
        SELECT source_table, sequence_id, reason FROM migration_dead_letter_box
        ORDER BY 1, 2 LIMIT 3""")
    (table, id, _), (_, altered, _), (_, reasoned, _) = letters
    psql(world.nodes["beta"], f"""
        DELETE FROM migration_dead_letter_box WHERE source_table = '{table}' AND sequence_id = {id};
        UPDATE migration_dead_letter_box SET payload = payload || '\\x00'
        WHERE source_table = '{letters[1][0]}' AND sequence_id = {altered};
        UPDATE migration_dead_letter_box SET reason = 'other'
        WHERE source_table = '{letters[2][0]}' AND sequence_id = {reasoned}""")
    assert named(world.check(status=3)) == {
        ("beta", table, int(id), "dead_letter_missing"),
        ("beta", letters[1][0], int(altered), "dead_letter_altered"),
        ("beta", letters[2][0], int(reasoned), "dead_letter_altered"),
    }


def test_many_rejected_rows_are_compared_whole_also_large_ones(world):
    psql(world.v3, """
        INSERT INTO group_messages (created_at, group_id, data, group_id_data_hash)
        SELECT now(), '\\x01', convert_to(repeat(i::text, CASE i % 700 WHEN 0 THEN 500000 ELSE 9 END),
            'UTF8'), sha256(i::text::bytea) FROM generate_series(1, 1500) i""")
    world.move()
    assert world.check(status=4)["kinds"]["group_messages"]["rejected"] == 1500
    psql(world.nodes["beta"], """
        UPDATE migration_dead_letter_box SET payload = overlay(payload PLACING '\\x00' FROM
            length(payload) / 2) WHERE sequence_id IN (2, 700, 701, 1400, 1500)""")
    assert named(world.check(status=3)) == {
        ("beta", "group_messages", id, "dead_letter_altered") for id in (2, 700, 701, 1400, 1500)}


def test_a_row_waived_on_every_node_is_no_blemish(world):
    id = add_message(world.v3, "rejected", group="a0" * 15)
    world.move()
    world.check(status=4)
    world.tool("xmtp-migrate", "rejected", "waive", "group_messages", id, "--reason", "a trial row",
               "--manifest", world.manifest)
    kind = world.check(status=0)["kinds"]["group_messages"]
    assert (kind["rejected"], kind["waived"]) == (1, 1)
    psql(world.nodes["beta"], "DELETE FROM xmtp_migrate.waivers")
    assert world.check(status=4)["kinds"]["group_messages"]["waived"] == 0


def at(**ago):
    when = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(**ago)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("policy", [{}, {"originator_ns": "migrated"}, {"profile": "xmtpd"}])
def test_is_green_after_several_runs_and_what_pruners_took(world, policy):
    """V3 goes on between the runs, its pruner and the nodes' take what is due, and live rows come."""
    world.write(policy=policy)
    world.seed(600)
    add_message(world.v3, "old", age="40 days")
    world.tool("xmtp-migrate", "run", "--manifest", world.manifest, "--as-of", at(days=2),
               status=None)
    for text in ("second", "third"):
        add_message(world.v3, text)
        psql(world.v3, "DELETE FROM group_messages WHERE id = (SELECT min(id) FROM group_messages"
                       " WHERE created_at < now() - interval '30 days')")
        world.move()
    for dsn in world.nodes.values():
        psql(dsn, f"""
            SELECT ensure_gateway_parts_v3(100, 1);
            INSERT INTO {META} VALUES (now(), 100, 1, '\\x00aa', NULL, 99999999999);
            INSERT INTO {BLOB} VALUES (100, 1, 'x')""")
    add_message(world.v3, "above")
    assert world.check(status=0)["verdict"] == "green"


def test_a_row_that_expired_since_the_run_is_missing_but_not_at_a_later_instant(world):
    id = add_message(world.v3, "expired yesterday", age="61 days")
    world.tool("xmtp-migrate", "run", "--manifest", world.manifest, "--as-of", at(days=2))
    assert sums(world.check(status=0), "group_messages")["held"] == 1
    psql(world.nodes["beta"], f"DELETE FROM {META} WHERE {row(10, id)}")
    (missing,) = world.check(status=3)["differences"]
    assert (missing["node"], missing["id"]) == ("beta", id) and "--as-of" in missing["found"]
    assert world.check("--as-of", at(days=0), status=0)["difference_count"] == 0


# ---- what is asked of it --------------------------------------------------------------------------


def test_refuses_nodes_that_disagree_about_the_instant(world):
    """Told which instant to take, it judges up to where both were to get; what one of them holds
    above that must be right all the same."""
    nodes = dict(world.nodes)
    for name in NODES:
        id = add_message(world.v3, f"moved to {name}")
        world.nodes = {name: nodes[name]}
        path = world.manifest
        world.write()
        document = json.loads(path.read_text())
        document["nodes"][0]["node_id"] = 100 * (1 + NODES.index(name))
        path.write_text(json.dumps(document))
        world.move()
    world.nodes = nodes
    world.write()
    ran = world.tool("xmtp-parity", "check", "--manifest", world.manifest, status=1)
    assert "different instants" in ran.err and "--as-of" in ran.err
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    report = world.check("--as-of", now, status=0)
    assert report["run"] is None
    assert report["kinds"]["group_messages"]["above_bound"] == 1
    psql(nodes["beta"], f"UPDATE {META} SET expiry = 0 WHERE {row(10, id)}")
    assert named(world.check("--as-of", now, status=3)) == {("beta", "group_messages", id, "expiry")}


# ---- whose signatures -----------------------------------------------------------------------------


@pytest.fixture
def forged(world):
    """Both nodes hold some hundred rows; beta one whose signature nobody of us made."""
    world.seed(300)
    id = add_message(world.v3, "forged")
    world.move()
    psql(world.nodes["beta"], f"UPDATE {BLOB} SET originator_envelope = set_byte("
         "originator_envelope, length(originator_envelope) - 20, get_byte(originator_envelope,"
         f" length(originator_envelope) - 20) # 1) WHERE {row(10, id)}")
    world.forged = {("beta", "group_messages", id, "originator_signer")}
    return world


def test_all_signatures_are_checked_unless_asked_otherwise(forged):
    report = forged.check(status=3)
    assert named(report) == forged.forged
    held = sum(kind["nodes"][node]["held"] for kind in report["kinds"].values()
               for node in kind.get("nodes", {}))
    assert report["signatures"] == {"which": "all", "held": 2 * held, "checked": 2 * held}


def test_without_signatures_the_verdict_says_so(forged, tool):
    report = forged.check("--signatures", "none", status=0)
    assert report["signatures"]["checked"] == 0 and report["signatures"]["held"] > 0
    printed = tool("xmtp-parity", "check", "--manifest", forged.manifest, "--signatures",
                   "none").out.splitlines()
    assert printed[-1].startswith("verdict: green")
    assert f"of 0 of {report['signatures']['held']} signatures only" in printed[-1]


def test_a_sample_can_be_taken_again_by_its_seed(forged):
    report = forged.check("--signatures", "sample:40", status=None)
    taken = report["signatures"]
    assert taken["which"] == "sample" and taken["percent"] == 40
    assert 0 < taken["checked"] < taken["held"]
    again = forged.check("--signatures", "sample:40", "--seed", taken["seed"], status=None)
    assert again["signatures"] == taken and named(again) == named(report)
    assert named(report) in (set(), forged.forged)
    assert named(forged.check("--signatures", "sample:100", status=3)) == forged.forged
    other = forged.check("--signatures", "sample:40", status=None)
    assert other["signatures"]["seed"] != taken["seed"]


def test_can_be_interrupted(world, start_tool):
    world.seed(20000)
    world.move()
    running = start_tool("xmtp-parity", "check", "--manifest", world.manifest, "--progress", "json")
    while '"subject":"group_messages"' not in running.stderr.readline().replace(" ", ""):
        assert running.poll() is None, "it was too fast to be interrupted"
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=20)
    assert running.returncode == 130


@pytest.mark.parametrize("words, complaint", [
    (("--node", "gamma"), "no node 'gamma'"),
    (("--payer", "0x12"), "--payer '0x12'"),
    (("--payer", PAYER_ADDRESS.replace("E7E3", "e7E3")), "checksum"),
    (("surplus",), "'surplus'"),
    (("--signatures", "some"), "expected all, sample:P or none"),
    (("--signatures", "sample:0"), "above 0"),
    (("--signatures", "sample:100.5"), "100 at most"),
    (("--signatures", "sample:nan"), "sample:nan"),
    (("--seed", "00" * 16), "sample:P only"),
    (("--signatures", "sample:5", "--seed", "00"), "32 hex digits"),
])
def test_complains_about_words_it_cannot_use(world, tool, words, complaint):
    ran = tool("xmtp-parity", "check", "--manifest", world.manifest, *words, status=2)
    assert complaint in ran.err
