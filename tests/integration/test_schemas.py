"""The trial databases against what PostgreSQL says about real ones."""

import re

import pytest

from conftest import TESTS
from support import servers

CATALOGUES = TESTS / "data" / "catalogues"
SQL = TESTS.parent / "schemas" / "sql"

FUNCTIONS = """
    SELECT proname, pg_get_function_arguments(oid), pg_get_function_result(oid)
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace"""
SEQUENCES = """
    SELECT sequencename, cache_size, start_value FROM pg_sequences WHERE schemaname = 'public'"""


def squeezed(line):
    return re.sub(r"\s+", " ", line).strip(" |")


def split_tables(listing):
    """The lines of each table's listing, by the table's name, with the spacing taken out."""
    tables, lines = {}, None
    for line in listing.split("\n"):
        title = re.match(r'\s*(?:Partitioned t|T)able "public\.(\w+)"', line)
        if title:
            lines = tables.setdefault(title.group(1), [])
        elif not line.strip():
            lines = None
        elif lines is not None and not re.fullmatch(r"[-+ ]+", line):
            lines.append(squeezed(line))
    return tables


def expected(name):
    return (CATALOGUES / name).read_text()


def expected_functions(listing):
    lines = listing.split("functions (")[1].split("\n\n")[0].split("\n")[1:]
    return sorted(re.sub(r"\s*\|\s*", "|", line) for line in lines if line.strip())


def functions(dsn):
    return sorted("|".join(row) for row in servers.rows(dsn, FUNCTIONS))


def describe(dsn, table):
    detail = "\\d+" if re.search(r"_s\d+_\d+$", table) else "\\d"
    return split_tables(servers.psql_listing(dsn, f"{detail} public.{table}"))[table]


def psql_writes_the_listing_otherwise():
    """psql itself words \\d differently from one major version to the next."""
    return "(PostgreSQL) 15." not in servers.client_version()


@pytest.fixture
def node_with_a_band(databases):
    dsn = databases.node()
    servers.psql(dsn, "SELECT ensure_gateway_parts_v3(11, 150000000)")
    return dsn


@pytest.mark.skipif(psql_writes_the_listing_otherwise(), reason="the listing is psql 15's")
def test_every_table_of_v3_is_as_a_real_server_lists_it(databases):
    dsn = databases.v3()
    for table, lines in split_tables(expected("v3.txt")).items():
        assert describe(dsn, table) == lines, table


@pytest.mark.skipif(psql_writes_the_listing_otherwise(), reason="the listing is psql 15's")
def test_every_table_of_a_node_is_as_a_real_server_lists_it(node_with_a_band):
    tables = split_tables(expected("node.txt"))
    assert "gateway_envelopes_meta_o11_s150000000_151000000" in tables
    for table, lines in tables.items():
        assert describe(node_with_a_band, table) == lines, table


def test_the_functions_of_v3_have_the_real_names_arguments_and_results(databases):
    assert functions(databases.v3()) == expected_functions(expected("v3.txt"))


def test_the_functions_of_a_node_have_the_real_names_arguments_and_results(databases):
    assert functions(databases.node()) == expected_functions(expected("node.txt"))


def test_the_sequences_of_v3_are_the_real_ones(databases):
    listed = expected("v3.txt").split("sequences (")[1].strip().split("\n")[1:]
    assert sorted("|".join(row) for row in servers.rows(databases.v3(), SEQUENCES)) == sorted(listed)


def test_a_new_node_is_at_level_23_and_has_migrated_nothing(databases):
    dsn = databases.node(300)
    assert servers.rows(dsn, "SELECT version, dirty FROM schema_migrations") == [["23", "f"]]
    assert servers.rows(dsn, "SELECT node_id, length(public_key) FROM node_info") == [["300", "33"]]
    assert servers.rows(dsn, "SELECT source_table, last_migrated_id FROM migration_tracker"
                        " ORDER BY 1") == [
        [name, "0"] for name in ("commit_messages", "group_messages", "inbox_log", "key_packages",
                                 "welcome_messages")]


