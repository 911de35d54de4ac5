"""Rejected rows: kept whole, shown, retried, waived, with an account that closes after each step.
Also an account that somebody doctored."""

import hashlib
import json
import time

import pytest
from support.servers import psql, rows
from support.world import (GROUP, META, BLOB, TABLES, add_message, assert_closes, count,
                           digest_of_node, insert_message, message, row, world)  # noqa: F401

# Every reason that a row alone can cause; a conflict needs a node.
REASONS = {
    "sequence_id_out_of_range", "data_empty", "group_id_length", "identifier_empty",
    "wrapper_algorithm_unknown", "message_type_unknown", "key_package_empty", "inbox_id_length",
    "identity_update_empty", "identity_update_unparsable", "mls_unparsable", "payload_too_large",
}
FINDINGS = {"is_commit_null", "is_commit_disagrees", "mls_unparsable"}


def add_bad_message(dsn, text, group="a0a0"):
    """A message with a group id of two bytes; gives its id."""
    return add_message(dsn, text, group=group)


def put_other_row(dsn, id):
    """What another writer might have left under a message's id."""
    psql(dsn, f"""
        SELECT ensure_gateway_parts_v3(10, 1);
        INSERT INTO {META} (originator_node_id, originator_sequence_id, topic, expiry)
        VALUES (10, {id}, '\\x00ff', 42)""")


def eventually(question, seconds=30):
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def letters(dsn, what="source_table, sequence_id, reason"):
    return rows(dsn, f"SELECT {what} FROM migration_dead_letter_box ORDER BY source_table,"
                     " sequence_id")


def source_row(v3, kind, id):
    """The row behind a dead letter, its bytes in hex, as a dict."""
    table = "group_messages" if kind == "commit_messages" else kind
    return json.loads(psql(v3, f"""
        SELECT jsonb_object_agg(key, CASE WHEN value #>> '{{}}' LIKE '\\\\x%'
            THEN to_jsonb(substr(value #>> '{{}}', 3)) ELSE value END)
        FROM {table} t, jsonb_each(to_jsonb(t)) WHERE t.{TABLES[table]} = {id}"""))


# ---- hostile rows -------------------------------------------------------------------------------


def assert_whole(world, kind, id):
    shown = world.migrate("rejected", "show", "--kind", kind, f"--id={id}").json["row"]
    stored = source_row(world.v3, kind, id)
    for name, value in stored.items():
        if name in ("created_at", "server_timestamp_ns"):
            continue
        assert name in shown or name in ("id", "sequence_id"), (kind, id, name)
        if name in shown:
            assert shown[name] == value, (kind, id, name)


@pytest.mark.parametrize("size", [5000, 50000])
def test_hostile_rows_end_in_exactly_one_state_each(world, size):
    world.seed(size, shape="hostile")
    account = world.run(status=4)
    assert account["verdict"] == "partial" and account.get("problems", []) == []
    assert set(account["rejects"]) - {"time_out_of_range"} == REASONS
    assert set(account["findings"]) == FINDINGS
    assert sum(kind["counted"] for kind in account["kinds"].values()) == sum(
        count(world.v3, table) for table in TABLES)
    assert letters(world.alpha) == letters(world.beta)
    assert len(letters(world.alpha)) == sum(account["rejects"].values())
    report = world.parity(4)
    assert report["difference_count"] == 0
    if size == 5000:
        seen = set()
        for kind, id, reason in letters(world.alpha):
            if (kind, reason) not in seen:
                assert_whole(world, kind, id)
            seen.add((kind, reason))
        assert {reason for _, reason in seen} >= REASONS


def test_no_secret_is_in_a_dead_letter(world):
    add_bad_message(world.v3, "bad")
    world.run(status=4)
    assert letters(world.alpha, "position('\\x1111111111111111' IN payload),"
                                " position('1111111111111111' IN encode(payload, 'escape'))") == [
        ["0", "0"]]


# ---- list and show ------------------------------------------------------------------------------


