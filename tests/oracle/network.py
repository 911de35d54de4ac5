"""The rules of the migration, once more and from the specification: what each row of a V3 database
must become. Written apart from the library, so that a mistake would have to be made twice."""

import dataclasses

import textproto

DAY_NS = 86400 * 10**9
LAST_ID = 9223372036853999999
CHAIN_LIMIT = 127 * 1024


@dataclasses.dataclass
class Kind:
    name: str
    table: str
    originator: int
    topic: int
    identifier: str
    payload: str  # the member of ClientEnvelope
    message: str  # its type
    chain: bool = False


GROUP, COMMIT, WELCOME, PACKAGE, UPDATE = KINDS = (
    Kind("group_messages", "group_messages", 10, 0, "group_id", "group_message",
         "xmtp.mls.api.v1.GroupMessageInput"),
    Kind("commit_messages", "group_messages", 0, 0, "group_id", "group_message",
         "xmtp.mls.api.v1.GroupMessageInput", chain=True),
    Kind("welcome_messages", "welcome_messages", 11, 1, "installation_key", "welcome_message",
         "xmtp.mls.api.v1.WelcomeMessageInput"),
    Kind("key_packages", "key_packages", 13, 3, "installation_id", "upload_key_package",
         "xmtp.mls.api.v1.UploadKeyPackageRequest"),
    Kind("inbox_log", "inbox_log", 1, 2, "inbox_id", "identity_update",
         "xmtp.identity.associations.IdentityUpdate", chain=True),
)

# Each row as JSON, with `id`, and `created_us` or `created_ns` in UTC (null: infinite).
SELECTS = {
    "group_messages": """
        SELECT id, CASE WHEN isfinite(created_at)
                    THEN (extract(epoch FROM created_at) * 1000000)::bigint END AS created_us,
               created_at = 'infinity' AS for_ever,
               group_id, data, is_commit, sender_hmac, should_push
        FROM group_messages""",
    "welcome_messages": """
        SELECT id, CASE WHEN isfinite(created_at)
                    THEN (extract(epoch FROM created_at) * 1000000)::bigint END AS created_us,
               created_at = 'infinity' AS for_ever,
               installation_key, data, hpke_public_key, wrapper_algorithm, welcome_metadata,
               message_type
        FROM welcome_messages""",
    "key_packages": """
        SELECT k.sequence_id AS id, k.created_at AS created_ns, k.installation_id, k.key_package,
               CASE WHEN i.key_package = k.key_package THEN i.updated_at END AS current_since_ns
        FROM key_packages k LEFT JOIN installations i ON i.id = k.installation_id""",
    "inbox_log": """
        SELECT sequence_id AS id, server_timestamp_ns AS created_ns, inbox_id, identity_update_proto
        FROM inbox_log""",
}


# ---- MLS ------------------------------------------------------------------------------------------


def mls_content(data):
    """1 application, 2 proposal, 3 commit; None if the bytes can't be read (RFC 9420 section 6)."""
    place = 0

    def take(count):
        nonlocal place
        if place + count > len(data):
            raise ValueError
        place += count
        return data[place - count:place]

    def skip_vector():
        first = take(1)[0]
        more = {0: 0, 1: 1, 2: 3}.get(first >> 6)
        if more is None:
            raise ValueError
        length = int.from_bytes(bytes([first & 63]) + take(more), "big")
        if length < {0: 0, 1: 64, 3: 16384}[more]:
            raise ValueError
        take(length)

    try:
        version, wire_format = take(2), take(2)
        if version != b"\0\1" or wire_format not in (b"\0\1", b"\0\2"):
            return None
        skip_vector()
        take(8)
        if wire_format == b"\0\1":
            take({1: 4, 2: 4, 3: 0, 4: 0}[take(1)[0]])
            skip_vector()
        content = take(1)[0]
    except (ValueError, KeyError):
        return None
    return content if content in (1, 2, 3) else None


# ---- what becomes of a row ------------------------------------------------------------------------


@dataclasses.dataclass
class Fate:
    kind: Kind
    route: str  # node, chain, expired, rejected
    reason: str = None
    since_ns: int = None


