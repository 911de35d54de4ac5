"""Every golden vector through the tools: from a V3 database into two nodes, in one process and file
by file. What lies in the nodes afterwards is compared byte for byte, and nothing else may be there."""

import datetime
import json
import pathlib
import subprocess

import pytest
from conftest import tool_environment, tool_path
from support.servers import psql, rows
from support.world import chain_bundle

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
NODES = ("alpha", "beta")
PAYER_ADDRESS = "0xD5EB2176AA3A274e03e3BDa0c7E77Fae939fEB49"  # of the vectors' payer key

# V3's columns, by the members of a vector's row; what a vector has no value for is made up.
COLUMNS = {
    "group_messages": {"id": "id", "created_at": "created_at", "group_id": "group_id",
                       "data": "data", "is_commit": "is_commit", "sender_hmac": "sender_hmac",
                       "should_push": "should_push"},
    "welcome_messages": {"id": "id", "created_at": "created_at",
                         "installation_key": "installation_key", "data": "data",
                         "hpke_public_key": "hpke_public_key",
                         "wrapper_algorithm": "wrapper_algorithm",
                         "welcome_metadata": "welcome_metadata", "message_type": "message_type"},
    "key_packages": {"id": "sequence_id", "created_ns": "created_at",
                     "installation_id": "installation_id", "key_package": "key_package"},
    "inbox_log": {"id": "sequence_id", "created_ns": "server_timestamp_ns", "inbox_id": "inbox_id",
                  "identity_update_proto": "identity_update_proto"},
}
HASHES = {"group_messages": "group_id_data_hash", "welcome_messages": "installation_key_data_hash"}
WORDS = {"created_at", "is_commit", "should_push"}  # members that are not bytes in spite of being text
KIND_OF_TABLE = {"welcome_messages": "welcome_messages", "key_packages": "key_packages",
                 "inbox_log": "inbox_log"}
KINDS = ("group_messages", "commit_messages", "welcome_messages", "key_packages", "inbox_log")
ABSURD = 10**12  # ids from here on were never given out by a sequence


# ---- the source -----------------------------------------------------------------------------------


def load(profile):
    return json.loads((GOLDEN / f"{profile}.json").read_text())


def literal(member, value):
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int):
        return str(value)
    return f"'{value}'" if member in WORDS else f"'\\x{value}'"


def insert(row):
    """The statement that puts a vector's row into V3."""
    columns = COLUMNS[row["table"]]
    names, values = list(columns.values()), [literal(name, row[name]) for name in columns]
    if row["table"] in HASHES:
        names.append(HASHES[row["table"]])
        values.append(f"'\\x{row['id'] % 2**64:064x}'")
    return f"INSERT INTO {row['table']} ({', '.join(names)}) VALUES ({', '.join(values)});"


def fill(v3, vectors):
    statements = [insert(vector["row"]) for vector in vectors]
    for table, columns in COLUMNS.items():
        given_out = max(vector["row"]["id"] for vector in vectors
                        if vector["row"]["table"] == table and vector["row"]["id"] < ABSURD)
        statements.append(
            f"SELECT setval('{table}_{columns['id']}_seq', {given_out});")
    psql(v3, "\n".join(statements))