def test_list_filters_and_show_shows(world):
    bad = [add_bad_message(world.v3, f"bad {i}") for i in range(3)]
    empty = int(psql(world.v3, "INSERT INTO group_messages (group_id, data, group_id_data_hash)"
                               f" VALUES ('\\x{GROUP}', '', 'e') RETURNING id"))
    psql(world.v3, "INSERT INTO key_packages (installation_id, key_package, created_at)"
                   " VALUES ('', 'p', (extract(epoch FROM now()) * 1e9)::bigint)")
    world.run(status=4)

    def listed(*words):
        document = world.migrate("rejected", "list", *words).json
        assert document["schema"] == "xmtp-migrate/rejected/1"
        return {(one["kind"], one["id"]) for one in document["rejected"]}

    messages = {("group_messages", id) for id in bad}
    everything = listed()
    assert everything == messages | {("group_messages", empty), ("key_packages", 1)}
    assert listed("--kind", "group_messages") == everything - {("key_packages", 1)}
    assert listed("--reject-reason", "group_id_length") == messages
    assert listed("--kind", "group_messages", "--id", bad[1]) == {("group_messages", bad[1])}
    assert listed("--kind", "inbox_log") == set()
    assert len(listed("--limit", "2")) == 2
    assert listed("--node", "beta") == everything

    shown = world.migrate("rejected", "show", "group_messages", bad[0]).json
    assert shown["reason"] == "group_id_length" and shown["remedy"]
    assert shown["row"]["data"] == message("a0a0", "bad 0")
    assert shown["row"]["group_id"] == "a0a0"

    plain = world.tool("xmtp-migrate", "rejected", "list", "--manifest", world.manifest)
    assert plain.out.count("group_id_length") == 3


@pytest.mark.parametrize("words, status, said", [
    (["rejected", "show", "group_messages", "77"], 2, "77"),
    (["rejected", "show", "bananas", "1"], 2, "bananas"),
    (["rejected", "show"], 2, "kind and the id"),
    (["rejected", "show", "group_messages", "-9"], 2, "no rejected row group_messages -9"),
    (["rejected", "show", "group_messages", "x"], 2, "x"),
    (["rejected", "waive", "group_messages", "1"], 2, "--reason"),
    (["rejected", "waive", "group_messages", "1", "--reason", ""], 2, "--reason"),
    (["rejected", "waive", "group_messages", "1", "--reason", "two\nlines"], 2, "one line"),
    (["rejected", "waive", "group_messages", "77", "--reason", "r"], 2, "rejected row"),
    (["rejected", "waive", "--reason", "all of them"], 2, ""),
    (["rejected", "list", "--node", "gamma"], 2, "gamma"),
    (["rejected", "list", "--reject-reason", "no_such_reason"], 2, "no_such_reason"),
])
def test_words_that_name_no_row_are_refused(world, words, status, said):
    add_bad_message(world.v3, "bad")
    world.run(status=4)
    ran = world.migrate(*words, status=status)
    assert said in ran.err
    assert count(world.alpha, "xmtp_migrate.waivers") == 0


# ---- retry --------------------------------------------------------------------------------------


def check_books(world, status):
    """The account now: it closes, and the verdict's exit status is the one expected."""
    account = world.status(status)
    assert_closes(account)
    assert account.get("problems", []) == []
    return account


def test_a_row_that_was_repaired_at_the_source_passes_on_retry(world):
    good, bad = add_message(world.v3, "good"), add_bad_message(world.v3, "bad")
    world.run(status=4)
    still = world.migrate("rejected", "retry", status=4).json
    assert (still["tried"], still["loaded"], still["rejected_again"]) == (2, 0, 2)
    check_books(world, 4)

    psql(world.v3, f"UPDATE group_messages SET group_id = '\\x{GROUP}' WHERE id = {bad}")
    done = world.migrate("rejected", "retry", "group_messages", bad).json
    assert (done["tried"], done["loaded"], done["rejected_again"]) == (2, 2, 0)
    account = check_books(world, 0)
    assert account["verdict"] == "green" and account["rejects"] == {}
    assert letters(world.alpha) == [] and count(world.beta, META) == 2
    assert world.parity(0)["difference_count"] == 0
    assert good < bad


def test_a_row_may_become_bad_in_another_way(world):
    bad = add_bad_message(world.v3, "bad")
    world.run(status=4)
    psql(world.v3, f"UPDATE group_messages SET data = '' WHERE id = {bad}")
    world.migrate("rejected", "retry", status=4)
    assert letters(world.alpha) == [["group_messages", str(bad), "data_empty"]]
    assert check_books(world, 4)["rejects"] == {"data_empty": 1}