def test_existing_tables_are_refused_and_stay_as_they_are(databases, tool):
    dsn = databases.v3(rows=50)
    ran = tool("xmtp-seed", "schema", "v3", "--dsn", dsn, status=1)
    assert "exists already" in ran.err
    assert servers.psql(dsn, "SELECT count(*) > 0 FROM group_messages") == "t"


# ---- behaviour of the functions -------------------------------------------------------------------

BATCH = r"""
    SELECT * FROM insert_gateway_envelope_batch_v3(
        '{%s}'::int[], '{%s}'::bigint[], array_fill('\x01'::bytea, '{%d}'),
        array_fill(%s::int, '{%d}'),
        array_fill('2026-01-01 00:01:30'::timestamp, '{%d}'), array_fill(99::bigint, '{%d}'),
        array_fill('\x02'::bytea, '{%d}'), array_fill(7::bigint, '{%d}'),
        array_fill(true, '{%d}'), array_fill(true, '{%d}'))"""


def insert_batch(dsn, originators, sequences, payer):
    count = len(sequences)
    sql = BATCH % (",".join(map(str, originators)), ",".join(map(str, sequences)), count, payer,
                   count, count, count, count, count, count, count)
    return [int(number) for number in servers.rows(dsn, sql)[0]]


@pytest.fixture
def node_with_payer(databases):
    dsn = databases.node()
    servers.psql(dsn, "SELECT ensure_gateway_parts_v3(10, 5);"
                      "SELECT ensure_gateway_parts_v3(11, 5);"
                      "INSERT INTO payers (address) VALUES ('0x00')")
    return dsn


def test_a_batch_counts_only_the_rows_that_it_really_inserted(node_with_payer):
    dsn = node_with_payer
    assert insert_batch(dsn, [10, 10, 11], [1, 2, 5], 1) == [3, 3, 2, 2]
    assert insert_batch(dsn, [10, 10, 10], [2, 3, 3], 1) == [1, 1, 1, 1]
    assert insert_batch(dsn, [10, 10], [2, 3], 1) == [0, 0, 0, 0]
    assert servers.rows(dsn, "SELECT originator_id, minutes_since_epoch, spend_picodollars,"
                        " last_sequence_id, message_count FROM unsettled_usage ORDER BY 1") == [
        ["10", "29453761", "21", "3", "3"], ["11", "29453761", "7", "5", "1"]]
    assert servers.rows(dsn, "SELECT originator_id, num_messages FROM originator_congestion"
                        " ORDER BY 1") == [["10", "3"], ["11", "1"]]


def test_a_batch_without_payers_counts_no_usage(node_with_payer):
    assert insert_batch(node_with_payer, [10], [1], "NULL") == [1, 1, 0, 1]


def test_the_vector_clock_only_rises(node_with_payer):
    dsn = node_with_payer
    insert = ("INSERT INTO gateway_envelopes_meta (gateway_time, originator_node_id,"
              " originator_sequence_id, topic, expiry) VALUES ('%s', 10, %d, '', 0)")
    latest = "SELECT originator_sequence_id, gateway_time FROM gateway_envelopes_latest"
    servers.psql(dsn, insert % ("2026-01-02", 7))
    servers.psql(dsn, insert % ("2026-01-03", 3))
    assert servers.rows(dsn, latest) == [["7", "2026-01-02 00:00:00"]]
    servers.psql(dsn, insert % ("2026-01-01", 8))
    assert servers.rows(dsn, latest) == [["8", "2026-01-01 00:00:00"]]


def test_only_empty_leaves_below_the_newest_are_prunable(databases):
    dsn = databases.node()
    for band in (0, 1, 2, 3):
        servers.psql(dsn, f"SELECT ensure_gateway_parts_v3(10, {band}000000)")
    servers.psql(dsn, "INSERT INTO gateway_envelopes_meta (originator_node_id,"
                      " originator_sequence_id, topic, expiry) VALUES (10, 1000001, '', 0)")
    assert servers.rows(dsn, "SELECT tablename, band_start FROM get_prunable_meta_partitions()") == [
        ["gateway_envelopes_meta_o10_s0_1000000", "0"],
        ["gateway_envelopes_meta_o10_s2000000_3000000", "2000000"]]


