"""xmtp-seed: rows, live writers, CSV files, and how it refuses."""

import shutil
import threading
import time

import pytest

from conftest import TESTS
from support import servers

TABLES = {"group_messages": "id", "welcome_messages": "id", "key_packages": "sequence_id",
          "inbox_log": "sequence_id", "installations": "id"}
SAMPLE = TESTS / "data" / "sample"
UNTIL = "2026-03-01T00:00:00Z"


def digest(dsn):
    """One line per table: the MD5 of all rows in order."""
    return [servers.psql(dsn, f"SELECT md5(string_agg(t::text, '' ORDER BY {key})) FROM {name} t")
            for name, key in TABLES.items()]


def count(dsn, table, condition="true"):
    return int(servers.psql(dsn, f"SELECT count(*) FROM {table} WHERE {condition}"))


# ---- rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["testnet", "hostile"])
def test_the_same_seed_gives_the_same_rows_and_another_seed_others(databases, shape):
    first, again, other = (
        digest(databases.v3(rows=600, seed=seed, shape=shape, until=UNTIL)) for seed in (5, 5, 6))
    assert first == again
    assert not set(first) & set(other)


def test_rows_are_spread_over_the_tables_like_a_real_network(databases):
    dsn = databases.v3(rows=4000, until=UNTIL)
    assert [count(dsn, name) for name in ("group_messages", "welcome_messages", "key_packages",
                                          "inbox_log")] == [2000, 1000, 600, 400]
    commits = count(dsn, "group_messages", "is_commit")
    assert 100 < commits < 220
    assert count(dsn, "group_messages", "is_commit IS NULL") > 100
    assert count(dsn, "group_messages", "sender_hmac IS NULL") > 100
    assert 50 < count(dsn, "welcome_messages", "message_type = 1") < 150
    assert count(dsn, "welcome_messages", "message_type = 1 AND wrapper_algorithm <> 1") == 0
    reused = servers.psql(dsn, "SELECT count(*) > count(DISTINCT group_id) FROM group_messages")
    assert reused == "t"


def test_every_package_belongs_to_an_installation_and_every_installation_has_its_package(databases):
    dsn = databases.v3(rows=4000)
    assert servers.psql(dsn, "SELECT count(*) FROM key_packages k LEFT JOIN installations i"
                             " ON i.id = k.installation_id WHERE i.id IS NULL") == "0"
    assert servers.psql(dsn, "SELECT count(*) FROM installations i LEFT JOIN key_packages k ON"
                             " (k.installation_id, k.key_package) = (i.id, i.key_package)"
                             " WHERE k.sequence_id IS NULL") == "0"


def test_some_installations_went_back_to_an_older_package(databases):
    dsn = databases.v3(rows=4000)
    assert int(servers.psql(dsn, "SELECT count(*) FROM installations i JOIN key_packages k ON"
                                 " (k.installation_id, k.key_package) = (i.id, i.key_package)"
                                 " WHERE EXISTS (SELECT FROM key_packages n"
                                 " WHERE n.installation_id = i.id"
                                 " AND n.sequence_id > k.sequence_id)")) > 3


def test_ids_have_gaps_and_the_sequences_go_on_behind_them(databases, tool):
    dsn = databases.v3(rows=2000)
    highest = int(servers.psql(dsn, "SELECT max(id) FROM group_messages"))
    assert highest > 1000
    assert int(servers.psql(dsn, "SELECT nextval('group_messages_id_seq')")) > highest
    tool("xmtp-seed", "rows", "--dsn", dsn, "--rows", "2000")
    assert count(dsn, "group_messages", f"id > {highest}") == 1000


def test_times_end_at_until_and_some_rows_are_older_than_the_retention(databases):
    dsn = databases.v3(rows=1000, until=UNTIL)
    assert servers.psql(dsn, "SELECT max(created_at) FROM group_messages") <= "2026-03-01 00:00:00"
    for days in (60, 90):
        assert count(dsn, "welcome_messages",
                     f"created_at + interval '{days} days' <= '{UNTIL}'") > 10


def test_the_hashes_are_those_that_v3_would_write(databases):
    dsn = databases.v3(rows=500)
    assert count(dsn, "group_messages", "group_id_data_hash <> sha256(group_id || data)") == 0
    assert count(dsn, "welcome_messages",
                 "installation_key_data_hash <> sha256(installation_key || data)") == 0


# ---- hostile rows ---------------------------------------------------------------------------------

