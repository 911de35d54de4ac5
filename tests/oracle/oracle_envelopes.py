"""Every envelope that a run makes, judged by what nobody here wrote: protoc reads each layer,
pycryptodome hashes, eth-keys finds the signers and signs again, and the rules of network.py say which
rows there must be and with which fees, times and topics.

Rows come from the sample and from xmtp-seed, hostile ones too. Run by ci/oracle.
"""

import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from Crypto.Hash import keccak
from eth_keys import keys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(ROOT / "tests")]

import network  # noqa: E402
import textproto  # noqa: E402
from support import servers  # noqa: E402

BIN = pathlib.Path(os.environ.get("MIG_BUILD", ROOT / "build" / "release")) / "bin"
AS_OF = "2026-06-01T12:00:00.123456789Z"
PAYER = keys.PrivateKey(bytes.fromhex("b7" * 32))
ORIGINATOR = keys.PrivateKey(bytes.fromhex("0c" * 32))
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SIGNED_AGAIN = 60  # envelopes of a trial; signing in Python is slow
RATES = [("2025-01-01T00:00:00Z", 90, 150), ("2026-03-01T00:00:00Z", 100, 200),
         ("2026-05-20T00:00:00Z", 7, 100001)]

TRIALS = [
    {"name": "the sample", "csv": ROOT / "tests" / "data" / "sample",
     "policy": {"expired": "keep"}},
    {"name": "the sample, by the run's clock", "csv": ROOT / "tests" / "data" / "sample",
     "policy": {"expired": "keep", "originator_ns": "migrated"}},
    {"name": "500 rows as of a testnet", "rows": 500, "shape": "testnet", "policy": {}},
    {"name": "500 hostile rows", "rows": 500, "shape": "hostile", "policy": {}},
    {"name": "500 hostile rows, expired ones kept", "rows": 500, "shape": "hostile",
     "policy": {"expired": "keep"}},
]

ALGORITHMS = {0: "CURVE25519", 1: "XWING_MLKEM_768_DRAFT_6", 2: "SYMMETRIC_KEY"}


def to_ns(text):
    whole, _, fraction = text.rstrip("Z").partition(".")
    second = datetime.datetime.fromisoformat(whole + "+00:00")
    return int(second.timestamp()) * 10**9 + int(fraction.ljust(9, "0") or 0)


def call(name, *words, status=(0,)):
    environment = {key: value for key, value in os.environ.items()
                   if not key.startswith(("XMTP_", "PG"))}
    ran = subprocess.run([str(BIN / name), *map(str, words)], capture_output=True, text=True,
                         env=environment)
    assert ran.returncode in status, f"{name} ended with {ran.returncode}: {ran.stderr}{ran.stdout}"
    return ran.stdout


# ---- what is there --------------------------------------------------------------------------------


def bytes_of(value):
    """JSON shows bytea as text."""
    is_bytea = isinstance(value, str) and value.startswith("\\x")
    return bytes.fromhex(value[2:]) if is_bytea else value


def read_json(dsn, query):
    lines = servers.psql(dsn, f"SELECT row_to_json(t) FROM ({query}) t").splitlines()
    return [{name: bytes_of(value) for name, value in json.loads(line).items()} for line in lines]


def read_node(dsn):
    return read_json(dsn, """
        SELECT m.originator_node_id AS originator, m.originator_sequence_id AS id, m.topic,
               m.expiry, (extract(epoch FROM m.gateway_time) * 1000000)::bigint AS gateway_time_us,
               p.address AS payer, b.originator_envelope AS envelope
        FROM gateway_envelopes_meta m
        LEFT JOIN payers p ON p.id = m.payer_id
        FULL JOIN gateway_envelopes_blob b USING (originator_node_id, originator_sequence_id)
        ORDER BY 1, 2""")


def read_chain(bundle):
    records = map(json.loads, call("xmtp-inspect", bundle, "--rows").splitlines())
    return [{"originator": record["originator"], "id": record["sequence_id"],
             "topic": bytes.fromhex(record["topic"]),
             "client": bytes.fromhex(record["client_envelope"])}
            for record in records if record["route"] == "chain"]


# ---- checks ---------------------------------------------------------------------------------------


def digest(*pieces):
    return keccak.new(digest_bits=256, data=b"".join(pieces)).digest()


def check_signature(signature, hashed, key, again):
    assert len(signature) == 65 and signature[64] in (0, 1), "not r, s and v"
    assert 0 < int.from_bytes(signature[32:64], "big") <= ORDER // 2, "s is not low"
    signer = keys.Signature(signature).recover_public_key_from_msg_hash(hashed)
    assert signer.to_checksum_address() == key.public_key.to_checksum_address(), "another signer"
    if again:
        assert key.sign_msg_hash(hashed).to_bytes() == signature, "not RFC 6979's signature"


