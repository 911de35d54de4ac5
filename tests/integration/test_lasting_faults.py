"""What breaks in the middle of a run and does not pass by itself: it stops and says so, and once it
is mended the run goes on to where it would have come."""

import time

import pytest
from support.servers import ServerError, psql
from support.world import META, assert_closes, count, digest_of_node, world  # noqa: F401

UNTIL = "2026-01-01T00:00:00Z"

# Where, what breaks, what mends it, and what is told of it. Rows come at a rate that leaves time for
# it: the table's turn is later.
FAULTS = {
    "source lost a column": (
        "v3", "ALTER TABLE key_packages RENAME key_package TO gone",
        "ALTER TABLE key_packages RENAME gone TO key_package",
        ("source", "column t.key_package does not exist")),
    "source lost a table": (
        "v3", "ALTER TABLE inbox_log RENAME TO gone", "ALTER TABLE gone RENAME TO inbox_log",
        ("source", '"inbox_log" does not exist', "is this the right database")),
    "source took a right away": (
        "v3", "REVOKE SELECT ON key_packages FROM fault_reader",
        "GRANT SELECT ON key_packages TO fault_reader",
        ("source", "permission denied for table key_packages", "_role.sql")),
    "source hides rows": (
        "v3", "ALTER TABLE key_packages ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE key_packages DISABLE ROW LEVEL SECURITY",
        ("source", "row-level security", "BYPASSRLS")),
    "node lost a column": (
        "beta", f"ALTER TABLE {META} RENAME topic TO gone",
        f"ALTER TABLE {META} RENAME gone TO topic",
        ("node 'beta'", 'column "topic"', "does not exist")),
    "node took a right away": (
        "beta", "ALTER TABLE migration_tracker OWNER TO postgres; REVOKE ALL ON migration_tracker"
        " FROM fault_writer", "GRANT ALL ON migration_tracker TO fault_writer",
        ("node 'beta'", "permission denied for table migration_tracker", "_role.sql")),
    "node's books are closed": (
        "beta", "REVOKE INSERT ON xmtp_migrate.counts FROM fault_writer",
        "GRANT INSERT ON xmtp_migrate.counts TO fault_writer",
        ("node 'beta'", "permission denied for table counts")),
    "an operator detached a band": (
        "beta", f"ALTER TABLE {META}_o13 DETACH PARTITION {META}_o13_s0_1000000",
        f"ALTER TABLE {META}_o13 ATTACH PARTITION {META}_o13_s0_1000000 FOR VALUES FROM (0) TO"
        " (1000000)", ("node 'beta'", f"{META}_o13_s0_1000000 is there, but is no partition",
                       "ATTACH PARTITION")),
    "node's disk is full": (
        "beta", """CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
            CREATE TRIGGER full_disk BEFORE INSERT ON xmtp_migrate.parts FOR EACH ROW EXECUTE
            FUNCTION full_disk()""", "DROP FUNCTION full_disk CASCADE",
        ("node 'beta'", "No space left on device", "make room")),
}


@pytest.fixture
def roles(server):
    """Roles that are no superusers."""
    def drop():
        for role in ("fault_reader", "fault_writer"):
            psql(server.dsn(), f"DROP ROLE IF EXISTS {role}")

    drop()
    psql(server.dsn(), "CREATE ROLE fault_reader LOGIN; CREATE ROLE fault_writer LOGIN")
    yield "fault_reader", "fault_writer"
    # Databases are dropped with the world; what is left of rights is not.
    try:
        drop()
    except ServerError:
        pass


@pytest.fixture
def limited(world, roles):
    """As roles that own nothing of V3, and all of beta."""
    reader, writer = roles
    world.seed(900, seed=21, until=UNTIL)
    psql(world.v3, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader};"
                   f" GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {reader}")
    name = psql(world.beta, "SELECT current_database()")
    psql(world.beta, f"""
        SELECT ensure_gateway_parts_v3(13, 1);
        GRANT CREATE ON DATABASE {name} TO {writer};
        DO $$ DECLARE t text; BEGIN
        FOR t IN SELECT oid::regclass FROM pg_class WHERE relnamespace = 'public'::regnamespace
            AND relkind IN ('r', 'p') LOOP
            EXECUTE format('ALTER TABLE %s OWNER TO {writer}', t);
        END LOOP; END $$;
        ALTER SCHEMA public OWNER TO {writer}""")
    nodes = {**world.nodes, "beta": world.beta.replace("user=postgres", f"user={writer}")}
    world.write(source=world.v3.replace("user=postgres", f"user={reader}"), nodes=nodes)
    return world


def wait_for_rows(dsn):
    while psql(dsn, "SELECT to_regclass('xmtp_migrate.parts') IS NULL") == "t" or \
            count(dsn, "xmtp_migrate.parts") == 0:
        time.sleep(0.02)


@pytest.mark.parametrize("fault", FAULTS)
def test_it_stops_and_says_so_and_goes_on_when_that_is_mended(limited, start_tool, fault):
    world = limited
    where, breaks, mends, told = FAULTS[fault]
    dsn = getattr(world, where)
    running = start_tool("xmtp-migrate", "run", "--manifest", world.manifest, "--as-of", UNTIL,
                         "--max-rate", "200", "--source-connections", "1")
    wait_for_rows(world.beta)
    assert running.poll() is None
    psql(dsn, breaks)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 1, said
    for text in told:
        assert text in said, said
    assert 0 < count(world.beta, META if "column" not in breaks else "payers")
    psql(dsn, mends)
    account = world.run("--as-of", UNTIL)
    assert_closes(account)
    assert account["verdict"] == "green"
    assert digest_of_node(world.alpha) == digest_of_node(world.beta)
    world.parity()


def test_a_node_that_was_made_anew_gets_all_of_the_run(world):
    """The same id, an empty database."""
    world.seed(300, until=UNTIL)
    account = world.run("--as-of", UNTIL)
    world.nodes["beta"] = world.databases.node(200)
    world.write()
    again = world.run("--as-of", UNTIL)
    assert again == account
    assert digest_of_node(world.alpha) == digest_of_node(world.beta)
    world.parity()
