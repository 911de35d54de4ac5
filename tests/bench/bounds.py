"""What PostgreSQL's own tools take for the same bytes: the bounds, as SQL for psql."""

import os

from support import servers
from .world import TABLES, psql, statement

PARENTS = ("gateway_envelopes_meta", "gateway_envelopes_blob")


class Bounds:
    """Statements over the bytes of a loaded node of so many rows."""

    def __init__(self, world, rows):
        self.world, self.rows = world, rows
        self.folder = os.path.join(world.folder, f"bytes-{rows}")
        self.reference = world.target.dsn(world.loaded(rows))
        self.leaves = [line for line, in servers.rows(self.reference, f"""
            SELECT relid FROM unnest('{{{",".join(PARENTS)}}}'::regclass[]) p,
                pg_partition_tree(p) WHERE isleaf ORDER BY relid::text DESC""")]
        if not os.path.isdir(self.folder):
            os.mkdir(self.folder)
            os.chmod(self.folder, 0o755)
            for leaf in self.leaves:
                servers.psql(self.reference, f"""\\copy (SELECT * FROM {leaf}) TO
                    '{self._bytes(leaf)}' (FORMAT binary)""".replace("\n", " "))

    def _bytes(self, leaf):
        return os.path.join(self.folder, leaf)

    def _file(self, name, *lines):
        return statement(os.path.join(self.folder, name + ".sql"), *lines)

    # ---- out -----------------------------------------------------------------------------------

    def copy_out(self, source):
        """Everything of the source to standard output, in binary."""
        return psql(source, self._file("out", *(
            f"COPY (SELECT * FROM {table} ORDER BY {id}) TO STDOUT (FORMAT binary);"
            for table, id in TABLES.items())))

    def copy_node_out(self, node):
        return psql(node, self._file("node-out", """
            COPY (SELECT m.*, b.originator_envelope FROM gateway_envelopes_meta m
                JOIN gateway_envelopes_blob b USING (originator_node_id, originator_sequence_id)
                ORDER BY originator_node_id, originator_sequence_id) TO STDOUT (FORMAT binary);"""))

    # ---- in ------------------------------------------------------------------------------------

    def _indexes(self, leaf):
        """The leaf's keys and indexes, for a table of another name."""
        return [line for line, in servers.rows(self.reference, f"""
            SELECT CASE WHEN indisprimary
                THEN 'ALTER TABLE raw_{leaf} ADD ' || pg_get_constraintdef(c.oid)
                ELSE regexp_replace(replace(pg_get_indexdef(indexrelid), 'public.{leaf}',
                    'public.raw_{leaf}'), 'INDEX \\S+ ON', 'INDEX ON') END || ';'
            FROM pg_index LEFT JOIN pg_constraint c ON conindid = indexrelid AND contype = 'p'
            WHERE indrelid = '{leaf}'::regclass ORDER BY indexrelid""")]

    def raw_load(self, node):
        """COPY FREEZE into detached tables like the leaves, then their indexes, in one
        transaction each, as a bulk load can do at best."""
        lines = []
        for leaf in self.leaves:
            lines += ["BEGIN;", f"CREATE TABLE raw_{leaf} (LIKE {leaf} INCLUDING DEFAULTS);",
                      f"\\copy raw_{leaf} FROM '{self._bytes(leaf)}' (FORMAT binary, FREEZE)",
                      *self._indexes(leaf), "COMMIT;"]
        make = [f"SELECT ensure_gateway_parts_v3({part[1:]}, {start});" for part, start in
                sorted({tuple(leaf.rsplit("_", 3)[1:3]) for leaf in self.leaves},
                       key=str) for start in [start[1:]]]
        servers.psql(node, "\n".join(make))
        return psql(node, self._file("raw", *lines))

    def staged_load(self, node):
        """COPY into temporary tables, then INSERT ... SELECT into the parents."""
        lines = ["BEGIN;"]
        for parent in PARENTS:
            leaves = [leaf for leaf in self.leaves if leaf.startswith(parent)]
            lines += [f"CREATE TEMP TABLE s_{parent} (LIKE {parent}) ON COMMIT DROP;"]
            lines += [f"\\copy s_{parent} FROM '{self._bytes(leaf)}' (FORMAT binary)"
                      for leaf in leaves]
            lines += [f"INSERT INTO {parent} SELECT * FROM s_{parent} ON CONFLICT DO NOTHING;"]
        return psql(node, self._file("staged", *lines, "COMMIT;"))

    def half(self):
        """The name of a database whose bands hold every other row, without our books."""
        name = f"half_{self.rows}"
        if not servers.rows(self.world.target.dsn(),
                            f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
            dsn = self.world.node(name, template=self.world.loaded(self.rows))
            servers.psql(dsn, """
                DROP SCHEMA xmtp_migrate CASCADE;
                DELETE FROM gateway_envelopes_blob WHERE originator_sequence_id % 2 = 1;
                DELETE FROM gateway_envelopes_meta WHERE originator_sequence_id % 2 = 1;
                DELETE FROM migration_tracker; DELETE FROM migration_dead_letter_box;""")
            servers.psql(dsn, "VACUUM FULL")
            servers.psql(dsn, "ANALYZE")
        return name