def check_welcome(row, payload):
    if row["message_type"] == 1:
        inner = textproto.only(payload, "welcome_pointer")
        assert textproto.only(inner, "welcome_pointer", b"") == row["data"]
        prefix = "WELCOME_POINTER_WRAPPER_ALGORITHM_"
        assert "welcome_metadata" not in inner
    else:
        inner = textproto.only(payload, "v1")
        assert textproto.only(inner, "data", b"") == row["data"]
        prefix = "WELCOME_WRAPPER_ALGORITHM_"
        assert textproto.only(inner, "welcome_metadata", b"") == (row["welcome_metadata"] or b"")
    assert textproto.only(inner, "installation_key") == row["installation_key"]
    assert textproto.only(inner, "hpke_public_key", b"") == (row["hpke_public_key"] or b"")
    assert textproto.only(inner, "wrapper_algorithm") == (
        prefix + ALGORITHMS[row["wrapper_algorithm"]])


def check_group_message(row, payload):
    inner = textproto.only(payload, "v1")
    assert textproto.only(inner, "data", b"") == row["data"]
    assert textproto.only(inner, "sender_hmac", b"") == (row["sender_hmac"] or b"")
    assert textproto.only(inner, "should_push", "false") == (
        "true" if row["should_push"] else "false")


def check_key_package(row, payload):
    inner = textproto.only(payload, "key_package")
    assert textproto.only(inner, "key_package_tls_serialized") == row["key_package"]
    assert payload.keys() == {"key_package"}


CHECKS = {"group_message": check_group_message, "welcome_message": check_welcome,
          "upload_key_package": check_key_package}


def check_clients(kind, found):
    """found: (row, topic stored, client envelope) of one kind."""
    clients = textproto.decode("envelopes.proto", "xmtp.xmtpv4.envelopes.ClientEnvelope",
                               [client for _, _, client in found])
    payloads = []
    for (row, stored, _), client in zip(found, clients):
        assert client.keys() == {"aad", kind.payload}, f"a client envelope with {list(client)}"
        aad = textproto.only(client, "aad")
        assert aad.keys() == {"target_topic"}
        assert textproto.only(aad, "target_topic") == stored == network.topic(kind, row)
        payloads.append(textproto.only(client, kind.payload))
    if kind is network.UPDATE:
        assert payloads == [row["identity_update_proto"] for row, _, _ in found]
        return
    decoded = textproto.decode("mls.proto", kind.message, payloads)
    for (row, _, _), payload in zip(found, decoded):
        CHECKS[kind.payload](row, payload)