def test_the_last_whole_band_can_be_made_and_making_a_band_twice_is_fine(databases):
    dsn = databases.node()
    for _ in range(2):
        servers.psql(dsn, "SELECT ensure_gateway_parts_v3(13, 9223372036853999999)")
    assert servers.psql(dsn, "SELECT to_regclass('gateway_envelopes_blob_o13"
                             "_s9223372036853000000_9223372036854000000') IS NOT NULL") == "t"


def test_a_dead_letter_is_replaced_and_removed(databases):
    dsn = databases.node()
    put = "SELECT reason, retryable FROM insert_migration_dead_letter_box('inbox_log', 5, '', '%s', %s)"
    assert servers.rows(dsn, put % ("first", "true")) == [["first", "t"]]
    assert servers.rows(dsn, put % ("second", "false")) == [["second", "f"]]
    drop = "SELECT delete_migration_dead_letter_box('inbox_log', 5)"
    assert [servers.psql(dsn, drop), servers.psql(dsn, drop)] == ["t", "f"]


def test_the_functions_of_v3_insert_one_row_each(databases):
    dsn = databases.v3()
    assert servers.psql(dsn, r"SELECT id, is_commit FROM insert_group_message_v3('\x01', '\x02',"
                             r" '\x03', NULL, true, false)") == "1|f"
    assert servers.psql(dsn, r"SELECT id, message_type FROM insert_welcome_pointer_message_v1("
                             r"'\x01', '\x02', '\x03', '\x04', 1::smallint)") == "1|1"
    assert servers.psql(dsn, r"SELECT sequence_id FROM insert_inbox_log('\x01', 5, '\x02')") == "1"


# ---- roles ----------------------------------------------------------------------------------------


def as_role(dsn, role):
    return re.sub(r"user=\S+", f"user={role}", dsn)


@pytest.fixture
def role(server, databases):
    """Names roles for one test, and removes them before its databases go."""
    named, used = [], []

    def name(text, dsn):
        named.append(text)
        used.append(dsn)
        return text

    yield name
    for text, dsn in zip(reversed(named), reversed(used)):
        servers.psql(dsn, f'DROP OWNED BY "{text}" CASCADE; DROP ROLE "{text}"')


def test_the_source_role_reads_and_cannot_write(databases, role):
    dsn = databases.v3(rows=50)
    reader = role("trial_reader", dsn)
    servers.psql(dsn, file=SQL / "source_role.sql", variables={"role": reader})
    mine = as_role(dsn, reader)
    for table in ("group_messages", "welcome_messages", "key_packages", "inbox_log",
                  "installations"):
        servers.psql(mine, f"SELECT count(*) FROM {table}")
    servers.psql(mine, "SELECT last_value, is_called FROM inbox_log_sequence_id_seq")
    for sql in ("DELETE FROM inbox_log", "SELECT count(*) FROM commit_log_v2",
                "SET transaction_read_only = off; DELETE FROM inbox_log"):
        with pytest.raises(servers.ServerError):
            servers.psql(mine, sql)


def test_the_node_role_does_what_a_migrator_does_and_no_more(databases, role):
    dsn = databases.empty()
    owner = role("trial_owner", dsn)
    servers.psql(dsn, f"CREATE ROLE {owner} LOGIN; GRANT ALL ON SCHEMA public TO {owner}")
    theirs = as_role(dsn, owner)
    servers.psql(theirs, file=SQL / "node.sql")
    migrator = role("trial_migrator", dsn)
    servers.psql(dsn, file=SQL / "node_role.sql", variables={"role": migrator, "owner": owner})
    mine = as_role(dsn, migrator)
    servers.psql(mine, "SELECT ensure_gateway_parts_v3(10, 1);"
                       "INSERT INTO payers (address) VALUES ('0x01');"
                       "CREATE TABLE xmtp_migrate.journal (id int);"
                       "CREATE TEMPORARY TABLE staging (id int);"
                       "UPDATE migration_tracker SET last_migrated_id = 1;"
                       "SELECT node_id FROM node_info; SELECT version FROM schema_migrations")
    assert insert_batch(mine, [10], [1], 1) == [1, 1, 1, 1]
    assert servers.psql(dsn, "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication"
                             f" FROM pg_roles WHERE rolname = '{migrator}'") == "f"
