"""Beside the Go migrator: a node that it has left half done is completed, what it left out is found
and told, what it wrote otherwise is a conflict and stays; and it goes on from where a run ended."""

import hashlib
import subprocess
import threading
import time

import pytest
from support.go_migrator import OVERSIZED, TRANSFORMER, UNDETERMINED, GoMigrator
from support.servers import client, psql, rows
from support.world import (  # noqa: F401
    BLOB, GROUP, META, add_message, count, insert_message, row, world)

AS_OF = "2026-06-01T12:00:00Z"
OLD = "'2026-05-20 10:00:00'"


def add(world, text, **options):
    return add_old(world.v3, text, **options)


def add_old(v3, text, **options):
    """A message that has not expired at AS_OF."""
    sql = insert_message(text, **options).replace("now() - interval '1 day'", OLD)
    return int(psql(v3, sql + " RETURNING id"))


@pytest.fixture
def beside(world):
    """The world with a Go migrator at alpha; forge() makes envelopes for what V3 has by now."""
    forge_dsn = world.databases.node(900)

    def forge():
        write(world, {"alpha": forge_dsn}, 900)
        world.run("--as-of", AS_OF, "--new-run", status=None)
        write(world, world.nodes)

    world.forge = forge
    world.go = GoMigrator(world.v3, world.alpha, forge_dsn)
    write(world, world.nodes)
    return world


def write(world, nodes, node_id=None):
    world.write(nodes=nodes, policy={"profile": "xmtpd", "expired": "keep"})
    if node_id:
        world.edit(lambda document: document["nodes"][0].update(node_id=node_id))


def run(world, *words, status=0):
    return world.run("--as-of", AS_OF, *words, status=status)


def letters(dsn):
    return rows(dsn, "SELECT source_table, sequence_id, reason, payload = '' FROM"
                     " migration_dead_letter_box ORDER BY 1, 2")


def history(world, *words):
    return world.migrate("rejected", "history", *words).json["letters"]


def held_digest(dsn, id, originator=10):
    return psql(dsn, "SELECT encode(sha256(originator_envelope), 'hex') FROM"
                     f" {BLOB} WHERE {row(originator, id)}")


def trackers(dsn):
    return dict(rows(dsn, "SELECT source_table, last_migrated_id FROM migration_tracker"))


def other_bytes(envelope):
    return envelope[:-2] + ("00" if envelope[-2:] != "00" else "01")


# ---- one after the other --------------------------------------------------------------------------


def test_a_run_completes_what_the_go_migrator_has_left(beside):
    ids = [add(beside, f"message {i}") for i in range(30)]
    unseen = add(beside, "nobody said what it is", is_commit="NULL")
    bad = add(beside, "bad", group="a0a0")
    later = [add(beside, f"later {i}") for i in range(5)]
    beside.forge()
    go = beside.go
    go.bring("group_messages", batch=7, upto=ids[19])
    go.give_up("group_messages", ids[24])  # stopped with ids[20:24] in flight, of which it can
    go.write("group_messages", ids[25:])   # make none again: its tracker is past them
    go.give_up("group_messages", bad)
    assert trackers(beside.alpha)["group_messages"] == str(bad)

    ran = beside.migrate("run", "--as-of", AS_OF, status=4)
    account = ran.json
    kind = account["kinds"]["group_messages"]
    holes = len(ids[20:25]) + 1  # and the one that it never sees
    assert kind["nodes"]["alpha"] == {"loaded": holes + len(later), "already_there": 25}
    assert kind["holes"] == {"alpha": holes}
    assert kind["nodes"]["beta"] == {"loaded": 36, "already_there": 0}
    assert account["letters_of_other_tools"] == {"alpha": 2}
    assert account["rejects"] == {"group_id_length": 1} and "problems" not in account
    assert "another tool's dead letters" in ran.err
    plain = beside.tool("xmtp-migrate", "status", "--manifest", beside.manifest, status=4)
    assert f"{holes} holes filled below the node's tracker" in plain.out
    assert "alpha: 2 dead letters of other tools" in plain.out

    # Its letters: the one of a good row is done with, the other has the whole record now.
    assert letters(beside.alpha) == letters(beside.beta) == [
        ["group_messages", str(bad), "group_id_length", "f"]]
    assert [(one["id"], one["outcome"], one["reason"], one["bytes"], one["of_another_tool"])
            for one in history(beside)] == [
        (ids[24], "on_node", TRANSFORMER, 0, True), (bad, "rewritten", TRANSFORMER, 0, True)]
    assert beside.parity(4)["difference_count"] == 0
    assert unseen and trackers(beside.alpha)["group_messages"] == str(later[-1])