def check_layers(kind, held, rules, rows, fates):
    """All layers of the envelopes that a node holds of one kind."""
    def decode(name, messages):
        return textproto.decode("envelopes.proto", f"xmtp.xmtpv4.envelopes.{name}", messages)

    outer = decode("OriginatorEnvelope", [one["envelope"] for one in held])
    unsigned_bytes = [textproto.only(one, "unsigned_originator_envelope") for one in outer]
    unsigned = decode("UnsignedOriginatorEnvelope", unsigned_bytes)
    payer_bytes = [textproto.only(one, "payer_envelope_bytes") for one in unsigned]
    payers = decode("PayerEnvelope", payer_bytes)
    days = rules["policy"]["retention_days"][kind.name]
    for place, one in enumerate(held):
        since = fates[one["id"]].since_ns
        ns = rules["as_of_ns"] if rules["policy"]["originator_ns"] == "migrated" else since
        ns = max(ns, rules["rates"][0]["start_ns"])
        rate = network.rate_at(rules["rates"], ns)
        fee = rate["message_fee"] + rate["storage_fee"] * len(payer_bytes[place]) * days
        expiry = since // 10**9 + days * 86400
        layer, payer = unsigned[place], payers[place]
        assert textproto.only(layer, "originator_node_id") == kind.originator
        assert textproto.only(layer, "originator_sequence_id") == one["id"]
        assert textproto.only(layer, "originator_ns") == ns
        assert textproto.only(layer, "base_fee_picodollars") == fee
        assert "congestion_fee_picodollars" not in layer
        assert textproto.only(layer, "expiry_unixtime") == expiry % 2**64
        assert one["expiry"] == expiry
        assert one["gateway_time_us"] == (
            network.upload_us(rows, one["id"]) if kind is network.PACKAGE else ns // 1000)
        assert one["payer"] == PAYER.public_key.to_checksum_address()
        assert textproto.only(payer, "target_originator") == kind.originator
        assert textproto.only(payer, "message_retention_days") == days
        client = textproto.only(payer, "unsigned_client_envelope")
        check_signature(
            textproto.only(textproto.only(payer, "payer_signature"), "bytes"),
            digest(b"target|", kind.originator.to_bytes(4, "big"), b"payer|", client), PAYER,
            place < SIGNED_AGAIN // 3)
        check_signature(
            textproto.only(textproto.only(outer[place], "originator_signature"), "bytes"),
            digest(b"originator|", unsigned_bytes[place]), ORIGINATOR, place < SIGNED_AGAIN // 3)
        one["client"] = client
    check_clients(kind, [(rows[one["id"]], one["topic"], one["client"]) for one in held])


# ---- a trial --------------------------------------------------------------------------------------


def write_manifest(folder, v3, node, policy):
    document = {
        "schema": "xmtp-migrate/manifest/1", "network": "local", "source": {"dsn": v3},
        "nodes": [{"name": "alpha", "node_id": 100, "dsn": node}],
        "keys": {"payer": "file:payer.key", "originator": "file:originator.key"},
        "policy": {
            "profile": "correct", "originator_ns": "created", "expired": "drop",
            "retention_days": {"group_messages": 60, "welcome_messages": 90, "key_packages": 91},
            **policy},
        "rates": [{"start": start, "message_fee": message, "storage_fee": storage}
                  for start, message, storage in RATES],
    }
    for name, key in (("payer", PAYER), ("originator", ORIGINATOR)):
        (folder / f"{name}.key").write_text(key.to_bytes().hex())
        (folder / f"{name}.key").chmod(0o600)
    (folder / "manifest.json").write_text(json.dumps(document))
    return document["policy"]


def judge(v3, policy, as_of_ns):
    """Every row and what must become of it: {table: {id: row}}, {kind name: {id: fate}}."""
    rows, fates = {}, {kind.name: {} for kind in network.KINDS}
    for table, query in network.SELECTS.items():
        rows[table] = {row["id"]: row for row in read_json(v3, query)}
        for row in rows[table].values():
            fate = network.fate(table, row, policy, as_of_ns)
            fates[fate.kind.name][row["id"]] = fate
    return rows, fates


def ids(fates, route):
    return sorted(row_id for row_id, fate in fates.items() if fate.route == route)


def check_trial(trial, server, folder):
    v3, node = server.create_database(), server.create_database()
    call("xmtp-seed", "schema", "v3", "--dsn", v3)
    call("xmtp-seed", "schema", "node", "--dsn", node, "--node-id", 100)
    if "csv" in trial:
        call("xmtp-seed", "csv", "--dsn", v3, trial["csv"])
    else:
        call("xmtp-seed", "rows", "--dsn", v3, "--rows", trial["rows"], "--shape", trial["shape"],
             "--until", AS_OF.partition(".")[0] + "Z")
    policy = write_manifest(folder, v3, node, trial["policy"])
    account = json.loads(call("xmtp-migrate", "run", "--manifest", folder / "manifest.json",
                              "--as-of", AS_OF, "--json", status=(0, 4)))
    rules = {"policy": policy, "as_of_ns": to_ns(AS_OF),
             "rates": [{"start_ns": to_ns(start), "message_fee": message, "storage_fee": storage}
                       for start, message, storage in RATES]}
    rows, fates = judge(v3, policy, rules["as_of_ns"])
    held = read_node(node)
    chain = read_chain(folder / f"local-chain-{account['run']}")
    letters = {(letter["kind"], letter["id"]): letter["reason"] for letter in read_json(
        node, "SELECT source_table AS kind, sequence_id AS id, reason"
              " FROM migration_dead_letter_box")}

    for kind in network.KINDS:
        expected = fates[kind.name]
        found = [one for one in (chain if kind.chain else held)
                 if one["originator"] == kind.originator]
        assert [one["id"] for one in found] == ids(expected, "chain" if kind.chain else "node"), (
            f"{kind.name}: other ids than the rules give")
        if kind.chain:
            check_clients(kind, [(rows[kind.table][one["id"]], one["topic"], one["client"])
                                 for one in found])
        else:
            check_layers(kind, found, rules, rows[kind.table], expected)
        sums = account["kinds"][kind.name]
        assert sums["counted"] == len(expected), kind.name
        assert sums.get("expired", 0) == len(ids(expected, "expired")), kind.name
        assert sums["rejected"] == len(ids(expected, "rejected")), kind.name
    assert letters == {(name, row_id): fate.reason for name, of_kind in fates.items()
                       for row_id, fate in of_kind.items() if fate.route == "rejected"}
    assert len(held) == sum(len(ids(of_kind, "node")) for of_kind in fates.values())
    counts = {route: sum(len(ids(of_kind, route)) for of_kind in fates.values())
              for route in ("node", "chain", "expired", "rejected")}
    print(f"{trial['name']}: " + ", ".join(f"{count} {route}" for route, count in counts.items()),
          flush=True)
    return counts


def main():
    totals = {}
    with servers.Server() as server:
        for trial in TRIALS:
            with tempfile.TemporaryDirectory() as folder:
                for route, count in check_trial(trial, server, pathlib.Path(folder)).items():
                    totals[route] = totals.get(route, 0) + count
    assert all(totals[route] > 20 for route in ("node", "chain", "expired", "rejected")), totals
    print("all envelopes are as others make and read them")


if __name__ == "__main__":
    main()