RECENT = "created_at + interval '60 days' > '%s'" % UNTIL
RECENT_NS = "created_at > extract(epoch FROM timestamptz '%s') * 1000000000 - 60 * 86400e9" % UNTIL
# What each of them stands for in a hostile database, not expired after 60 days.
HOSTILE = {
    "sequence_id_out_of_range, low": ("group_messages", "id <= 0"),
    "sequence_id_out_of_range, high": ("welcome_messages", "id > 9223372036853999999"),
    "sequence_id_out_of_range, key package": ("key_packages", "sequence_id <= 0"),
    "sequence_id_out_of_range, identity update": ("inbox_log", "sequence_id <= 0"),
    "the highest id there is a place for": ("group_messages", "id = 9223372036853999999"),
    "data_empty": ("group_messages", "length(data) = 0 AND " + RECENT),
    "data_empty, welcome": ("welcome_messages", "length(data) = 0 AND " + RECENT),
    "group_id_length, 15": ("group_messages", "length(group_id) = 15 AND " + RECENT),
    "group_id_length, 32": ("group_messages", "length(group_id) = 32 AND " + RECENT),
    "group_id_length, 0": ("group_messages", "length(group_id) = 0 AND " + RECENT),
    "identifier_empty, welcome": ("welcome_messages", "length(installation_key) = 0 AND " + RECENT),
    "identifier_empty, key package": ("key_packages",
                                      "length(installation_id) = 0 AND " + RECENT_NS),
    "wrapper_algorithm_unknown": ("welcome_messages",
                                  "message_type = 0 AND wrapper_algorithm = 7 AND " + RECENT),
    "wrapper_algorithm_unknown, negative": ("welcome_messages",
                                            "wrapper_algorithm < 0 AND " + RECENT),
    "wrapper_algorithm_unknown, pointer": ("welcome_messages", "message_type = 1 AND"
                                           " wrapper_algorithm IN (0, 2) AND " + RECENT),
    "message_type_unknown": ("welcome_messages", "message_type NOT IN (0, 1) AND " + RECENT),
    "key_package_empty": ("key_packages", "length(key_package) = 0 AND " + RECENT_NS),
    "inbox_id_length": ("inbox_log", "length(inbox_id) IN (31, 33)"),
    "inbox id empty": ("inbox_log", "length(inbox_id) = 0"),
    "identity_update_empty": ("inbox_log", "length(identity_update_proto) = 0"),
    "identity_update_unparsable": ("inbox_log",
                                   r"substr(identity_update_proto, 1, 1) = '\x00'"),
    "mls_unparsable": ("group_messages", "is_commit IS NULL AND"
                       r" substr(data, 1, 2) = '\x0002' AND " + RECENT),
    "mls_unparsable, the column decides": ("group_messages", "is_commit IS NOT NULL AND"
                                           " length(data) BETWEEN 1 AND 30 AND " + RECENT),
    "a length that is not minimal": ("group_messages",
                                     r"substr(data, 5, 2) = '\x4010' AND " + RECENT),
    "payload_too_large": ("group_messages", "is_commit AND length(data) > 130048"),
    "payload_too_large, identity update": ("inbox_log", "length(identity_update_proto) > 130048"),
    "is_commit_null": ("group_messages", "is_commit IS NULL AND " + RECENT),
    "is_commit_disagrees": ("group_messages", r"NOT is_commit AND substr(data, 1, 5) ="
                            r" '\x0001000110' AND substr(data, 36, 1) = '\x03'"),
    "time_out_of_range": ("group_messages", "created_at = 'infinity'"),
    "time_out_of_range, welcome": ("welcome_messages", "created_at = 'infinity'"),
    "time_out_of_range, key package": ("key_packages", "created_at = 9223372036854775807"),
    "minus infinity": ("group_messages", "created_at = '-infinity'"),
    "the year 1": ("welcome_messages", "created_at = '0001-01-01'"),
    "an id that the sequence has not reached": ("group_messages", "id = 5000000000000"),
    "a blocker": ("installations", "is_appended IS NOT TRUE AND id NOT IN"
                  " (SELECT installation_id FROM key_packages)"),
}


@pytest.fixture(scope="module")
def hostile(server, tool):
    """The smallest hostile database there is."""
    dsn = server.create_database()
    tool("xmtp-seed", "schema", "v3", "--dsn", dsn)
    small = tool("xmtp-seed", "rows", "--dsn", dsn, "--rows", 100, "--shape", "hostile", status=2)
    least = small.err.split("--rows ")[1].split()[0]
    made = tool("xmtp-seed", "rows", "--dsn", dsn, "--rows", least, "--shape", "hostile", "--until",
                UNTIL, "--json").json
    yield dsn, made
    server.drop_database(dsn)


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_database_has(hostile, what):
    assert count(hostile[0], *HOSTILE[what]) > 0