def test_a_row_that_expired_meanwhile_is_expired(world):
    bad = add_bad_message(world.v3, "bad")
    world.run(status=4)
    psql(world.v3, f"UPDATE group_messages SET created_at = '2020-01-01' WHERE id = {bad}")
    assert world.migrate("rejected", "retry").json["expired"] == 2
    account = check_books(world, 0)
    assert account["kinds"]["group_messages"]["expired"] == 1 and letters(world.beta) == []


def test_a_row_gone_from_the_source_is_retried_from_its_record(world):
    bad = add_bad_message(world.v3, "bad")
    world.run(status=4)
    psql(world.v3, f"DELETE FROM group_messages WHERE id = {bad}")
    assert world.migrate("rejected", "retry", status=4).json["rejected_again"] == 2
    check_books(world, 4)


def test_a_conflict_passes_once_the_node_is_repaired(world):
    ids = [add_message(world.v3, f"message {i}") for i in range(3)]
    put_other_row(world.beta, ids[1])
    world.run(status=4)
    assert world.migrate("rejected", "retry", status=4).json["rejected_again"] == 1
    check_books(world, 4)
    psql(world.beta, f"DELETE FROM {META} WHERE {row(10, ids[1])}")
    assert world.migrate("rejected", "retry").json["loaded"] == 1
    account = check_books(world, 0)
    assert account["kinds"]["group_messages"]["nodes"]["alpha"] == {"loaded": 3,
                                                                    "already_there": 0}
    assert count(world.beta, BLOB) == 3
    world.parity(0)


def test_a_row_that_turns_out_to_be_bound_for_the_chain_is_left_to_a_new_run(world):
    """Unreadable MLS bytes and no word of V3: filling is_commit in decides."""
    id = int(psql(world.v3, "INSERT INTO group_messages (group_id, data, group_id_data_hash)"
                            f" VALUES ('\\x{GROUP}', 'no MLS at all', 'h') RETURNING id"))
    world.run(status=4)
    assert letters(world.alpha, "reason") == [["mls_unparsable"]]
    psql(world.v3, f"UPDATE group_messages SET is_commit = true WHERE id = {id}")
    ran = world.migrate("rejected", "retry", status=4)
    assert ran.json["left"] == 2 and "--new-run" in ran.err
    check_books(world, 4)
    account = world.run("--new-run")
    assert account["kinds"]["commit_messages"]["for_chain"] == 1
    assert letters(world.alpha) == []


def test_letters_of_another_tool_are_left_alone(world):
    """The Go migrator keeps its own payload; what it says can't be retried, nor does it count."""
    add_message(world.v3, "good")
    psql(world.alpha, "SELECT insert_migration_dead_letter_box('group_messages', 999, 'theirs',"
                      " 'some other reason', true)")
    account = world.run()
    assert account["verdict"] == "green"
    ran = world.migrate("rejected", "retry", status=4)
    assert ran.json["left"] == 1
    assert letters(world.alpha) == [["group_messages", "999", "some other reason"]]
    world.migrate("rejected", "show", "group_messages", "999", status=1)


def test_letters_of_a_kind_we_do_not_know_do_not_stop_anything(world):
    add_message(world.v3, "good")
    psql(world.alpha, "SELECT insert_migration_dead_letter_box('envelopes', 1, 'x', 'y', true)")
    world.run()
    world.migrate("rejected", "list")
    world.migrate("rejected", "retry", status=None)


def test_a_letter_about_a_row_that_is_good_now_goes_with_the_next_run(world):
    bad = add_bad_message(world.v3, "bad")
    world.run(status=4)
    psql(world.v3, f"UPDATE group_messages SET group_id = '\\x{GROUP}' WHERE id = {bad}")
    world.run()
    assert letters(world.alpha) == []


def history(world, *words):
    return world.migrate("rejected", "history", *words).json["letters"]


