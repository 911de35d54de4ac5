"""xmtp-parity check: after a run nothing is wrong; then every way of tampering is named exactly."""

import datetime
import json
import pathlib
import signal

import pytest
from support.servers import psql, rows

NODES = ("alpha", "beta")
OTHER_ORIGINATOR_KEY = "44" * 32
PAYER_ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"  # of conftest's PAYER_KEY
ORIGINATOR_ADDRESS = "0x1563915e194D8CfBA1943570603F7606A3115508"  # of its ORIGINATOR_KEY

GROUP, OTHER_GROUP = "a0" * 16, "b0" * 16
INSTALLATION = "c0" * 32


def message(group, text):
    """An MLS private message that is no commit, in hex."""
    return "00010002" + "10" + group + "00" * 8 + "01" + text.encode().hex()


def add_message(v3, text, group=GROUP, age="1 day"):
    """Adds a message to V3; gives its id."""
    return int(psql(v3, f"""
        INSERT INTO group_messages (created_at, group_id, data, group_id_data_hash)
        VALUES (now() - interval '{age}', '\\x{group}', '\\x{message(group, text)}',
                sha256('{group}{text}')) RETURNING id"""))


def add_welcome(v3, text):
    return int(psql(v3, f"""
        INSERT INTO welcome_messages (created_at, installation_key, data, hpke_public_key,
            installation_key_data_hash)
        VALUES (now() - interval '1 day', '\\x{INSTALLATION}', '{text}', '\\x01', sha256('{text}'))
        RETURNING id"""))


def add_key_package(v3, text, installation=INSTALLATION):
    """Uploads a key package, which becomes the installation's current one; gives its id."""
    now = "(extract(epoch FROM clock_timestamp()) * 1e9)::bigint"
    return int(psql(v3, f"""
        INSERT INTO installations (id, created_at, updated_at, key_package, is_appended)
        VALUES ('\\x{installation}', {now}, {now}, '{text}', true)
        ON CONFLICT (id) DO UPDATE SET key_package = '{text}', updated_at = {now};
        INSERT INTO key_packages (installation_id, key_package, created_at)
        VALUES ('\\x{installation}', '{text}', {now}) RETURNING sequence_id"""))


@pytest.fixture
def world(databases, manifest, tool):
    """A V3 database and two empty nodes."""

    class World:
        v3 = databases.v3()
        nodes = {name: databases.node(100 * place) for place, name in enumerate(NODES, start=1)}

        def write(self, **members):
            self.manifest = manifest(self.v3, self.nodes, **members)

        def move(self):
            ran = tool("xmtp-migrate", "run", "--manifest", self.manifest, status=None)
            assert ran.status in (0, 4), ran.err

        def check(self, *words, status):
            ran = tool("xmtp-parity", "check", "--manifest", self.manifest, "--json", *words,
                       status=status)
            return ran.json

        def seed(self, count, shape="testnet"):
            tool("xmtp-seed", "rows", "--dsn", self.v3, "--rows", count, "--shape", shape)

    world = World()
    world.tool = tool
    world.write()
    return world


def named(report):
    """Differences as (node, table, id, what)."""
    return {(one["node"], one["table"], one["id"], one["what"]) for one in report["differences"]}


def sums(report, table, node="alpha"):
    return report["kinds"][table]["nodes"][node]


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


def test_rows_that_no_run_of_the_books_reached_are_a_difference(world):
    ids = [add_message(world.v3, f"message {place}") for place in range(3)]
    world.move()
    books(world, f"""UPDATE {RUNS} SET
          bounds = jsonb_set(bounds, '{{group_messages}}', '"{ids[0]}"')""")
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
    world.move()
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
    psql(world.nodes["alpha"], "UPDATE gateway_envelopes_meta SET"
                               " gateway_time = gateway_time + interval '1 second'")
    assert named(world.check(status=3)) == {("alpha", "key_packages", id, "extra")}


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


# ---- tampering ------------------------------------------------------------------------------------
# Each way gives the differences, as (table, id, what), that it makes on the node it is done to.


META = "gateway_envelopes_meta"
BLOB = "gateway_envelopes_blob"


def row(originator, id):
    return f"originator_node_id = {originator} AND originator_sequence_id = {id}"


def live_envelope(originator, id, topic):
    """As far as anybody could tell: an originator envelope's layers around a topic, in hex."""
    def member(number, value):
        assert len(value) < 128
        return bytes([number << 3 | 2, len(value)]) + value

    payer = member(1, member(1, member(2, topic)))
    return member(1, bytes([1 << 3, originator, 2 << 3, id]) + member(4, payer)).hex()