def test_a_hostile_database_has_two_rows_of_4_megabytes(hostile):
    assert count(hostile[0], "group_messages", "length(data) > 4194304") == 2


def test_a_hostile_database_repeats_content_across_groups_only(hostile):
    repeated = servers.rows(hostile[0], "SELECT count(*), count(DISTINCT group_id)"
                            " FROM group_messages WHERE length(data) > 100"
                            " GROUP BY data HAVING count(*) > 1")
    assert repeated and all(rows == groups for rows, groups in repeated)


def test_every_fault_is_told_in_the_account(hostile):
    faults = hostile[1]["faults"]
    assert len(faults) > 50 and all(number >= 1 for number in faults.values())


def test_a_larger_hostile_database_has_several_of_each_fault(databases, tool):
    dsn = databases.v3()
    made = tool("xmtp-seed", "rows", "--dsn", dsn, "--rows", 5000, "--shape", "hostile",
                "--json").json
    assert sum(made["rows"].values()) == 5000
    once = {"commit_huge", "application_huge"}
    assert {name for name, number in made["faults"].items() if number < 2} == once


def test_hostile_rows_can_be_added_to_hostile_rows(databases, tool):
    dsn = databases.v3(rows=600, shape="hostile")
    tool("xmtp-seed", "rows", "--dsn", dsn, "--rows", 600, "--shape", "hostile")
    tables = ("group_messages", "welcome_messages", "key_packages", "inbox_log")
    assert sum(count(dsn, table) for table in tables) == 1200


# ---- live -----------------------------------------------------------------------------------------


class Watcher(threading.Thread):
    """Reads as a follower by highest id would, and notes the ids that it would miss."""

    def __init__(self, dsn):
        super().__init__()
        self._dsn = dsn
        self.done = threading.Event()
        self.late = set()

    def run(self):
        seen, highest = set(), 0
        while not self.done.is_set():
            now = {int(row[0]) for row in servers.rows(self._dsn, "SELECT id FROM group_messages")}
            self.late |= {number for number in now - seen if number < highest}
            seen, highest = now, max(now, default=0)
            time.sleep(0.02)


def test_live_writers_commit_out_of_the_order_of_ids_and_roll_some_back(databases, tool):
    dsn = databases.v3()
    watcher = Watcher(dsn)
    watcher.start()
    ran = tool("xmtp-seed", "live", "--dsn", dsn, "--rate", 100, "--for", 3, "--writers", 8,
               "--hold-ms", 100, "--rollback-percent", 20, "--json").json
    watcher.done.set()
    watcher.join()
    assert watcher.late, "every row came in the order of its id"
    assert ran["out_of_order"] > 0 and ran["rolled_back"] > 10
    for table, key in list(TABLES.items())[:4]:
        assert count(dsn, table) == ran["committed"][table]
        assert int(servers.psql(dsn, f"SELECT max({key}) FROM {table}")) == ran["highest"][table]
    gaps = int(servers.psql(dsn, "SELECT max(id) - count(*) FROM group_messages"))
    assert gaps > 0


def test_live_writers_upload_older_packages_again(databases, tool):
    dsn = databases.v3()
    ran = tool("xmtp-seed", "live", "--dsn", dsn, "--rate", 400, "--for", 3, "--hold-ms", 1,
               "--rollback-percent", 0, "--json").json
    assert ran["uploaded_again"] > 0
    assert ran["rolled_back"] == 0
    assert int(servers.psql(dsn, "SELECT count(*) FROM installations i WHERE i.key_package <>"
                                 " (SELECT key_package FROM key_packages k WHERE"
                                 " k.installation_id = i.id ORDER BY sequence_id DESC LIMIT 1)")) > 0


def test_live_keeps_to_its_rate(databases, tool):
    dsn = databases.v3()
    start = time.monotonic()
    ran = tool("xmtp-seed", "live", "--dsn", dsn, "--rate", 50, "--for", 2, "--hold-ms", 0,
               "--rollback-percent", 0, "--json").json
    assert 1.8 < time.monotonic() - start < 4
    assert 80 <= sum(ran["committed"].values()) + ran["uploaded_again"] <= 100


def test_live_tells_what_it_wrote_when_it_is_interrupted(databases, start_tool):
    dsn = databases.v3()
    running = start_tool("xmtp-seed", "live", "--dsn", dsn, "--rate", 50, "--for", 600)
    while count(dsn, "group_messages") < 5:
        time.sleep(0.05)
    running.terminate()
    out, err = running.communicate(timeout=10)
    assert "group_messages" in out, err


# ---- csv ------------------------------------------------------------------------------------------


