"""xmtp-parity check names every way of tampering with a node exactly."""

import pathlib
import time

import pytest
from support.parity_world import (INSTALLATION, OTHER_GROUP, OTHER_ORIGINATOR_KEY, add_key_package,
                                  add_message, add_welcome, message, named, sums,
                                  world)  # noqa: F401
from support.servers import psql
from support.world import BLOB, META, row

# Each way gives the differences, as (table, id, what), that it makes on the node it is done to.


def live_envelope(originator, id, topic):
    """As far as anybody could tell: an originator envelope's layers around a topic, in hex."""
    def member(number, value):
        assert len(value) < 128
        return bytes([number << 3 | 2, len(value)]) + value

    payer = member(1, member(1, member(2, topic)))
    return member(1, bytes([1 << 3, originator, 2 << 3, id]) + member(4, payer)).hex()


def committed(dsn):
    """How many transactions there were, once all sessions that ended have told theirs: from then on
    each look adds as many as the one before."""
    steps, looks = [0, -1], [0]
    while steps[-1] != steps[-2]:
        time.sleep(0.3)
        looks.append(int(psql(dsn, "SELECT xact_commit FROM pg_stat_database WHERE datname ="
                                   " current_database()")))
        steps.append(looks[-1] - looks[-2])
    return looks[-1]


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


def delete_a_dead_letter(world, dsn):
    psql(dsn, f"DELETE FROM migration_dead_letter_box WHERE sequence_id = {world.rejected}")
    return {("group_messages", world.rejected, "dead_letter_missing")}