def test_a_letter_that_is_tried_again_keeps_when_it_came(world):
    bad = add_bad_message(world.v3, "bad")
    world.run(status=4)
    times = "SELECT added_at, retried_at FROM migration_dead_letter_box"
    [[added, retried]] = rows(world.alpha, times)
    world.migrate("rejected", "retry", status=4)
    [[added_still, retried_now]] = rows(world.alpha, times)
    assert added_still == added and retried_now > retried
    assert history(world) == []  # the letter says all there is to say
    psql(world.v3, f"UPDATE group_messages SET data = '' WHERE id = {bad}")
    world.migrate("rejected", "retry", status=4)
    psql(world.v3, f"UPDATE group_messages SET group_id = '\\x{GROUP}', data ="
                   f" '\\x{message(GROUP, 'good')}' WHERE id = {bad}")
    world.migrate("rejected", "retry")
    assert letters(world.alpha) == []
    told = [one for one in history(world, "group_messages", bad) if one["node"] == "alpha"]
    assert [(one["outcome"], one["by"], one["reason"]) for one in told] == [
        ("rewritten", "retry", "group_id_length"), ("on_node", "retry", "data_empty")]
    assert told[0]["row"]["data"] == message("a0a0", "bad") and told[1]["row"]["data"] == ""
    assert all(not one["of_another_tool"] for one in told)
    plain = world.tool("xmtp-migrate", "rejected", "history", "--manifest", world.manifest)
    assert plain.out.count("on_node by a retry") == 2
    assert len(history(world, "--node", "beta", "--reject-reason", "data_empty")) == 1
    assert world.migrate("rejected", "history", "--limit", "1").json["more"] is True


def test_a_letter_that_a_new_run_ends_is_kept(world):
    bad = add_bad_message(world.v3, "bad")
    world.run(status=4)
    world.migrate("rejected", "waive", "group_messages", bad, "--reason", "not ours")
    psql(world.v3, f"UPDATE group_messages SET group_id = '\\x{GROUP}' WHERE id = {bad}")
    account = world.run()
    assert letters(world.alpha) == [] and "letters_of_other_tools" not in account
    assert {(one["node"], one["by"], one["outcome"]) for one in history(world)} == {
        ("alpha", "run", "on_node"), ("beta", "run", "on_node")}
    assert count(world.alpha, "xmtp_migrate.waivers", "reason = 'not ours'") == 1