def test_the_sample_is_loaded_row_by_row_with_defaults_for_what_it_lacks(databases, tool):
    dsn = databases.v3()
    ran = tool("xmtp-seed", "csv", "--dsn", dsn, SAMPLE, "--json").json
    lines = {path.stem: len(path.read_text().splitlines()) - 1 for path in SAMPLE.glob("*.csv")}
    assert ran["rows"] == lines
    assert {name: count(dsn, name) for name in lines} == lines
    assert count(dsn, "welcome_messages", "message_type <> 0") == 0
    assert count(dsn, "group_messages", "length(sender_hmac) = 0") == 0
    assert count(dsn, "installations") == 0
    assert servers.psql(dsn, "SELECT created_at FROM group_messages WHERE id = 1") == (
        "2024-06-01 10:32:34.089")
    highest = int(servers.psql(dsn, "SELECT max(id) FROM welcome_messages"))
    assert int(servers.psql(dsn, "SELECT nextval('welcome_messages_id_seq')")) == highest + 1


def test_a_missing_file_is_noted_and_its_table_stays_empty(databases, tool, tmp_path):
    dsn = databases.v3()
    shutil.copy(SAMPLE / "inbox_log.csv", tmp_path)
    ran = tool("xmtp-seed", "csv", "--dsn", dsn, tmp_path)
    assert "key_packages.csv" in ran.err
    assert count(dsn, "inbox_log") > 0 and count(dsn, "key_packages") == 0


def test_an_unknown_column_is_named_with_its_file_and_nothing_is_loaded(databases, tool, tmp_path):
    dsn = databases.v3()
    shutil.copy(SAMPLE / "group_messages.csv", tmp_path)
    (tmp_path / "inbox_log.csv").write_text("sequence_id,inbox_idd\n1,\\x00\n")
    ran = tool("xmtp-seed", "csv", "--dsn", dsn, tmp_path, status=2)
    assert "inbox_log.csv" in ran.err and "inbox_idd" in ran.err
    assert count(dsn, "group_messages") == 0


@pytest.mark.parametrize("text", ["", "\n", 'id,"; DROP TABLE inbox_log; --"\n'])
def test_a_header_that_names_no_columns_is_an_error(databases, tool, tmp_path, text):
    dsn = databases.v3()
    (tmp_path / "group_messages.csv").write_text(text)
    ran = tool("xmtp-seed", "csv", "--dsn", dsn, tmp_path, status=2)
    assert "group_messages.csv" in ran.err


def test_a_row_that_the_server_refuses_is_told_with_its_file(databases, tool, tmp_path):
    dsn = databases.v3()
    (tmp_path / "inbox_log.csv").write_text("sequence_id,inbox_id\nseven,\\x00\n")
    ran = tool("xmtp-seed", "csv", "--dsn", dsn, tmp_path, status=None)
    assert ran.status != 0 and "inbox_log.csv" in ran.err and "seven" in ran.err


# ---- usage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [
    ["schema", "v4", "--dsn", "dbname=x"],
    ["schema"],
    ["rows", "--rows", "10"],
    ["rows", "--dsn", "env:XMTP_NOT_SET", "--rows", "10"],
    ["rows", "--dsn", "dbname=x", "--rows", "0"],
    ["rows", "--dsn", "dbname=x", "--rows", "10", "--shape", "round"],
    ["rows", "--dsn", "dbname=x", "--rows", "10", "--until", "yesterday"],
    ["rows", "--dsn", "dbname=x", "--rows", "10", "--until", "1970-01-02T00:00:00Z"],
    ["live", "--dsn", "dbname=x", "--rate", "0", "--for", "1"],
    ["live", "--dsn", "dbname=x", "--rate", "1", "--for", "1", "--writers", "1000"],
    ["live", "--dsn", "dbname=x", "--rate", "1", "--for", "1", "--rollback-percent", "101"],
    ["csv", "--dsn", "dbname=x"],
    ["csv", "--dsn", "dbname=x", "no-such-folder"],
    ["rows", "--dsn", "dbname=x", "--no-such-option"],
], ids=" ".join)
def test_wrong_words_are_a_usage_error(tool, words):
    assert tool("xmtp-seed", *words, status=2).err


def test_the_dsn_may_come_from_the_environment(databases, tool):
    dsn = databases.empty()
    tool("xmtp-seed", "schema", "v3", "--dsn", "env:XMTP_V3_DSN", env={"XMTP_V3_DSN": dsn})
    assert count(dsn, "group_messages") == 0


def test_rows_without_the_tables_say_so(databases, tool):
    ran = tool("xmtp-seed", "rows", "--dsn", databases.empty(), "--rows", 10, status=1)
    assert "group_messages" in ran.err