def kind_of(table, row):
    """The kind, and whether anything tells it."""
    if table != "group_messages":
        return next(kind for kind in KINDS if kind.table == table), True
    content = mls_content(row["data"])
    if content is None:
        return (COMMIT if row["is_commit"] else GROUP), row["is_commit"] is not None
    return (COMMIT if content == 3 else GROUP), True


def fault(kind, row, told):
    """The first reason to reject the row that its content gives, or None."""
    if not 1 <= row["id"] <= LAST_ID:
        return "sequence_id_out_of_range"
    if kind in (GROUP, COMMIT):
        if not row["data"]:
            return "data_empty"
        if len(row["group_id"]) != 16:
            return "group_id_length"
        return None if told else "mls_unparsable"
    if kind is WELCOME:
        good = {0: (0, 1, 2), 1: (1,)}.get(row["message_type"], (0, 1, 2))
        if not row["data"]:
            return "data_empty"
        if not row["installation_key"]:
            return "identifier_empty"
        if row["wrapper_algorithm"] not in good:
            return "wrapper_algorithm_unknown"
        return None if row["message_type"] in (0, 1) else "message_type_unknown"
    if kind is PACKAGE:
        if not row["installation_id"]:
            return "identifier_empty"
        return None if row["key_package"] else "key_package_empty"
    if not row["inbox_id"]:
        return "identifier_empty"
    if len(row["inbox_id"]) != 32:
        return "inbox_id_length"
    if not row["identity_update_proto"]:
        return "identity_update_empty"
    readable = textproto.is_one("identity.proto", kind.message, row["identity_update_proto"])
    return None if readable else "identity_update_unparsable"


def since(row):
    """What time counts from, in ns; None if 64 bits can't say it."""
    if "created_us" in row:
        us = row["created_us"]
        return us * 1000 if us is not None and -2**63 <= us * 1000 < 2**63 else None
    return max(row["created_ns"], row.get("current_since_ns") or row["created_ns"])


def upload_us(rows, id):
    """The gateway_time of a key package; the current one's is after all others'."""
    row = rows[id]
    us = since(row) // 1000
    if row["current_since_ns"] is None:
        return us
    others = [other["created_ns"] // 1000 for other in rows.values()
              if other["installation_id"] == row["installation_id"] and other["id"] != id]
    return max([us] + [other + 1 for other in others])


def is_expired(row, days, as_of_ns):
    if "created_us" in row and row["created_us"] is None:
        return not row["for_ever"]
    ns = row["created_us"] * 1000 if "created_us" in row else since(row)
    return ns + days * DAY_NS <= as_of_ns


def client_envelope_size(topic, payload_size):
    """Bytes of a client envelope: two length-delimited fields, the first with one inside."""
    def field(size):
        return 1 + max(1, -(-size.bit_length() // 7)) + size
    return field(field(len(topic))) + field(payload_size)


def payload_size(kind, row):
    def field(value):
        size = len(value or b"")
        return 1 + max(1, -(-size.bit_length() // 7)) + size if size else 0
    if kind is UPDATE:
        return len(row["identity_update_proto"])
    v1 = field(row["data"]) + field(row["sender_hmac"]) + (2 if row["should_push"] else 0)
    return 1 + max(1, -(-v1.bit_length() // 7)) + v1


def fate(table, row, policy, as_of_ns):
    kind, told = kind_of(table, row)
    days = policy["retention_days"].get(kind.name)
    if days and policy["expired"] == "drop" and is_expired(row, days, as_of_ns):
        return Fate(kind, "expired")
    reason = fault(kind, row, told)
    if reason is None and kind.chain:
        size = client_envelope_size(topic(kind, row), payload_size(kind, row))
        reason = "payload_too_large" if size > CHAIN_LIMIT else None
    if reason is None and not kind.chain and since(row) is None:
        reason = "time_out_of_range"
    if reason:
        return Fate(kind, "rejected", reason)
    return Fate(kind, "chain" if kind.chain else "node", since_ns=since(row))


def topic(kind, row):
    return bytes([kind.topic]) + row[kind.identifier]


def rate_at(rates, ns):
    return [rate for rate in rates if rate["start_ns"] <= ns][-1]