TAMPERINGS = [
    flip_a_byte_of_a_payload, delete_a_meta_row, delete_only_a_blob, spoil_a_blob,
    add_a_row_in_a_gap, add_a_row_above_all, swap_two_topics, forge_a_signature, move_an_expiry,
    move_a_gateway_time, set_the_clock_back, name_another_payer, name_no_payer,
    put_an_envelope_under_another_id, make_an_older_key_package_the_newest,
    make_two_key_packages_equally_new, put_garbage_in_front_of_a_key_package,
    keep_rows_of_originators_that_only_sign, add_a_blob_alone, delete_a_dead_letter,
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


def test_a_clock_far_ahead_is_worth_a_word(world):
    add_message(world.v3, "a message")
    world.move()
    words = ("xmtp-parity", "check", "--manifest", world.manifest)
    assert "no run in the books" not in world.tool(*words).err
    psql(world.nodes["alpha"], "UPDATE gateway_envelopes_latest SET"
                               " originator_sequence_id = 1000000")
    assert "'alpha': its clock for group_messages is at 1000000" in world.tool(*words).err


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


def test_live_uploads_are_looked_at_a_page_at_a_time(world):
    """Not one by one: after the cutover every installation uploads live, sooner or later."""
    alpha = world.nodes["alpha"]
    installations = [f"{place:04x}" * 16 for place in range(120)]
    now = "(extract(epoch FROM clock_timestamp()) * 1e9)::bigint"
    psql(world.v3, "".join(f"""
        INSERT INTO installations (id, created_at, updated_at, key_package, is_appended)
        VALUES ('\\x{one}', {now}, {now}, 'package', true);
        INSERT INTO key_packages (installation_id, key_package, created_at)
        VALUES ('\\x{one}', 'package', {now});""" for one in installations))
    world.move()
    psql(alpha, "SELECT ensure_gateway_parts_v3(100, 1);" + "".join(f"""
        INSERT INTO {META} VALUES (now() + interval '1 minute', 100, {place + 1}, '\\x03{one}', NULL,
            99999999999);
        INSERT INTO {BLOB} VALUES (100, {place + 1},
            '\\x{live_envelope(100, place + 1, bytes.fromhex("03" + one))}');"""
        for place, one in enumerate(installations)))
    before = committed(alpha)
    assert world.check(status=0)["verdict"] == "green"
    took = committed(alpha) - before
    assert took < 2 * len(installations), took


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
        SELECT ensure_gateway_parts_v3(12, band * 1000000) FROM unnest('{{0, 3, 4}}'::bigint[]) band;
        SET session_replication_role = replica;
        CREATE TEMP TABLE ids AS SELECT generate_series(1, 17000) AS id
            UNION SELECT generate_series(3000000, 3016383) UNION SELECT 3999999 UNION SELECT 4000000;
        INSERT INTO {BLOB} SELECT 12, id, '' FROM ids;
        INSERT INTO {META} SELECT now(), 12, id, '', NULL, 0
        FROM ids WHERE id NOT IN (1, 16384, 16385, 17000, 4000000)""")
    report = world.check("--list", 40000, status=3)
    assert {id for *_, id, what in named(report) if what == "meta_missing"} == {
        1, 16384, 16385, 17000, 4000000}
    assert report["difference_count"] == 17000 + 16384 + 2


def test_an_envelope_alone_is_no_row(world):
    """Neither what is planned under its id nor another node's row is taken for it."""
    id = add_message(world.v3, "a message")
    world.move()
    psql(world.nodes["alpha"], f"""
        SET session_replication_role = replica; DELETE FROM {META} WHERE {row(10, id)}""")
    report = world.check(status=3)
    assert named(report) == {("alpha", "group_messages", id, what)
                             for what in ("missing", "meta_missing")}
    assert sums(report, "group_messages")["missing"] == 1
    psql(world.v3, "DELETE FROM group_messages")
    assert named(world.check(status=3)) == {
        ("alpha", "group_messages", id, "meta_missing"),
        ("beta", "group_messages", id, "extra")}


def test_payers_are_told_apart_however_many_rows_there_are(world):
    """An address is looked up once where the same payer stands in row after row."""
    rows, payers = 17000, ["0x" + "1" * 40, "0x" + "2" * 40]
    psql(world.v3, f"""
        INSERT INTO group_messages (created_at, group_id, data, group_id_data_hash)
        SELECT now() - interval '1 day', '\\x{"a0" * 16}',
            '\\x{message("a0" * 16, "a message")}', sha256(n::text::bytea)
        FROM generate_series(1, {rows}) n""")
    psql(world.nodes["alpha"], f"""
        SELECT ensure_gateway_parts_v3(10, 1);
        INSERT INTO payers (address) VALUES ('{payers[0]}'), ('{payers[1]}');
        INSERT INTO {META} SELECT now(), 10, id, '', CASE WHEN id % 3 > 0 THEN id % 3 END, 0
        FROM generate_series(1, {rows}) id""")
    report = world.check("--node", "alpha", "--list", 10 * rows, status=3)
    assert {one["id"]: one["found"] for one in report["differences"] if one["what"] == "payer"} == {
        id: ["nobody", *payers][id % 3] for id in range(1, rows + 1)}


def test_a_node_is_read_page_by_page_and_each_page_once(world):
    """Leaves that nobody has analyzed yet: all that is left would be sorted for every page."""
    psql(world.nodes["alpha"], f"""
        SELECT count(ensure_gateway_parts_v3(10, g * 1000000)) FROM generate_series(0, 9) g;
        SET session_replication_role = replica;
        INSERT INTO {BLOB} SELECT 10, g / 10000 * 1000000 + g % 10000, 'x'
        FROM generate_series(0, 99999) g""")
    report = world.check("--node", "alpha", status=3)
    assert report["difference_count"] == 100000
    read = psql(world.nodes["alpha"], """
        SELECT sum(seq_tup_read) + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes
                                    WHERE relname LIKE 'gateway_envelopes_blob_o10_%')
        FROM pg_stat_user_tables WHERE relname LIKE 'gateway_envelopes_blob_o10_%'""")
    assert int(read) < 250000  # to find a page's end, and its rows
