"""What the tests of xmtp-parity begin with: V3 with a few rows, two nodes, and what a report says."""

import pytest

from .servers import psql

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