def test_the_go_migrator_goes_on_where_a_run_ended(beside):
    psql(beside.v3, "INSERT INTO inbox_log (inbox_id, server_timestamp_ns, identity_update_proto)"
                    f" VALUES ('\\x{'e0' * 32}', 1779271200000000000, '')")
    ids = [add(beside, f"message {i}") for i in range(12)]
    commit = add(beside, "a commit", is_commit="true")
    beside.go.set_tracker("commit_messages", 3)
    beside.forge()
    beside.go.bring("group_messages", upto=ids[4])
    run(beside, status=4)
    # What goes to the chain is not there yet: its trackers say so.
    assert trackers(beside.alpha) == {"group_messages": str(ids[-1]), "commit_messages": "3",
                                      "inbox_log": "0", "welcome_messages": "0",
                                      "key_packages": "0"}
    assert trackers(beside.beta)["commit_messages"] == "0"
    assert beside.go.fetch("group_messages") == [] and beside.go.fetch("commit_messages") == [commit]

    fresh = [add(beside, f"fresh {i}") for i in range(6)]
    beside.forge()
    assert beside.go.bring("group_messages", batch=4) == fresh
    account = run(beside, "--new-run", status=4)
    assert account["kinds"]["group_messages"]["nodes"] == {
        "alpha": {"loaded": 0, "already_there": 18}, "beta": {"loaded": 6, "already_there": 12}}
    assert beside.parity(4)["difference_count"] == 0


def test_every_table_is_gone_on_with_from_its_own_tracker(beside):
    beside.seed(900, seed=3, until="2026-05-30T00:00:00Z")
    beside.forge()
    missing = {}
    for kind in ("group_messages", "welcome_messages", "key_packages"):
        ids = [int(id) for id, *_ in beside.go.envelopes(kind, beside.go.fetch(kind))]
        missing[kind] = ids[3::5][:4]
        beside.go.write(kind, [id for id in ids[:40] if id not in missing[kind]])
    account = run(beside, status=None)
    for kind, ids in missing.items():
        holes = account["kinds"][kind]["holes"]
        assert list(holes) == ["alpha"] and holes["alpha"] >= len(ids), kind
        assert not [id for id in ids if not held_digest(
            beside.alpha, id, {"g": 10, "w": 11, "k": 13}[kind[0]])]
    assert beside.parity(None)["difference_count"] == 0


def test_what_it_kept_of_chain_bound_rows_is_not_lost(beside):
    """It keeps a group's id for what is too large, and the payload of what the chain refused."""
    commits = [add(beside, f"commit {i}", is_commit="true") for i in range(2)]
    beside.go.give_up("commit_messages", commits[0], "\\x" + GROUP, OVERSIZED)
    beside.go.give_up("commit_messages", commits[1], "\\x0a0b", UNDETERMINED)
    run(beside)
    assert letters(beside.alpha) == [] and trackers(beside.alpha)["commit_messages"] == str(
        commits[1])
    assert [(one["outcome"], one["reason"], one["payload"]) for commit in commits
            for one in history(beside, "commit_messages", commit)] == [
        ("for_chain", OVERSIZED, GROUP), ("for_chain", UNDETERMINED, "0a0b")]


