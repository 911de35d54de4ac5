"""What the Go migrator does to a node, statement by statement.

It reads rows behind the node's migration_tracker, a table or kind at a time, and writes a batch and
its tracker in one transaction. It sets the tracker to the last id of whatever it has just written, a
dead letter as well: what was still in flight before that is left out when it is stopped then. Rows
whose is_commit is NULL it never sees. Its envelopes come from another node, which a run under the
profile xmtpd has filled.
"""

from .servers import psql, rows
from .world import BLOB, META, TABLES

ORIGINATORS = {"group_messages": 10, "welcome_messages": 11, "key_packages": 13}
CONDITIONS = {"group_messages": "is_commit = false", "commit_messages": "is_commit = true"}
READ = {"commit_messages": "group_messages"}
TRANSFORMER, OVERSIZED, UNDETERMINED = ("transformer error", "oversized chain message",
                                        "blockchain undetermined error")


def literal(items, cast, quote=True):
    inner = ",".join(f'"{item}"' if quote else str(item) for item in items)
    return "'{" + inner.replace("\\", "\\\\") + "}'::" + cast + "[]"


class GoMigrator:
    def __init__(self, v3, node, forge):
        self.v3, self.node, self.forge = v3, node, forge

    def tracker(self, kind):
        return int(psql(self.node, "SELECT last_migrated_id FROM migration_tracker"
                                   f" WHERE source_table = '{kind}'"))

    def set_tracker(self, kind, id):
        psql(self.node, self._tracker_sql(kind, id))

    @staticmethod
    def _tracker_sql(kind, id):
        return (f"UPDATE migration_tracker SET last_migrated_id = {id}, updated_at = now()"
                f" WHERE source_table = '{kind}';")

    def fetch(self, kind, limit=1000):
        """The ids that it would take next."""
        table = READ.get(kind, kind)
        key = TABLES[table]
        return [int(id) for id, in rows(
            self.v3, f"SELECT {key} FROM {table} WHERE {key} > {self.tracker(kind)}"
                     f" AND {CONDITIONS.get(kind, 'true')} ORDER BY {key} LIMIT {limit}")]

    def give_up(self, kind, id, payload="", reason=TRANSFORMER):
        """A dead letter; the tracker jumps to it, over whatever is in flight."""
        psql(self.node, f"""
            BEGIN; SELECT insert_migration_dead_letter_box('{kind}', {id}, '{payload}', '{reason}',
                {"true" if reason == TRANSFORMER else "false"});
            {self._tracker_sql(kind, id)} COMMIT""")

    def envelopes(self, kind, ids):
        """The rows of meta and blob of these ids, as far as it can make an envelope of them."""
        return [] if not ids else rows(self.forge, f"""
            SELECT m.originator_sequence_id, m.topic, m.gateway_time, m.expiry, p.address,
                b.originator_envelope FROM {META} m
            JOIN {BLOB} b USING (originator_node_id, originator_sequence_id)
            JOIN payers p ON p.id = m.payer_id
            WHERE originator_node_id = {ORIGINATORS[kind]} AND m.originator_sequence_id IN
                ({",".join(map(str, ids))}) ORDER BY 1""")

    def write(self, kind, ids, change=lambda envelope: envelope):
        """One batch and its tracker, in one transaction; change makes other bytes of an envelope."""
        found = self.envelopes(kind, ids)
        if not found:
            return
        originator, (seqs, topics, times, expiries, addresses, envelopes) = ORIGINATORS[kind], zip(
            *found)
        bands = {int(id) // 1000000 * 1000000 for id in seqs}
        psql(self.node, "".join(
            f"BEGIN; SELECT pg_advisory_xact_lock(5);"
            f" SELECT ensure_gateway_parts_v3({originator}, {band}); COMMIT;" for band in bands))
        count = len(seqs)
        psql(self.node, f"""
            INSERT INTO payers (address) VALUES ('{addresses[0]}') ON CONFLICT DO NOTHING;
            BEGIN; SELECT pg_advisory_xact_lock_shared(5);
            SELECT insert_gateway_envelope_batch_v3(
                array_fill({originator}, ARRAY[{count}]), {literal(seqs, "bigint", False)},
                {literal(topics, "bytea")},
                array_fill((SELECT id FROM payers WHERE address = '{addresses[0]}'),
                    ARRAY[{count}]),
                {literal(times, "timestamp")}, {literal(expiries, "bigint", False)},
                {literal(map(change, envelopes), "bytea")},
                array_fill(1::bigint, ARRAY[{count}]), array_fill(true, ARRAY[{count}]),
                array_fill(false, ARRAY[{count}]));
            {self._tracker_sql(kind, seqs[-1])} COMMIT""")

    def bring(self, kind, batch=100, upto=None):
        """Batch by batch till nothing is left, or the tracker is at upto; gives the ids."""
        brought = []
        while ids := [id for id in self.fetch(kind, batch) if upto is None or id <= upto]:
            self.write(kind, ids)
            self.set_tracker(kind, ids[-1])
            brought += ids
        return brought