def put_live(dsn, key_package, id, envelope):
    """A row of a live node, newer than a key package and under its topic."""
    psql(dsn, f"""
        SELECT ensure_gateway_parts_v3(100, {id});
        INSERT INTO {META} SELECT gateway_time + interval '1 hour', 100, {id}, topic, NULL, expiry
        FROM {META} WHERE {row(13, key_package)};
        INSERT INTO {BLOB} VALUES (100, {id}, '{envelope}')""")


def copy_row(dsn, originator, id, new_id):
    psql(dsn, f"""
        INSERT INTO {META} SELECT gateway_time, originator_node_id, {new_id}, topic, payer_id, expiry
        FROM {META} WHERE {row(originator, id)};
        INSERT INTO {BLOB} SELECT originator_node_id, {new_id}, originator_envelope
        FROM {BLOB} WHERE {row(originator, id)}""")


def flip_a_byte_of_a_payload(world, dsn):
    id = world.messages["flipped"]
    place = psql(dsn, f"""SELECT position('flipped'::bytea IN originator_envelope) - 1 FROM {BLOB}
                           WHERE {row(10, id)}""")
    psql(dsn, f"""UPDATE {BLOB} SET originator_envelope =
                  set_byte(originator_envelope, {place}, get_byte(originator_envelope, {place}) # 1)
                  WHERE {row(10, id)}""")
    return {("group_messages", id, what)
            for what in ("client_envelope", "payer_signer", "originator_signer")}


def delete_a_meta_row(world, dsn):
    psql(dsn, f"DELETE FROM {META} WHERE {row(10, world.messages['deleted'])}")
    return {("group_messages", world.messages["deleted"], "missing")}


def delete_only_a_blob(world, dsn):
    psql(dsn, f"DELETE FROM {BLOB} WHERE {row(11, world.welcome)}")
    return {("welcome_messages", world.welcome, "blob_missing")}


def spoil_a_blob(world, dsn):
    psql(dsn, f"UPDATE {BLOB} SET originator_envelope = 'garbage' "
              f"WHERE {row(10, world.messages['spoiled'])}")
    return {("group_messages", world.messages["spoiled"], "unreadable")}


def add_a_row_in_a_gap(world, dsn):
    copy_row(dsn, 10, world.messages["left alone"], world.gap)
    return {("group_messages", world.gap, "extra")}


def add_a_row_above_all(world, dsn):
    copy_row(dsn, 10, world.messages["left alone"], 777777)
    return {("group_messages", 777777, "extra")}


def swap_two_topics(world, dsn):
    one, other = world.messages["swapped 1"], world.messages["swapped 2"]
    psql(dsn, f"""
        UPDATE {META} m SET topic = o.topic FROM {META} o
        WHERE m.originator_node_id = 10 AND o.originator_node_id = 10
          AND (m.originator_sequence_id, o.originator_sequence_id)
              IN (({one}, {other}), ({other}, {one}))""")
    return {("group_messages", one, "topic"), ("group_messages", other, "topic")}


def forge_a_signature(world, dsn):
    id = world.messages["forged"]
    blob = psql(world.forger, f"SELECT originator_envelope FROM {BLOB} WHERE {row(10, id)}")
    psql(dsn, f"UPDATE {BLOB} SET originator_envelope = '{blob}' WHERE {row(10, id)}")
    return {("group_messages", id, "originator_signer")}


def move_an_expiry(world, dsn):
    id = world.messages["moved expiry"]
    psql(dsn, f"UPDATE {META} SET expiry = expiry + 1 WHERE {row(10, id)}")
    return {("group_messages", id, "expiry")}


def move_a_gateway_time(world, dsn):
    id = world.messages["moved time"]
    psql(dsn, f"UPDATE {META} SET gateway_time = gateway_time + interval '1 us' "
              f"WHERE {row(10, id)}")
    return {("group_messages", id, "time")}


def set_the_clock_back(world, dsn):
    psql(dsn, "UPDATE gateway_envelopes_latest SET originator_sequence_id = "
              "originator_sequence_id - 1 WHERE originator_node_id = 11")
    return {("welcome_messages", world.welcome, "clock_behind")}


def name_another_payer(world, dsn):
    id = world.messages["other payer"]
    psql(dsn, f"""
        INSERT INTO payers (address) VALUES ('0x0000000000000000000000000000000000000001');
        UPDATE {META} SET payer_id = (SELECT max(id) FROM payers) WHERE {row(10, id)}""")
    return {("group_messages", id, "payer")}


def name_no_payer(world, dsn):
    id = world.messages["no payer"]
    psql(dsn, f"UPDATE {META} SET payer_id = NULL WHERE {row(10, id)}")
    return {("group_messages", id, "payer")}