def as_of(now_ns):
    second = datetime.datetime.fromtimestamp(now_ns // 10**9, datetime.timezone.utc)
    return f"{second:%Y-%m-%dT%H:%M:%S}.{now_ns % 10**9:09d}Z"


# ---- what is expected -----------------------------------------------------------------------------


def is_commit(row):
    """As the MLS bytes say; as the column says of what can't be read."""
    data = bytes.fromhex(row["data"])
    if data[:4] == bytes((0, 1, 0, 2)) and len(data) > 5 + data[4] + 8 and data[4] < 64:
        return data[5 + data[4] + 8] == 3
    return bool(row["is_commit"])


def kind_of(vector):
    row, route = vector["row"], vector["expect"]["route"]
    if row["table"] in KIND_OF_TABLE:
        return KIND_OF_TABLE[row["table"]]
    if route == "rejected":
        return "commit_messages" if is_commit(row) else "group_messages"
    return "commit_messages" if route == "chain" else "group_messages"


def by_route(vectors, route):
    return [vector for vector in vectors if vector["expect"]["route"] == route]


def expected_envelopes(vectors):
    return {
        (expect["originator"], expect["sequence_id"]): {
            "topic": expect["topic"],
            "expiry": expect["expiry_unixtime"],
            "gateway_time_us": expect["originator_ns"] // 1000,
            "payer": PAYER_ADDRESS,
            "envelope": expect["originator_envelope"],
        } for expect in (vector["expect"] for vector in by_route(vectors, "node"))
    }


def expected_account(vectors, second_run=False):
    kinds = {}
    for kind in KINDS:
        routes = [vector["expect"]["route"] for vector in vectors if kind_of(vector) == kind]
        sums = {"counted": len(routes), "rejected": routes.count("rejected"), "waived": 0}
        if kind in ("commit_messages", "inbox_log"):
            chain = routes.count("chain")
            sums.update(for_chain=chain, waiting_for_chain=chain, on_chain=0)
        else:
            node = routes.count("node")
            sums.update(expired=0, for_nodes=node)
            sums["nodes"] = {name: {"loaded": 0 if second_run else node,
                                    "already_there": node if second_run else 0} for name in NODES}
        kinds[kind] = sums
    return kinds


def count(names):
    return {name: names.count(name) for name in names}


# ---- what is there --------------------------------------------------------------------------------


def held_envelopes(node):
    found = {}
    for originator, sequence_id, topic, expiry, gateway_time, payer, envelope in rows(node, """
            SELECT m.originator_node_id, m.originator_sequence_id, encode(m.topic, 'hex'), m.expiry,
                   (extract(epoch FROM m.gateway_time) * 1000000)::bigint, p.address,
                   encode(b.originator_envelope, 'hex')
            FROM gateway_envelopes_meta m
            LEFT JOIN payers p ON p.id = m.payer_id
            FULL JOIN gateway_envelopes_blob b USING (originator_node_id, originator_sequence_id)"""):
        found[int(originator), int(sequence_id)] = {
            "topic": topic, "expiry": int(expiry), "gateway_time_us": int(gateway_time),
            "payer": payer, "envelope": envelope}
    return found


EVERYTHING = {
    "envelopes": """
        SELECT m.originator_node_id, m.originator_sequence_id, encode(m.topic, 'hex'), m.expiry,
               m.gateway_time, p.address, encode(b.originator_envelope, 'hex')
        FROM gateway_envelopes_meta m
        LEFT JOIN payers p ON p.id = m.payer_id
        FULL JOIN gateway_envelopes_blob b USING (originator_node_id, originator_sequence_id)
        ORDER BY 1, 2""",
    "latest": """
        SELECT originator_node_id, originator_sequence_id, gateway_time
        FROM gateway_envelopes_latest ORDER BY 1""",
    "payers": "SELECT address FROM payers ORDER BY 1",
    "usage": "SELECT count(*) FROM unsettled_usage",
    "tracker": "SELECT source_table, last_migrated_id FROM migration_tracker ORDER BY 1",
    "dead letters": """
        SELECT source_table, sequence_id, encode(payload, 'hex'), reason, retryable
        FROM migration_dead_letter_box ORDER BY 1, 2""",
    "leaves": """
        SELECT relname FROM pg_class WHERE relname LIKE 'gateway_envelopes_%' AND relkind IN ('r', 'p')
        ORDER BY 1""",
}


def everything(node):
    return {name: rows(node, query) for name, query in EVERYTHING.items()}


def same_value(member, shown, expected):
    if member == "created_at":
        return (datetime.datetime.fromisoformat(shown.replace("Z", "+00:00"))
                == datetime.datetime.fromisoformat(expected.replace("Z", "+00:00")))
    return shown == expected


# ---- the world ------------------------------------------------------------------------------------


class World:
    def __init__(self, profile, databases, manifest, tool, tmp_path):
        document = load(profile)
        self.profile = profile
        self.context, self.vectors = document["context"], document["vectors"]
        self.as_of = as_of(self.context["now_ns"])
        self.tool, self._databases = tool, databases
        self._manifest, self._folder = manifest, tmp_path
        self.v3 = databases.v3()
        fill(self.v3, self.vectors)

    def write(self, nodes):
        days = self.context["retention_days"]
        self.manifest = self._manifest(
            self.v3, nodes,
            policy={"profile": self.profile, "expired": "keep",
                    "retention_days": {table: days for table in
                                       ("group_messages", "welcome_messages", "key_packages")},
                    "allow_shorter_than_source": ["welcome_messages", "key_packages"]},
            rates=[{"start": as_of(rate["start_ns"]), "message_fee": rate["message_fee"],
                    "storage_fee": rate["storage_fee"]} for rate in self.context["rates"]])
        for name, key in (("payer", "payer_key"), ("originator", "node_key")):
            (self._folder / f"{name}.key").write_text(self.context[key])

    def fresh_nodes(self):
        nodes = {name: self._databases.node(100 * place)
                 for place, name in enumerate(NODES, start=1)}
        self.write(nodes)
        return nodes

    def call(self, name, *words, status=0):
        return self.tool(name, *words, "--manifest", self.manifest, "--json", status=status)

    def run(self):
        return self.call("xmtp-migrate", "run", "--as-of", self.as_of, status=4).json


@pytest.fixture(params=["correct", "xmtpd"])
def world(request, databases, manifest, tool, tmp_path):
    return World(request.param, databases, manifest, tool, tmp_path)


def assert_nodes(world, nodes):
    expected = expected_envelopes(world.vectors)
    newest = {}
    for (originator, sequence_id), envelope in expected.items():
        newest[originator] = max(newest.get(originator, 0), sequence_id)
    for node in nodes.values():
        held = held_envelopes(node)
        assert held.keys() == expected.keys()
        for key, envelope in expected.items():
            assert held[key] == envelope, key
        assert {int(originator): int(sequence_id) for originator, sequence_id, _ in
                rows(node, EVERYTHING["latest"])} == newest


def assert_letters(world, nodes):
    rejected = {(kind_of(vector), vector["row"]["id"]): vector
                for vector in by_route(world.vectors, "rejected")}
    for name, node in nodes.items():
        held = {(kind, int(sequence_id)): reason for kind, sequence_id, _, reason, _ in
                rows(node, EVERYTHING["dead letters"])}
        assert held.keys() == rejected.keys()
        for (kind, row_id), vector in rejected.items():
            if world.profile == "correct":
                assert held[kind, row_id] == vector["expect"]["reason"], vector["name"]
            which = [kind, row_id] if row_id >= 0 else ["--kind", kind, "--id", row_id]
            shown = world.call("xmtp-migrate", "rejected", "show", *which, "--node", name).json
            assert shown["reason"] == held[kind, row_id]
            for member in ("table", *COLUMNS[vector["row"]["table"]]):
                assert same_value(member, shown["row"][member], vector["row"][member]), (
                    vector["name"], member)


def assert_chain(world, bundle):
    """The chain-bound envelopes, each table's in the order of ids."""
    found = {}
    for line in world.tool("xmtp-inspect", bundle, "--rows").out.splitlines():
        record = json.loads(line)
        if record["route"] == "chain":
            found.setdefault(record["kind"], []).append(
                (record["sequence_id"], record["topic"], record["client_envelope"]))
    expected = {}
    for vector in by_route(world.vectors, "chain"):
        expect = vector["expect"]
        expected.setdefault(kind_of(vector), []).append(
            (expect["sequence_id"], expect["topic"], expect["client_envelope"]))
    assert found == {kind: sorted(envelopes) for kind, envelopes in expected.items()}


def assert_account(world, account, second_run=False):
    assert account["kinds"] == expected_account(world.vectors, second_run)
    assert account["verdict"] == "partial"
    assert account.get("problems", []) == []
    assert account["blockers"] == []
    assert account["profile"] == world.profile
    assert account["as_of"].rstrip("Z").rstrip("0") == world.as_of.rstrip("Z").rstrip("0")
    if world.profile == "correct":
        assert account["rejects"] == count(
            [vector["expect"]["reason"] for vector in by_route(world.vectors, "rejected")])
        assert account["findings"] == count(
            [finding for vector in world.vectors
             for finding in vector["expect"].get("findings", [])])


# ---- tests ----------------------------------------------------------------------------------------


def test_run_brings_every_vector_where_it_belongs(world):
    nodes = world.fresh_nodes()
    account = world.run()
    assert_account(world, account)
    assert_nodes(world, nodes)
    assert_letters(world, nodes)
    assert_chain(world, chain_bundle(world.manifest, account))


def test_a_second_run_finds_all_of_it_there(world):
    nodes = world.fresh_nodes()
    world.run()
    before = {name: everything(node) for name, node in nodes.items()}
    assert_account(world, world.run(), second_run=True)
    assert {name: everything(node) for name, node in nodes.items()} == before
    status = world.call("xmtp-migrate", "status", status=4).json
    assert_account(world, status, second_run=True)


def carry_by_paths(world, folder, suffix):
    """Stage by stage through folders or .tar files; gives the load's account."""
    exported, transformed = (folder / (name + suffix) for name in ("rows", "envelopes"))
    world.call("xmtp-export", "--as-of", world.as_of, "--out", exported)
    world.call("xmtp-transform", "--in", exported, "--out", transformed)
    assert_chain(world, transformed)
    return world.call("xmtp-load", "--in", transformed, status=4).json


def carry_by_pipes(world):
    stages = [("xmtp-export", "--out", "-", "--as-of", world.as_of),
              ("xmtp-transform", "--in", "-", "--out", "-"),
              ("xmtp-load", "--in", "-", "--json")]
    running, upstream = [], None
    for name, *words in stages:
        running.append(subprocess.Popen(
            [tool_path(name), *words, "--manifest", str(world.manifest)], stdin=upstream,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=tool_environment()))
        if upstream:
            upstream.close()
        upstream = running[-1].stdout
    out, errors = running[-1].communicate(timeout=120)
    assert [process.wait() for process in running] == [0, 0, 4], errors
    return json.loads(out)


@pytest.mark.parametrize("carrier", ["folders", "tar", "pipes"])
def test_file_by_file_gives_the_same_nodes_and_account(world, carrier, tmp_path):
    nodes = world.fresh_nodes()
    expected_account = world.run()
    expected = {name: everything(node) for name, node in nodes.items()}
    assert len(expected["alpha"]["envelopes"]) == len(by_route(world.vectors, "node"))

    nodes = world.fresh_nodes()
    account = (carry_by_pipes(world) if carrier == "pipes" else
               carry_by_paths(world, tmp_path, {"folders": "", "tar": ".tar"}[carrier]))
    for name, node in nodes.items():
        held = everything(node)
        for what, lines in expected[name].items():
            assert held[what] == lines, (name, what)
    for document in (account, expected_account):
        document.pop("run")
    assert account == expected_account