HOSTILE = {
    "no tracker at all": "DELETE FROM migration_tracker",
    "far ahead": "UPDATE migration_tracker SET last_migrated_id = 9223372036854775807",
    "below nothing": "UPDATE migration_tracker SET last_migrated_id = -9223372036854775808",
    "a table that nobody knows": "INSERT INTO migration_tracker VALUES ('parcels', 7);"
                                 "SELECT insert_migration_dead_letter_box('parcels', 1, '', '', true)",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_tracker_that_says_nonsense_is_believed_in_nothing(beside, what):
    ids = [add(beside, f"message {i}") for i in range(4)]
    beside.forge()
    beside.go.write("group_messages", ids[:2])
    psql(beside.alpha, HOSTILE[what])
    before = trackers(beside.alpha)
    account = run(beside)
    counts = account["kinds"]["group_messages"]["nodes"]["alpha"]
    assert (counts["loaded"], counts["already_there"]) == (2, 2)
    assert account["kinds"]["group_messages"].get("holes") == (
        {"alpha": 2} if what == "far ahead" else None)
    after = trackers(beside.alpha)
    assert int(after["group_messages"]) == max(ids[-1], int(before.get("group_messages", 0)))
    assert {kind: id for kind, id in after.items() if kind != "group_messages"} == {
        kind: id for kind, id in before.items() if kind != "group_messages"}


def test_a_tracker_that_it_takes_back_is_raised_again(beside):
    ids = [add(beside, f"message {i}") for i in range(9)]
    beside.forge()
    run(beside)
    beside.go.set_tracker("group_messages", ids[2])  # it writes whatever it has just brought
    assert beside.go.bring("group_messages") == ids[3:]
    beside.go.set_tracker("group_messages", ids[2])
    run(beside, "--new-run")
    assert trackers(beside.alpha)["group_messages"] == str(ids[-1])
    assert beside.parity(0)["difference_count"] == 0


# ---- at the same time -----------------------------------------------------------------------------


def test_both_at_once_bring_every_row_once(beside):
    for start in range(0, 2400, 400):
        psql(beside.v3, ";".join(
            insert_message(f"message {i}").replace("now() - interval '1 day'", OLD)
            for i in range(start, start + 400)))
    beside.forge()
    failures = []

    def bring():
        try:
            beside.go.bring("group_messages", batch=150)
        except Exception as failure:  # noqa: B902
            failures.append(failure)

    thread = threading.Thread(target=bring)
    thread.start()
    account = run(beside)
    thread.join()
    assert not failures
    counts = account["kinds"]["group_messages"]["nodes"]["alpha"]
    assert counts["loaded"] + counts["already_there"] == 2400
    assert count(beside.alpha, META) == count(beside.alpha, BLOB) == 2400
    assert beside.parity(0)["difference_count"] == 0


WAITS = ("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname ="
         " current_database() AND query LIKE '%INSERT INTO gateway_envelopes_meta%'")


@pytest.mark.parametrize("usage", ["skip", "count"])
def test_rows_and_clock_are_locked_in_the_order_of_the_nodes_own_insert(beside, start_tool, usage):
    """Its rows come first, the clock last: whoever holds the clock would wait for its rows, and it
    for the clock. Without the lock of bands, which would only keep us from coming that far."""
    ids = [add(beside, f"message {i}") for i in range(6)]
    beside.forge()
    beside.go.write("group_messages", ids[:1])
    beside.edit(lambda document: document["policy"].update(usage=usage))
    writer = subprocess.Popen([client("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", beside.alpha],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    payer = "(SELECT id FROM payers)"
    writer.stdin.write(f"""SET deadlock_timeout = 50; BEGIN;
        SET LOCAL session_replication_role = replica;
        INSERT INTO {META} VALUES (now(), 10, {ids[3]}, '', NULL, 1);
        SET LOCAL session_replication_role = origin; SELECT 'there';\n""")
    writer.stdin.flush()
    while writer.stdout.readline() != "there\n":
        assert writer.poll() is None
    process = start_tool("xmtp-migrate", "run", "--manifest", beside.manifest, "--as-of", AS_OF,
                         "--json")
    deadline = time.monotonic() + 30
    while psql(beside.alpha, WAITS) != "1":
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    out, err = writer.communicate(f"""
        INSERT INTO unsettled_usage VALUES ({payer}, 10, 29671920, 1, 1, 1)
            ON CONFLICT (payer_id, originator_id, minutes_since_epoch) DO UPDATE
            SET message_count = unsettled_usage.message_count + 1;
        UPDATE gateway_envelopes_latest SET gateway_time = gateway_time
            WHERE originator_node_id = 10; COMMIT;""", timeout=30)
    assert writer.returncode == 0, err
    out, err = process.communicate(timeout=60)
    assert process.returncode == 4, err  # what it wrote is a conflict


# ---- other bytes ----------------------------------------------------------------------------------


@pytest.fixture
def differing(beside):
    """Two rows of alpha are with other bytes, and a run has found them."""
    ids = beside.ids = [add(beside, f"message {i}") for i in range(8)]
    beside.forge()
    beside.go.write("group_messages", ids[:2] + ids[4:])
    beside.go.write("group_messages", ids[2:4], other_bytes)
    beside.held = {id: held_digest(beside.alpha, id) for id in ids[2:4]}
    beside.ran = beside.migrate("run", "--as-of", AS_OF, status=4)
    beside.given = {id: held_digest(beside.beta, id) for id in ids[2:4]}
    return beside


def replace(world, *names, reason="the Go migrator's clock was wrong", status=0, words=()):
    given = [word for name in names for word in ("--replace-conflicts", name)]
    return world.migrate("rejected", "retry", *given, *(["--reason", reason] if reason else []),
                         *words, status=status)


def test_rows_with_other_bytes_are_conflicts_with_both_digests(differing):
    assert differing.ran.json["rejects"] == {"conflict": 2}
    listed = {one["id"]: one for one in differing.migrate("rejected", "list").json["rejected"]}
    assert set(listed) == set(differing.held)
    for id, held in differing.held.items():
        given = differing.given[id]
        assert held != given and held_digest(differing.alpha, id) == held
        expected = {"held_sha256": held, "given_sha256": given, "differs": ["envelope"]}
        assert listed[id]["conflict"] == expected
        shown = differing.migrate("rejected", "show", "group_messages", id).json
        assert shown["conflict"] == expected and shown["row"]["id"] == id
        assert held in differing.ran.err and given in differing.ran.err
    plain = differing.tool("xmtp-migrate", "rejected", "list", "--manifest", differing.manifest)
    assert all(digest in plain.out for digest in (*differing.held.values(),
                                                  *differing.given.values()))


def test_of_many_conflicts_the_first_are_logged_and_the_others_counted(beside):
    ids = [add(beside, f"message {i}") for i in range(50)]
    beside.forge()
    beside.go.write("group_messages", ids, other_bytes)
    ran = beside.migrate("run", "--as-of", AS_OF, status=4)
    assert ran.err.count("is a conflict") == 3 and "50 rows of group_messages" in ran.err
    assert count(beside.alpha, "xmtp_migrate.conflicts", "held <> given") == 50


def test_what_differs_is_told_by_name(beside):
    ids = [add(beside, f"message {i}") for i in range(3)]
    beside.forge()
    beside.go.write("group_messages", ids)
    psql(beside.alpha, f"""UPDATE {META} SET topic = '\\x00' WHERE {row(10, ids[0])};
        UPDATE {META} SET expiry = 1 WHERE {row(10, ids[1])};
        UPDATE {META} SET expiry = 1 WHERE {row(10, ids[2])};
        DELETE FROM {BLOB} WHERE {row(10, ids[2])}""")
    run(beside, status=4)
    listed = {one["id"]: one["conflict"] for one in
              beside.migrate("rejected", "list").json["rejected"]}
    assert [listed[id]["differs"] for id in ids] == [["topic"], ["expiry"], ["expiry"]]
    assert listed[ids[2]]["held_sha256"] is None
    replace(beside, f"group_messages:{','.join(map(str, ids))}")
    assert beside.parity(0)["difference_count"] == 0


def test_conflicts_are_replaced_by_name_and_kept(differing):
    first, second = differing.held
    before = rows(differing.alpha, f"SELECT m.*, b.originator_envelope FROM {META} m JOIN {BLOB} b"
                                   " USING (originator_node_id, originator_sequence_id)"
                                   f" WHERE originator_sequence_id = {first}")
    latest = rows(differing.alpha, "SELECT * FROM gateway_envelopes_latest")
    usage = rows(differing.alpha, "SELECT * FROM unsettled_usage")
    ran = replace(differing, f"group_messages:{first}")
    assert (ran.json["tried"], ran.json["loaded"], ran.json["replaced"]) == (1, 1, 1)
    assert differing.held[first] in ran.err and differing.given[first] in ran.err
    assert held_digest(differing.alpha, first) == differing.given[first]
    assert held_digest(differing.alpha, second) == differing.held[second]
    kept = rows(differing.alpha, "SELECT gateway_time, 10, sequence_id, topic, payer_id, expiry,"
                                 " originator_envelope FROM xmtp_migrate.replaced")
    assert [before[0][2:5]] and len(kept) == 1
    assert sorted(kept[0]) == sorted(before[0])
    assert rows(differing.alpha, "SELECT * FROM gateway_envelopes_latest") == latest
    assert rows(differing.alpha, "SELECT * FROM unsettled_usage") == usage
    [told] = history(differing, "group_messages", first)
    assert told["replaced"]["reason"] == "the Go migrator's clock was wrong"
    assert "@" in told["replaced"]["who"] and told["outcome"] == "on_node"
    assert told["conflict"]["held_sha256"] == differing.held[first]
    assert told["row"]["id"] == first

    account = differing.status(4)
    assert account["rejects"] == {"conflict": 1}
    assert account["kinds"]["group_messages"]["nodes"]["beta"]["beside_conflicts"] == 1
    replace(differing, f"group_messages:{second}")
    assert differing.status(0)["verdict"] == "green"
    assert differing.parity(0)["difference_count"] == 0
    assert differing.migrate("rejected", "list").json["rejected"] == []


def test_names_of_which_some_are_replaced_already_are_gone_on_with(differing):
    """A command that was stopped among them is given once more."""
    first, second = differing.held
    replace(differing, f"group_messages:{first}")
    both = f"group_messages:{first},{second}"
    assert [replace(differing, both).json["replaced"] for _ in range(2)] == [1, 0]
    assert count(differing.alpha, "xmtp_migrate.replaced") == 2
    assert differing.parity(0)["difference_count"] == 0


REFUSED = [
    (["group_messages:1"], [], "group_messages 1 is no conflict on any node"),
    (["group_messages:3,4,777"], [], "group_messages 777 is no conflict"),
    (["group_messages:3"], ["--node", "beta"], "no conflict on node 'beta'"),
    (["welcome_messages:3"], [], "welcome_messages 3 is no conflict"),
    (["bananas:3"], [], "bananas"),
    (["group_messages"], [], "KIND:ID"),
    (["group_messages:"], [], "is no id"),
    (["group_messages:3,"], [], "is no id"),
    (["group_messages:3-4"], [], "3-4"),
    (["@/nowhere/at/all"], [], "/nowhere/at/all"),
    (["@/dev/null"], [], "names no row"),
    (["group_messages:3"], ["group_messages", "3"], "names its rows itself"),
    (["group_messages:3"], ["--reject-reason", "conflict"], "names its rows itself"),
    (["group_messages:3"], ["--node", "gamma"], "gamma"),
]


def test_what_is_no_conflict_is_refused_and_nothing_is_replaced(differing):
    assert set(differing.held) == {3, 4}
    for names, words, said in REFUSED:
        assert said in replace(differing, *names, words=words, status=2).err, (names, words)
    for reason in (None, "", "two\nlines"):
        assert "--reason" in replace(differing, "group_messages:3", reason=reason, status=2).err
    differing.migrate("rejected", "retry", "--reason", "for nothing", status=2)
    differing.migrate("rejected", "retry", "--node", "alpha", status=2)
    assert count(differing.alpha, "xmtp_migrate.replaced") == 0
    assert {id: held_digest(differing.alpha, id) for id in differing.held} == differing.held


def test_a_file_may_name_the_conflicts(differing):
    names = differing.folder / "conflicts"
    names.write_text("\n".join(f"group_messages:{id}" for id in differing.held) + "\r\n\n")
    assert replace(differing, f"@{names}", "group_messages:3,3").json["replaced"] == 2
    assert differing.parity(0)["difference_count"] == 0


def test_a_row_that_somebody_changed_since_is_looked_at_again_first(differing):
    first = min(differing.held)
    psql(differing.alpha, f"UPDATE {BLOB} SET originator_envelope = 'another' WHERE"
                          f" {row(10, first)}")
    ran = replace(differing, f"group_messages:{first}", status=1)
    assert f"group_messages {first}" in ran.err and "something else by now" in ran.err
    assert psql(differing.alpha, f"SELECT originator_envelope = 'another' FROM {BLOB} WHERE"
                                 f" {row(10, first)}") == "t"
    assert count(differing.alpha, "xmtp_migrate.replaced") == 0
    differing.migrate("rejected", "retry", "group_messages", first, status=4)
    listed = differing.migrate("rejected", "show", "group_messages", first).json["conflict"]
    assert listed["held_sha256"] == hashlib.sha256(b"another").hexdigest()
    assert replace(differing, f"group_messages:{first}").json["replaced"] == 1


def test_nothing_is_put_in_the_place_of_a_row_that_is_none_any_more(differing):
    first = min(differing.held)
    psql(differing.v3, f"UPDATE group_messages SET group_id = '\\xa0a0' WHERE id = {first}")
    ran = replace(differing, f"group_messages:{first}", status=4)
    assert ran.json["left"] == 1 and "expired or rejected" in ran.err
    assert held_digest(differing.alpha, first) == differing.held[first]


def test_conflicts_of_two_nodes_are_each_told_and_replaced(differing):
    first = min(differing.held)
    psql(differing.beta, f"UPDATE {BLOB} SET originator_envelope = 'b' WHERE {row(10, first)}")
    run(differing, "--new-run", status=4)
    [one] = [one for one in differing.migrate("rejected", "list").json["rejected"]
             if one["id"] == first]
    assert {name: told["held_sha256"] for name, told in one["conflicts"].items()} == {
        "alpha": differing.held[first], "beta": hashlib.sha256(b"b").hexdigest()}
    assert replace(differing, f"group_messages:{first}", words=["--node", "beta"]).json[
        "replaced"] == 1
    assert held_digest(differing.alpha, first) == differing.held[first]
    assert replace(differing, "group_messages:3,4").json["replaced"] == 2
    assert differing.parity(0)["difference_count"] == 0
