"""The databases and bundles that cases measure on: made once, on servers with PostgreSQL's own
default settings, and given out fresh."""

import json
import os

from support import servers

KEYS = ("payer", "originator")
TABLES = {"group_messages": "id", "welcome_messages": "id", "key_packages": "sequence_id",
          "inbox_log": "sequence_id"}
EMPTY_IDS = 200_000_000
LARGE_BYTES = 4_000_000


class World:
    """One server for the source and one for all nodes: a cluster more would only cost memory."""

    def __init__(self, runner):
        self.runner, self.folder = runner, runner.folder
        self.source, self.target = servers.Server(quick=False), servers.Server(quick=False)
        self.servers = (self.source, self.target)
        self._sources, self._loaded = {}, set()
        for key in KEYS:
            path = os.path.join(self.folder, key + ".key")
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(os.urandom(32).hex())

    def close(self):
        for server in self.servers:
            server.close()

    # ---- the source --------------------------------------------------------------------------

    def v3(self, rows, large=False, sparse=False):
        """The DSN of a V3 database with so many rows; made when first asked for."""
        name = f"v3_{rows}" + ("_large" if large else "") + ("_sparse" if sparse else "")
        if name not in self._sources:
            dsn = self.source.create_database(name)
            self.runner.quietly("xmtp-seed", "schema", "v3", "--dsn", dsn)
            if sparse:
                for table, id in TABLES.items():
                    servers.psql(dsn, f"""SELECT setval(pg_get_serial_sequence('{table}', '{id}'),
                        {EMPTY_IDS})""")
            self.runner.quietly("xmtp-seed", "rows", "--dsn", dsn, "--rows", rows)
            if large:
                self._add_large(dsn)
            servers.psql(dsn, "VACUUM ANALYZE")
            servers.psql(dsn, "CHECKPOINT")
            self._sources[name] = dsn
        return self._sources[name]

    def _add_large(self, dsn):
        """Turns the message in the middle into one of 4 MB: as many rows as without."""
        servers.psql(dsn, f"""
            UPDATE group_messages SET data = substring(data FOR 60) || (SELECT
                string_agg(sha256(n::text::bytea), ''::bytea) FROM
                generate_series(1, {LARGE_BYTES // 32}) n)
            WHERE id = (SELECT id FROM group_messages
                WHERE id > (SELECT max(id) / 2 FROM group_messages) AND is_commit IS NOT TRUE
                AND length(data) > 200 ORDER BY id LIMIT 1)""")

    # ---- the nodes ---------------------------------------------------------------------------

    def node(self, name, template=None, place=0):
        """A fresh database of the node that stands at a place of the manifest; gives its DSN."""
        servers.psql(self.target.dsn(), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        if template:
            servers.psql(self.target.dsn(), f"CREATE DATABASE {name} TEMPLATE {template}")
            dsn = self.target.dsn(name)
        else:
            dsn = self.target.create_database(name)
            self.runner.quietly("xmtp-seed", "schema", "node", "--dsn", dsn, "--node-id",
                                100 * (place + 1))
        self.settle()
        return dsn

    def settle(self):
        """What one measurement left to be written is not the next one's."""
        for server in self.servers:
            servers.psql(server.dsn(), "CHECKPOINT")

    # ---- manifests and bundles ---------------------------------------------------------------

    def manifest(self, source, nodes):
        """Every row is kept, so that each costs its share."""
        path = os.path.join(self.folder, "manifest.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({
                "schema": "xmtp-migrate/manifest/1", "network": "bench",
                "source": {"dsn": source, "settle": "writers"},
                "nodes": [{"name": f"n{place}", "node_id": 100 * (place + 1), "dsn": dsn}
                          for place, dsn in enumerate(nodes)],
                "keys": {key: f"file:{key}.key" for key in KEYS},
                "policy": {"expired": "keep"},
                "rates": [{"start": "2020-01-01T00:00:00Z", "message_fee": 100,
                           "storage_fee": 200}]}, file)
        return path

    def bundle(self, rows, stage):
        """A tar of the rows or of their envelopes."""
        path = os.path.join(self.folder, f"{stage}-{rows}.tar")
        if not os.path.exists(path):
            words = ["xmtp-export"] if stage == "rows" else \
                ["xmtp-transform", "--in", self.bundle(rows, "rows")]
            manifest = self.manifest(self.v3(rows), [self.target.dsn()])
            self.runner.quietly(*words, "--manifest", manifest, "--out", path)
        return path

    def loaded(self, rows):
        """The name of a node database that holds everything: what bounds take their bytes from."""
        name = f"reference_{rows}"
        if name not in self._loaded:
            bundle, dsn = self.bundle(rows, "envelopes"), self.node(name)
            self.runner.quietly("xmtp-load", "--manifest", self.manifest(self.v3(rows), [dsn]),
                                "--in", bundle)
            self._loaded.add(name)
        return name


def statement(path, *lines):
    """A file of SQL for psql."""
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return path


def psql(dsn, file):
    """psql as a command, for Runner.timed()."""
    return (servers.client("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", file)
