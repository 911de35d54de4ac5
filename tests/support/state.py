"""Everything that a migration leaves, as lines of text: two states are the same or tell where they
differ. Left out is what honestly differs between two of them: when something was written
(loaded_at, added_at, renewed_at and the like), from when on key packages are looked at, which
follows from that (whether it is known is compared), the drawn name of a run, the numbers that a
sequence gives, which a rolled back transaction keeps (their order is compared), who did it, which
index or constraint got which name, and strays: what an earlier sitting loaded is only noted where
there was one (the counts that come of it are compared)."""

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
        SELECT t.relid, c.relowner::regrole, c.relpersistence, pg_get_expr(c.relpartbound, c.oid)
        FROM unnest(ARRAY['gateway_envelopes_meta', 'gateway_envelopes_blob']::regclass[]) top,
            pg_partition_tree(top) t JOIN pg_class c ON c.oid = t.relid ORDER BY t.relid::text""",
    "indexes": """
        SELECT t.relid, i.indisvalid, i.indisready, x.inhparent::regclass,
            regexp_replace(pg_get_indexdef(i.indexrelid), 'INDEX \\S+', '')
        FROM unnest(ARRAY['gateway_envelopes_meta', 'gateway_envelopes_blob']::regclass[]) top,
            pg_partition_tree(top) t JOIN pg_index i ON i.indrelid = t.relid
            LEFT JOIN pg_inherits x ON x.inhrelid = i.indexrelid ORDER BY t.relid::text, 5""",
    "constraints": """
        SELECT t.relid, o.contype, o.convalidated, o.conparentid <> 0, pg_get_constraintdef(o.oid)
        FROM unnest(ARRAY['gateway_envelopes_meta', 'gateway_envelopes_blob']::regclass[]) top,
            pg_partition_tree(top) t JOIN pg_constraint o ON o.conrelid = t.relid
        ORDER BY t.relid::text, 5""",
    "congestion": "SELECT * FROM originator_congestion ORDER BY 1, 2",
    "tables": "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('xmtp_migrate')"
              " AND relkind IN ('r', 'p') ORDER BY 1",
}
BOOKS = {
    "versions": "SELECT version FROM xmtp_migrate.versions ORDER BY 1",
    "runs": """
        SELECT network, as_of_ns, profile, policy_digest, payer, originator, pinned, source, bounds,
            blockers, problems, fresh, renewed_since_ns IS NOT NULL, finished_at IS NOT NULL,
            told_at IS NOT NULL FROM xmtp_migrate.runs ORDER BY number""",
    "trackers before": """
        SELECT source_table, last_migrated_id FROM xmtp_migrate.trackers JOIN xmtp_migrate.runs r
            USING (run) ORDER BY r.number, 1""",
    "parts": """
        SELECT source_table, first_id, last_id, settled, chain_rows, chain_digest, chain_ids,
            nodes_digest FROM xmtp_migrate.parts JOIN xmtp_migrate.runs r USING (run)
        ORDER BY r.number, 1, 2""",
    "counts": """
        SELECT source_table, first_id, kind, state, rows FROM xmtp_migrate.counts
            JOIN xmtp_migrate.runs r USING (run) WHERE rows > 0 ORDER BY r.number, 1, 2, 3, 4""",
    "rejected": """
        SELECT source_table, first_id, kind, sequence_id, reason FROM xmtp_migrate.rejected
            JOIN xmtp_migrate.runs r USING (run) ORDER BY r.number, 1, 2, 3, 4""",
    "renewed": """
        SELECT kind, sequence_id, held, held_time, stored, stored_time FROM xmtp_migrate.renewed
            JOIN xmtp_migrate.runs r USING (run) ORDER BY r.number, 1, 2, renewed_at""",
    "conflicts": """
        SELECT kind, sequence_id, differs, held, given, held_row FROM xmtp_migrate.conflicts
        ORDER BY 1, 2""",
    "replaced": """
        SELECT kind, sequence_id, reason, held, given, gateway_time, topic, address, expiry,
            md5(originator_envelope)
        FROM xmtp_migrate.replaced LEFT JOIN payers p ON p.id = payer_id
        ORDER BY 1, 2, replaced_at""",
    "former letters": """
        SELECT kind, sequence_id, outcome, retried, foreign_tool, reason, retryable, md5(payload),
            held, given, differs FROM xmtp_migrate.former_letters ORDER BY 1, 2, place""",
    "waivers": "SELECT kind, sequence_id, rejected_for, reason, held FROM xmtp_migrate.waivers"
               " ORDER BY 1, 2, 3",
}
LINE_LIMIT = 300  # of what differs


def of_node(dsn, books=True):
    """{what: lines} of a node's database."""
    queries = {**PUBLIC, **(BOOKS if books else {})}
    return dict(zip(queries, libpq.query(dsn, ";".join(queries.values()))))


def of_account(text):
    """An account's document, line by line."""
    document = json.loads(text)
    lines = json.dumps({**document, "run": ""}, indent=1, sort_keys=True).split("\n")
    return [line for line in lines if not line.lstrip().startswith('"when":')]


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
    shown = [one[:LINE_LIMIT] for one in told[:limit]]
    return shown + ([f"and {len(told) - limit} more"] if len(told) > limit else [])