def test_a_retry_that_is_killed_leaves_each_letter_before_or_behind_it(world, start_tool):
    total = 400  # in groups that are tried together
    psql(world.v3, "SELECT setval('group_messages_id_seq', 5000);" + ";".join(
        insert_message(f"bad {i}", group="a0a0", id=1 + i + i // 5 * 20) for i in range(total)))
    world.run(status=4)
    psql(world.v3, f"UPDATE group_messages SET group_id = '\\x{GROUP}'")
    remaining, seen = total, set()
    for number in range(30):
        process = start_tool("xmtp-migrate", "rejected", "retry", "--manifest", world.manifest)
        deadline = time.monotonic() + 0.15 * number
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        if process.poll() is not None:
            break
        process.kill()
        process.communicate()
        eventually(lambda: psql(world.alpha, "SELECT count(*) FROM pg_stat_activity WHERE"
                                             " application_name LIKE 'xmtp%'") == "0")
        counted = []
        for dsn in world.nodes.values():
            there = count(dsn, META)
            assert there == count(dsn, BLOB) == total - count(dsn, "migration_dead_letter_box")
            assert there == count(dsn, "xmtp_migrate.former_letters")
            assert total - there == count(dsn, "xmtp_migrate.rejected")
            counted.append(there)
        seen.add(tuple(counted))
    assert len(seen) > 1
    assert world.migrate("rejected", "retry").json["rejected_again"] == 0
    account = check_books(world, 0)
    assert account["kinds"]["group_messages"]["nodes"]["beta"]["loaded"] == total
    assert digest_of_node(world.alpha) == digest_of_node(world.beta)
    world.parity(0)


def test_letters_that_are_tried_together_each_have_their_own_outcome(world):
    def bad(i):
        return add_bad_message(world.v3, f"bad {i}")

    first, gone, still = bad(0), bad(1), bad(2)
    chain = int(psql(world.v3, "INSERT INTO group_messages (group_id, data, group_id_data_hash)"
                               f" VALUES ('\\x{GROUP}', 'no MLS at all', 'h') RETURNING id"))
    expired, good, conflict, last = bad(3), add_message(world.v3, "good"), bad(4), bad(5)
    world.run(status=4)
    for dsn in world.nodes.values():
        psql(dsn, f"SELECT insert_migration_dead_letter_box('group_messages', {good}, '', 'x', true);"
                  f"INSERT INTO {META} VALUES ('2026-01-01', 10, {conflict}, '', NULL, 1)")
    psql(world.v3, f"""DELETE FROM group_messages WHERE id = {gone};
        UPDATE group_messages SET group_id = '\\x{GROUP}' WHERE id IN ({first}, {conflict}, {last});
        UPDATE group_messages SET is_commit = true WHERE id = {chain};
        UPDATE group_messages SET created_at = '2020-01-01' WHERE id = {expired}""")
    done = world.migrate("rejected", "retry", status=4).json
    assert {name: done[name] // 2 for name in ("tried", "loaded", "rejected_again", "expired",
                                               "left")} == {
        "tried": 8, "loaded": 3, "rejected_again": 3, "expired": 1, "left": 1}
    assert [[int(id), reason] for _, id, reason in letters(world.alpha)] == [
        [gone, "group_id_length"], [still, "group_id_length"], [chain, "mls_unparsable"],
        [conflict, "conflict"]]
    check_books(world, 4)
    assert digest_of_node(world.alpha) == digest_of_node(world.beta)


def test_letters_of_a_node_that_is_away_wait_for_it(world):
    bad = add_bad_message(world.v3, "bad")
    world.run(status=4)
    psql(world.v3, f"UPDATE group_messages SET group_id = '\\x{GROUP}' WHERE id = {bad}")
    manifest, beta = world.manifest.read_text(), world.beta
    world.edit(lambda document: document["nodes"][1].update(
        dsn="host=127.0.0.1 port=1 dbname=nobody"))
    ran = world.migrate("rejected", "retry", status=5)
    assert ran.json["loaded"] == 1 and "nodes that are away: 1" in ran.err and "'beta'" in ran.err
    world.manifest.write_text(manifest)
    assert letters(world.alpha) == [] and len(letters(beta)) == 1
    account = world.migrate("status", status=None).json
    assert account["verdict"] == "red" and "rejected retry" in account["problems"][0]
    assert world.migrate("rejected", "retry").json["loaded"] == 1
    check_books(world, 0)
    world.parity(0)


def test_a_record_is_kept_whole_whatever_its_size(world):
    size = 26 << 20  # more than a statement reads, than a part holds, than parity takes in hand
    world.write(nodes={"alpha": world.alpha})
    psql(world.v3, f"""
        ALTER TABLE group_messages ALTER data SET STORAGE EXTERNAL;
        INSERT INTO group_messages (group_id, data, group_id_data_hash, is_commit) SELECT
            '\\xa0a0', decode('00010002', 'hex') || decode(string_agg(md5(n::text), ''), 'hex'),
            'h', false FROM generate_series(1, {size // 16}) n""")
    after = add_message(world.v3, "the one behind it")
    world.run(status=4)
    kept = f"SELECT octet_length(payload) > {size} FROM migration_dead_letter_box"
    assert count(world.alpha, META, row(10, after)) == 1 and psql(world.alpha, kept) == "t"
    digest = psql(world.v3, "SELECT encode(sha256(data), 'hex') FROM group_messages ORDER BY id"
                            " LIMIT 1")
    shown = world.migrate("rejected", "show", "group_messages", 1).json
    assert hashlib.sha256(bytes.fromhex(shown["row"]["data"])).hexdigest() == digest
    psql(world.v3, "DELETE FROM group_messages WHERE id = 1")
    assert world.migrate("rejected", "retry", status=4).json["rejected_again"] == 1
    assert psql(world.alpha, kept) == "t"


# ---- waive --------------------------------------------------------------------------------------


def test_the_verdict_is_green_when_every_rejected_row_is_waived(world):
    bad = [add_bad_message(world.v3, f"bad {i}") for i in range(2)]
    world.run(status=4)
    world.tool("xmtp-migrate", "rejected", "waive", "group_messages", bad[0], "--reason",
               "a test row", "--manifest", world.manifest)
    account = check_books(world, 4)
    assert account["kinds"]["group_messages"]["waived"] == 1
    world.tool("xmtp-migrate", "rejected", "waive", "--kind", "group_messages", "--reason",
               "all of them", "--manifest", world.manifest, "--reject-reason", "group_id_length")
    account = check_books(world, 0)
    assert account["verdict"] == "green" and account["kinds"]["group_messages"]["waived"] == 2
    [waiver] = [one["waiver"] for one in world.migrate("rejected", "list").json["rejected"]
                if one["id"] == bad[1]]
    assert waiver["reason"] == "all of them" and "@" in waiver["who"] and waiver["when"]
    # A waiver outlives the run it was given in: a new run finds the same row for the same reason.
    assert world.run()["verdict"] == "green"


def test_a_waiver_of_another_reason_does_not_count(world):
    bad = add_bad_message(world.v3, "bad")
    world.run(status=4)
    world.tool("xmtp-migrate", "rejected", "waive", "group_messages", bad, "--reason", "fine",
               "--manifest", world.manifest)
    check_books(world, 0)
    psql(world.v3, f"UPDATE group_messages SET data = '' WHERE id = {bad}")
    world.migrate("rejected", "retry", status=4)
    account = check_books(world, 4)
    assert account["kinds"]["group_messages"]["waived"] == 0


def test_a_conflict_of_one_node_can_be_waived(world):
    ids = [add_message(world.v3, f"message {i}") for i in range(3)]
    put_other_row(world.beta, ids[1])
    world.run(status=4)
    world.tool("xmtp-migrate", "rejected", "waive", "group_messages", ids[1], "--reason", "known",
               "--manifest", world.manifest)
    account = check_books(world, 0)
    assert account["verdict"] == "green"
    assert account["kinds"]["group_messages"]["waived"] == 1


def test_a_waivers_reason_may_hold_anything(world):
    bad = add_bad_message(world.v3, "bad")
    world.run(status=4)
    reason = "it's \"odd\"; DROP TABLE payers; -- \u00e9 %s \\"
    world.tool("xmtp-migrate", "rejected", "waive", "group_messages", bad, "--reason", reason,
               "--manifest", world.manifest)
    assert world.migrate("rejected", "list").json["rejected"][0]["waiver"]["reason"] == reason


# ---- an account that somebody doctored ----------------------------------------------------------


@pytest.fixture
def done(world):
    for i in range(5):
        add_message(world.v3, f"message {i}")
    psql(world.v3, "SELECT setval('group_messages_id_seq', 3000000)")
    account = world.run()
    assert world.status() == account
    return world


DOCTORED = {
    "one row less is loaded": "UPDATE counts SET rows = rows - 1 WHERE state = 'loaded'",
    "one more is counted": "UPDATE counts SET rows = rows + 1 WHERE state = 'counted'",
    "one more is for nodes": "UPDATE counts SET rows = rows + 1 WHERE state = 'for_nodes'",
    "one is expired": "UPDATE counts SET state = 'expired' WHERE state = 'for_nodes'",
    "fewer than none": "UPDATE counts SET rows = -5 WHERE state = 'loaded'",
    "nothing is loaded": "DELETE FROM counts WHERE state = 'loaded'",
    "holes that nothing was loaded into": "INSERT INTO counts SELECT run, source_table, first_id,"
                                          " kind, 'holes', rows + 1 FROM counts"
                                          " WHERE state = 'loaded'",
    "an unknown state": "UPDATE counts SET state = 'lost' WHERE state = 'loaded'",
    "an unknown kind": "UPDATE counts SET kind = 'parcels' WHERE state = 'loaded'",
    "a reason too many": "INSERT INTO counts SELECT run, source_table, first_id, '*',"
                          " 'reject:data_empty', 1 FROM counts LIMIT 1",
    "a part is gone": "DELETE FROM parts WHERE source_table = 'group_messages'",
    "an empty part is gone": "DELETE FROM parts WHERE source_table = 'key_packages'",
    "a part begins late": "UPDATE parts SET first_id = 5 WHERE source_table = 'welcome_messages'",
    "a part ends early": "UPDATE parts SET last_id = last_id - 1 WHERE source_table = 'inbox_log'",
    "the run is gone": "DELETE FROM runs",
}


def test_an_account_of_a_run_that_is_not_at_its_end_says_to_run_again(done):
    psql(done.beta, "UPDATE xmtp_migrate.runs SET finished_at = NULL")
    ran = done.migrate("status", status=5)
    assert ran.json["verdict"] == "red" and "'beta'" in ran.json["problems"][0]
    done.run()
    done.status(0)


def test_a_doctored_account_is_red_and_says_where(done):
    for name, dsn in done.nodes.items():
        psql(dsn, """
            ALTER TABLE xmtp_migrate.counts DROP CONSTRAINT counts_run_source_table_first_id_fkey;
            ALTER TABLE xmtp_migrate.parts DROP CONSTRAINT parts_run_fkey;
            CREATE SCHEMA kept;
            CREATE TABLE kept.runs AS TABLE xmtp_migrate.runs;
            CREATE TABLE kept.parts AS TABLE xmtp_migrate.parts;
            CREATE TABLE kept.counts AS TABLE xmtp_migrate.counts""")
        for what, change in DOCTORED.items():
            psql(dsn, f"SET search_path = xmtp_migrate; {change}")
            ran = done.migrate("status", status=None)
            assert ran.status == 3, (name, what, ran.out, ran.err)
            assert ran.json["verdict"] == "red" and ran.json.get("problems", []), (name, what)
            assert "the account is red" in ran.err
            psql(dsn, "".join(f"TRUNCATE xmtp_migrate.{table} CASCADE;"
                              f"INSERT INTO xmtp_migrate.{table} OVERRIDING SYSTEM VALUE"
                              f" TABLE kept.{table};"
                              for table in ("runs", "parts", "counts")))
        done.status(0)


UNREADABLE = {
    "bounds": ["null", "[1]", '{"inbox_log": null}', "bounds || '{\"inbox_log\": null}'",
               "bounds || '{\"inbox_log\": {\"a\": [1]}}'", "bounds || '{\"inbox_log\": \"x\"}'",
               "bounds || '{\"inbox_log\": 5}'"],
    "blockers": ['[{"subject": null}]', "[null]", "{}",
                 '[{"subject": "a", "what": 1, "remedy": "b"}]'],
    "problems": ["[null]", "[1]", "{}"],
}


def test_what_cannot_be_read_in_the_books_is_named(done):
    for member, values in UNREADABLE.items():
        kept = psql(done.beta, f"SELECT {member} FROM xmtp_migrate.runs")
        for value in values:
            if not value.startswith(member):
                value = f"'{value}'::jsonb"
            psql(done.beta, f"UPDATE xmtp_migrate.runs SET {member} = {value}")
            ran = done.migrate("status", status=1)
            assert "'beta'" in ran.err and f"its {member} can't be read" in ran.err, value
            assert "--new-run" in ran.err
            psql(done.beta, f"UPDATE xmtp_migrate.runs SET {member} = '{kept}'")
    done.status(0)


@pytest.mark.parametrize("table, column", [("migration_dead_letter_box", "added_at"),
                                           ("migration_dead_letter_box", "retried_at"),
                                           ("xmtp_migrate.waivers", "waived_at")])
def test_a_time_that_is_none_is_named(world, table, column):
    bad = add_bad_message(world.v3, "bad")
    world.run(status=4)
    world.migrate("rejected", "waive", "group_messages", bad, "--reason", "r")
    for time in ("infinity", "-infinity", "290000-01-01"):
        psql(world.beta, f"UPDATE {table} SET {column} = '{time}'")
        for words in (["status"], ["rejected", "list"]):
            ran = world.migrate(*words, status=1)
            assert f"'beta': the dead letter of group_messages {bad}: its {column}" in ran.err


def test_every_row_too_large_for_the_chain_is_told(world):
    """However many there are: each breaks a group."""
    world.seed(1000, shape="hostile")
    world.run(status=4)
    psql(world.alpha, """
        INSERT INTO migration_dead_letter_box (source_table, sequence_id, payload, reason)
        SELECT 'commit_messages', 900000 + i, '', 'payload_too_large'
        FROM generate_series(1, 1200) i;
        INSERT INTO xmtp_migrate.rejected
        SELECT run, source_table, first_id, kind, 900000 + i, reason
        FROM xmtp_migrate.rejected one, generate_series(1, 1200) i
        WHERE kind = 'commit_messages' AND reason = 'payload_too_large' AND one.sequence_id =
            (SELECT max(sequence_id) FROM xmtp_migrate.rejected
             WHERE kind = 'commit_messages' AND reason = 'payload_too_large')""")
    told = [one["subject"] for one in world.status(3)["blockers"]]
    assert len([one for one in told if one.startswith("commit_messages 90")]) == 1200


def test_a_row_that_the_run_missed_turns_it_red(done):
    """The source's own count is held against ours."""
    psql(done.alpha, "UPDATE xmtp_migrate.runs SET finished_at = NULL")
    psql(done.beta, "UPDATE xmtp_migrate.runs SET finished_at = NULL")
    add_message(done.v3, "written with an id below what was settled", id=77)
    account = done.run(status=3)
    assert "6 rows of group_messages" in account.get("problems", [])[0]