def put_an_envelope_under_another_id(world, dsn):
    id, other = world.messages["misplaced"], world.messages["left alone"]
    psql(dsn, f"""
        UPDATE {BLOB} b SET originator_envelope = o.originator_envelope FROM {BLOB} o
        WHERE b.originator_node_id = 10 AND b.originator_sequence_id = {id}
          AND o.originator_node_id = 10 AND o.originator_sequence_id = {other}""")
    return {("group_messages", id, what) for what in ("sequence_id", "client_envelope", "expiry",
                                                      "time", "fee")}


def make_an_older_key_package_the_newest(world, dsn):
    older, current = world.key_packages
    psql(dsn, f"UPDATE {META} SET gateway_time = gateway_time + interval '1 hour' "
              f"WHERE {row(13, older)}")
    return {("key_packages", older, "time"), ("key_packages", current, "newest_key_package")}


def make_two_key_packages_equally_new(world, dsn):
    older, current = world.equal_packages
    psql(dsn, f"""
        UPDATE {META} SET gateway_time = (SELECT gateway_time FROM {META} WHERE {row(13, current)})
        WHERE {row(13, older)}""")
    return {("key_packages", older, "time"), ("key_packages", current, "newest_key_package")}


def put_garbage_in_front_of_a_key_package(world, dsn):
    put_live(dsn, world.overtaken, 1, "\\x0abc")
    return {("key_packages", world.overtaken, "newest_key_package")}


def keep_rows_of_originators_that_only_sign(world, dsn):
    for originator in (12, 14):
        psql(dsn, f"""
            SELECT ensure_gateway_parts_v3({originator}, 3);
            INSERT INTO {META} SELECT gateway_time, {originator}, 3, topic, payer_id, expiry
            FROM {META} WHERE {row(10, world.messages['left alone'])}""")
    return {("inbox_log", 3, "extra"), ("commit_messages", 3, "extra")}


def add_a_blob_alone(world, dsn):
    psql(dsn, f"""
        SET session_replication_role = replica;
        INSERT INTO {BLOB} SELECT originator_node_id, 888888, originator_envelope
        FROM {BLOB} WHERE {row(10, world.messages['left alone'])}""")
    return {("group_messages", 888888, "meta_missing")}


def set_the_clock_far_ahead(world, dsn):
    psql(dsn, "UPDATE gateway_envelopes_latest SET originator_sequence_id = 1000000"
              " WHERE originator_node_id = 13")
    return {("key_packages", world.overtaken, "clock_ahead")}


def delete_a_dead_letter(world, dsn):
    psql(dsn, f"DELETE FROM migration_dead_letter_box WHERE sequence_id = {world.rejected}")
    return {("group_messages", world.rejected, "dead_letter_missing")}


TAMPERINGS = [
    flip_a_byte_of_a_payload, delete_a_meta_row, delete_only_a_blob, spoil_a_blob,
    add_a_row_in_a_gap, add_a_row_above_all, swap_two_topics, forge_a_signature, move_an_expiry,
    move_a_gateway_time, set_the_clock_back, name_another_payer, name_no_payer,
    put_an_envelope_under_another_id, make_an_older_key_package_the_newest,
    make_two_key_packages_equally_new, put_garbage_in_front_of_a_key_package,
    keep_rows_of_originators_that_only_sign, add_a_blob_alone, set_the_clock_far_ahead,
    delete_a_dead_letter,
]

MESSAGES = ["left alone", "flipped", "deleted", "spoiled", "swapped 1", "forged", "moved expiry",
            "moved time", "other payer", "no payer"]


@pytest.fixture
def moved(world, databases, manifest, tool):
    """A world after its run: one row for each way of tampering, and a node of a forger's who has the
    same rows and another originator key."""
    world.messages = {text: add_message(world.v3, text) for text in MESSAGES}
    world.messages["swapped 2"] = add_message(world.v3, "swapped 2", group=OTHER_GROUP)
    world.messages["misplaced"] = add_message(world.v3, "misplaced, and much longer", age="2 days")
    world.gap = int(psql(world.v3, "SELECT nextval('group_messages_id_seq')"))
    world.rejected = add_message(world.v3, "rejected", group="a0" * 15)
    world.welcome = add_welcome(world.v3, "welcome")
    world.key_packages = [add_key_package(world.v3, text) for text in ("older", "current")]
    world.equal_packages = [add_key_package(world.v3, text, "d0" * 32)
                            for text in ("older", "current")]
    world.overtaken = add_key_package(world.v3, "overtaken", "e0" * 32)
    world.move()

    nodes, world.nodes = world.nodes, {"forger": databases.node(100)}
    world.forger = world.nodes["forger"]
    world.write(keys={"payer": "file:payer.key", "originator": "file:forger.key"})
    (pathlib.Path(world.manifest).parent / "forger.key").write_text(OTHER_ORIGINATOR_KEY)
    world.move()
    world.nodes = nodes
    world.write()
    return world


