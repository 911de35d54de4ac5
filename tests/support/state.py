"""Everything that a migration leaves, as lines of text: two states are the same or tell where they
differ. What depends on the moment (when a row was written, the drawn name of a run) is left out."""

import json
import re
import tarfile

from . import libpq

# The envelopes come first: what else there is follows from them.
PUBLIC = {
    "envelopes": """
        SELECT originator_node_id, originator_sequence_id, m.gateway_time, encode(topic, 'hex'),
            address, expiry, md5(originator_envelope)
        FROM gateway_envelopes_meta m FULL JOIN gateway_envelopes_blob b
            USING (originator_node_id, originator_sequence_id) LEFT JOIN payers p ON p.id = payer_id
        ORDER BY 1, 2""",
    "clocks": "SELECT * FROM gateway_envelopes_latest ORDER BY 1",
    "trackers": "SELECT source_table, last_migrated_id FROM migration_tracker ORDER BY 1",
    "letters": """
        SELECT source_table, sequence_id, reason, retryable, md5(payload)
        FROM migration_dead_letter_box ORDER BY 1, 2""",
    "payers": "SELECT address FROM payers ORDER BY 1",
    "usage": """
        SELECT address, originator_id, minutes_since_epoch, spend_picodollars, last_sequence_id,
            message_count FROM unsettled_usage u LEFT JOIN payers p ON p.id = u.payer_id
        ORDER BY 1, 2, 3""",
    "bands": """
        SELECT relid FROM (VALUES ('gateway_envelopes_meta'), ('gateway_envelopes_blob')) t (name),
            pg_partition_tree(name::regclass) ORDER BY relid::text""",
    "tables": "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('xmtp_migrate')"
              " AND relkind IN ('r', 'p') ORDER BY 1",
}
BOOKS = {
    "runs": """
        SELECT network, as_of_ns, profile, policy_digest, payer, originator, bounds, blockers,
            problems, finished_at IS NOT NULL FROM xmtp_migrate.runs ORDER BY started_at""",
    "parts": """
        SELECT source_table, first_id, last_id, settled, chain_rows, chain_digest, chain_ids,
            nodes_digest FROM xmtp_migrate.parts ORDER BY 1, 2""",
    "counts": """
        SELECT source_table, first_id, kind, state, rows FROM xmtp_migrate.counts WHERE rows > 0
        ORDER BY 1, 2, 3, 4""",
    "rejected": """
        SELECT source_table, first_id, kind, sequence_id, reason FROM xmtp_migrate.rejected
        ORDER BY 1, 2, 3, 4""",
    "waivers": "SELECT kind, sequence_id, rejected_for, reason, held FROM xmtp_migrate.waivers"
               " ORDER BY 1, 2",
}


def of_node(dsn, books=True):
    """{what: lines} of a node's database."""
    queries = {**PUBLIC, **(BOOKS if books else {})}
    return dict(zip(queries, libpq.query(dsn, ";".join(queries.values()))))


def of_account(text):
    """An account's document, line by line."""
    document = json.loads(text)
    return json.dumps({**document, "run": ""}, indent=1, sort_keys=True).split("\n")


def of_bundle(path):
    """{name: bytes} of a bundle's files, in a folder or a tar; the run's drawn name is left out, and
    the digests of what holds it."""
    if path.is_dir():
        files = {str(file.relative_to(path)): file.read_bytes()
                 for file in sorted(path.rglob("*")) if file.is_file()}
    else:
        with tarfile.open(path) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}
    for name in files:
        if name.endswith(".json"):
            files[name] = re.sub(rb'"run":"[0-9a-f]+"', b'"run":""', files[name])
            files[name] = re.sub(rb'\n"sha256":"[0-9a-f]+"', b'\n"sha256":""', files[name])
    return files


def differences(expected, found, limit=6):
    """Sentences about where two states, as dicts, differ; none when they are the same."""
    told = []
    for name in sorted(expected.keys() | found.keys(), key=str):
        if name not in expected or name not in found:
            told.append(f"{name}: {'not expected' if name not in expected else 'missing'}")
        elif isinstance(expected[name], list):
            told += [f"{name}: missing {line}" for line in expected[name] if line not in found[name]]
            told += [f"{name}: too much {line}" for line in found[name] if line not in expected[name]]
            if not told and expected[name] != found[name]:
                told.append(f"{name}: in another order, or doubled")
        elif expected[name] != found[name]:
            told.append(f"{name}: other bytes")
    return told[:limit] + ([f"and {len(told) - limit} more"] if len(told) > limit else [])
