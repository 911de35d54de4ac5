"""A V3 database, nodes and a manifest: what most integration tests begin with.

A test file asks for the fixture by `from support.world import world  # noqa: F401`.
"""

import contextlib
import json
import subprocess

import pytest

from .servers import client, psql

META, BLOB = "gateway_envelopes_meta", "gateway_envelopes_blob"
TABLES = {"group_messages": "id", "welcome_messages": "id", "key_packages": "sequence_id",
          "inbox_log": "sequence_id"}
GROUP = "a0" * 16
INSTALLATION = "c0" * 32


def message(group, text):
    """An MLS private message that is no commit, in hex."""
    return "00010002" + "10" + group + "00" * 8 + "01" + text.encode().hex()


def insert_message(text, group=GROUP, id=None, is_commit="false"):
    """The statement that adds a message, without its semicolon."""
    return f"""
        INSERT INTO group_messages ({"id, " if id is not None else ""}created_at, group_id, data,
            group_id_data_hash, is_commit)
        VALUES ({f"{id}, " if id is not None else ""}now() - interval '1 day', '\\x{group}',
            '\\x{message(group, text)}', sha256('{group}{text}'), {is_commit})"""


def add_message(dsn, text, **options):
    """Adds a message to V3; gives its id."""
    return int(psql(dsn, insert_message(text, **options) + " RETURNING id"))


def digest_of_node(dsn):
    """What a node holds of ours, without what depends on the moment it was written."""
    return psql(dsn, f"""
        SELECT md5(string_agg(md5(row(m.gateway_time, m.originator_node_id,
            m.originator_sequence_id, m.topic, p.address, m.expiry, b.originator_envelope)::text),
            '' ORDER BY m.originator_node_id, m.originator_sequence_id))
        FROM {META} m LEFT JOIN {BLOB} b USING (originator_node_id, originator_sequence_id)
        LEFT JOIN payers p ON p.id = m.payer_id;
        SELECT source_table, last_migrated_id FROM migration_tracker ORDER BY 1;
        SELECT originator_node_id, originator_sequence_id, gateway_time
        FROM gateway_envelopes_latest ORDER BY 1;
        SELECT source_table, sequence_id, md5(payload), reason, retryable
        FROM migration_dead_letter_box ORDER BY 1, 2;
        SELECT payer_id, originator_id, minutes_since_epoch, spend_picodollars, last_sequence_id,
            message_count FROM unsettled_usage ORDER BY 1, 2, 3""")


@contextlib.contextmanager
def held(dsn, what):
    """A session that holds what another will wait for."""
    holder = subprocess.Popen([client("psql"), "-XAtq", "-d", dsn], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    try:
        holder.stdin.write(f"BEGIN; {what}; SELECT 'held';\n")
        holder.stdin.flush()
        while holder.stdout.readline() != "held\n":
            assert holder.poll() is None
        yield
    finally:
        holder.kill()
        holder.communicate()


def chain_bundle(manifest, account):
    """Where a run put the chain-bound envelopes."""
    return manifest.parent / f"{account['network']}-chain-{account['run']}"


def count(dsn, table, condition="true"):
    return int(psql(dsn, f"SELECT count(*) FROM {table} WHERE {condition}"))


def row(originator, id):
    return f"originator_node_id = {originator} AND originator_sequence_id = {id}"


def assert_closes(account):
    """Every sum of an account's document, added up here once more."""
    rejected = 0
    for name, kind in account["kinds"].items():
        states = kind.get("expired", 0) + kind["rejected"] + kind.get("for_nodes", 0) + \
            kind.get("for_chain", 0)
        assert kind["counted"] == states, name
        for node in kind.get("nodes", {}).values():
            assert kind["for_nodes"] == node["loaded"] + node["already_there"], name
        if "for_chain" in kind:
            assert kind["for_chain"] == kind["waiting_for_chain"] + kind["on_chain"], name
        rejected += kind["rejected"]
    assert rejected == sum(account["rejects"].values())


def assert_told(ran, *subjects):
    """One error with its subjects, and a hint."""
    for subject in subjects:
        assert subject in ran.err, ran.err
    assert "hint:" in ran.err, ran.err
    assert ran.out == ""


class World:
    """A V3 database and the nodes alpha and beta; more by node()."""

    def __init__(self, databases, manifest, tool, folder):
        self.databases, self.tool, self.folder = databases, tool, folder
        self._manifest = manifest
        self.v3 = databases.v3()
        self.nodes = {}
        self.node("alpha")
        self.node("beta")
        self.write()

    @property
    def alpha(self):
        return self.nodes["alpha"]

    @property
    def beta(self):
        return self.nodes["beta"]

    def node(self, name):
        self.nodes[name] = self.databases.node(100 * (len(self.nodes) + 1))

    def write(self, source=None, nodes=None, **members):
        """Writes the manifest anew; returns its path."""
        self.manifest = self._manifest(source or self.v3, nodes or self.nodes, **members)
        return self.manifest

    def edit(self, change):
        """change(document) alters the manifest's document."""
        document = json.loads(self.manifest.read_text())
        change(document)
        self.manifest.write_text(json.dumps(document, indent=2))

    def seed(self, rows, **options):
        words = [word for name, value in options.items()
                 for word in ("--" + name.replace("_", "-"), value)]
        self.tool("xmtp-seed", "rows", "--dsn", self.v3, "--rows", rows, *words)

    def migrate(self, *words, status=0, **options):
        """xmtp-migrate with the manifest and --json; gives how it ran."""
        return self.tool("xmtp-migrate", *words, "--manifest", self.manifest, "--json",
                         status=status, **options)

    def run(self, *words, status=0, **options):
        """xmtp-migrate run; gives the account, or how it ran when there is none."""
        ran = self.migrate("run", *words, status=status, **options)
        if ran.status not in (0, 3, 4):
            return ran
        if ran.status != 3:
            assert_closes(ran.json)
        return ran.json

    def stage(self, name, *words, status=0, **options):
        """xmtp-export, xmtp-transform or xmtp-load with the manifest."""
        return self.tool("xmtp-" + name, *words, "--manifest", self.manifest, status=status,
                         **options)

    def status(self, status=0):
        return self.migrate("status", status=status).json

    def parity(self, status=0):
        return self.tool("xmtp-parity", "check", "--manifest", self.manifest, "--json",
                         status=status).json

    def untouched(self, *names):
        """Whether nothing of ours is on these nodes: no row, no letter, no schema."""
        return all(
            count(dsn, META) == 0 and count(dsn, "migration_dead_letter_box") == 0 and
            psql(dsn, "SELECT to_regnamespace('xmtp_migrate') IS NULL") == "t"
            for dsn in (self.nodes[name] for name in names or self.nodes))


@pytest.fixture
def world(databases, manifest, tool, tmp_path):
    return World(databases, manifest, tool, tmp_path)


@pytest.fixture
def apart(world, new_server, tool):
    """The source and beta on servers of their own, which may crash: the source keeps then what it
    has answered for."""
    servers = {"source": new_server(synchronous_commit="on"), "beta": new_server()}
    world.v3 = servers["source"].create_database()
    tool("xmtp-seed", "schema", "v3", "--dsn", world.v3)
    world.nodes["beta"] = servers["beta"].create_database()
    tool("xmtp-seed", "schema", "node", "--dsn", world.beta, "--node-id", 200)
    world.write()
    return servers


def as_user(dsn, user, password=None):
    """The same database by another role."""
    parts = [part for part in dsn.split() if not part.startswith(("user=", "password="))]
    return " ".join(parts + [f"user={user}"] + ([f"password={password}"] if password else []))