def test_names_every_tampering_exactly(moved):
    """All at once on one node: nothing hides another, nothing else is named, the other node and
    the other rows are fine."""
    assert moved.check(status=4)["difference_count"] == 0
    expected = set()
    for tamper in TAMPERINGS:
        expected |= {("alpha", *one) for one in tamper(moved, moved.nodes["alpha"])}
    report = moved.check(status=3)
    assert named(report) == expected
    assert report["verdict"] == "red"
    assert report["difference_count"] == len(report["differences"])
    assert all(one["expected"] != one["found"] for one in report["differences"])
    counted = sums(report, "group_messages")
    assert (counted["missing"], counted["extra"], counted["altered"]) == (1, 2, 10)

    assert moved.check("--node", "beta", status=4)["difference_count"] == 0
    assert named(moved.check("--node", "beta", "--node", "alpha", status=3)) == expected
    short = moved.check("--list", "3", status=3)
    assert len(short["differences"]) == 3
    assert short["difference_count"] == report["difference_count"]


@pytest.mark.parametrize("tamper", [delete_a_meta_row, forge_a_signature],
                         ids=lambda tamper: tamper.__name__)
def test_names_a_lone_tampering(moved, tamper, tool):
    (table, id, what), = tamper(moved, moved.nodes["beta"])
    assert named(moved.check(status=3)) == {("beta", table, id, what)}
    printed = tool("xmtp-parity", "check", "--manifest", moved.manifest, status=3)
    assert any(line.startswith(f"beta {table} {id}: {what}: expected ")
               for line in printed.out.splitlines())
    assert printed.out.splitlines()[-1].startswith("verdict: red")
    assert "hint:" in printed.err


@pytest.mark.parametrize("originator, id, topic, what", [
    (100, 9, "03" + INSTALLATION, None),
    (101, 9, "03" + INSTALLATION, "newest_key_package"),
    (100, 8, "03" + INSTALLATION, "newest_key_package"),
    (100, 9, "03" + "c1" * 32, "newest_key_package"),
])
def test_a_live_upload_may_be_newest_if_it_is_one(world, originator, id, topic, what):
    current = add_key_package(world.v3, "current")
    world.move()
    envelope = live_envelope(originator, id, bytes.fromhex(topic))
    put_live(world.nodes["beta"], current, 9, "\\x" + envelope)
    assert named(world.check(status=3 if what else 0)) == (
        {("beta", "key_packages", current, what)} if what else set())


def test_a_clock_stays_where_a_pruner_took_rows(world):
    world.write(policy={"expired": "keep"})
    add_message(world.v3, "young")
    id = add_message(world.v3, "expired", age="61 days")
    world.move()
    for dsn in (world.v3, *world.nodes.values()):
        psql(dsn, f"DELETE FROM {META} WHERE {row(10, id)}" if dsn != world.v3 else
                  f"DELETE FROM group_messages WHERE id = {id}")
    assert world.check(status=0)["verdict"] == "green"
    for dsn in world.nodes.values():
        psql(dsn, f"DELETE FROM {META}")
    psql(world.v3, "DELETE FROM group_messages")
    assert world.check(status=0)["verdict"] == "green"


def test_lone_blobs_are_found_however_many_rows_there_are(world):
    add_message(world.v3, "a message")
    world.move()
    psql(world.nodes["alpha"], f"""
        SELECT ensure_gateway_parts_v3(12, 1);
        SET session_replication_role = replica;
        INSERT INTO {BLOB} SELECT 12, id, '' FROM generate_series(1, 17000) id;
        INSERT INTO {META} SELECT now(), 12, id, '', NULL, 0
        FROM generate_series(1, 17000) id WHERE id NOT IN (1, 16384, 16385, 17000)""")
    report = world.check("--list", 20000, status=3)
    assert {id for *_, id, what in named(report) if what == "meta_missing"} == {
        1, 16384, 16385, 17000}
    assert report["difference_count"] == 17000


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


def test_a_row_that_expired_since_the_run_may_be_gone(world):
    id = add_message(world.v3, "expired yesterday", age="61 days")
    world.tool("xmtp-migrate", "run", "--manifest", world.manifest, "--as-of", at(days=2))
    assert sums(world.check(status=0), "group_messages")["held"] == 1
    psql(world.nodes["beta"], f"DELETE FROM {META} WHERE {row(10, id)}")
    assert sums(world.check(status=0), "group_messages", "beta")["missing"] == 0


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
])
def test_complains_about_words_it_cannot_use(world, tool, words, complaint):
    ran = tool("xmtp-parity", "check", "--manifest", world.manifest, *words, status=2)
    assert complaint in ran.err
