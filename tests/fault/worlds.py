"""Worlds for faults: V3 databases, node databases and bundles made once, and fresh copies of them."""

import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from support.servers import Server, psql

UNTIL = "2026-01-01T00:00:00Z"
ROWS = 1200
NODES = ("alpha", "beta")
SECONDS = 120
GROUP = "a0" * 16
KEYS = {"payer": "11" * 32, "originator": "22" * 32}
MANIFEST = {
    "schema": "xmtp-migrate/manifest/1",
    "network": "local",
    "keys": {name: f"file:{name}.key" for name in KEYS},
    "rates": [{"start": "2025-01-01T00:00:00Z", "message_fee": 100, "storage_fee": 200}],
}

# Two bands of messages, welcomes up to the end of a band, and rows of every kind that a node or the
# chain gets, or nobody.
SPREAD = """
    UPDATE group_messages SET id = id + 2000000 WHERE id BETWEEN 300 AND 1000000;
    UPDATE welcome_messages SET id = id + 999900 -
        (SELECT max(id) FROM welcome_messages WHERE id < 1e9) WHERE id BETWEEN 100 AND 1000000;
    SELECT setval('group_messages_id_seq', (SELECT max(id) FROM group_messages WHERE id < 1e9)),
        setval('welcome_messages_id_seq', (SELECT max(id) FROM welcome_messages WHERE id < 1e9))"""
# Rows that no run brings, in each band: a band that has rows is staged.
IN_THE_WAY = "".join(f"""
    SELECT ensure_gateway_parts_v3({originator}, {start});
    INSERT INTO gateway_envelopes_meta (originator_node_id, originator_sequence_id, topic, expiry)
    VALUES ({originator}, {start + 999999}, '\\x00ff', 42);
    """ for originator in (10, 11, 13) for start in (0, 2000000))
# What another tool has left on a node, made of what a run has: some rows are missing, some have
# other bytes, letters have no record, and there are no books of ours.
BESIDE = """
    DROP SCHEMA xmtp_migrate CASCADE;
    DELETE FROM gateway_envelopes_meta WHERE originator_sequence_id % 7 = 0;
    UPDATE gateway_envelopes_blob SET originator_envelope = originator_envelope || '\\x00'
    WHERE originator_sequence_id % 50 = 3;
    UPDATE migration_dead_letter_box SET payload = '', reason = 'transformer error'"""
# Rows for nodes that came after a run, to both sides of the end of a bucket (parts that grow end
# there) and of a band; and older key packages that were uploaded again.
GROWN = f"""
    SELECT setval('group_messages_id_seq', 489 * 4096 - 100);
    UPDATE installations i SET key_package = k.key_package,
        updated_at = (extract(epoch FROM now()) - 60)::bigint * 1000000000
    FROM (SELECT DISTINCT ON (installation_id) installation_id, key_package FROM key_packages
        ORDER BY installation_id, sequence_id) k WHERE k.installation_id = i.id;
    INSERT INTO group_messages (created_at, group_id, data, group_id_data_hash, is_commit)
    SELECT now() - interval '1 minute', '\\x{GROUP}', decode('0001000210{GROUP}{"00" * 8}01' ||
        md5(g::text), 'hex'), sha256(g::text::bytea), false FROM generate_series(1, 200) g;
    INSERT INTO welcome_messages (created_at, installation_key, data, hpke_public_key,
        installation_key_data_hash, wrapper_algorithm)
    SELECT now() - interval '1 minute', '\\x{"c0" * 32}', md5(g::text)::bytea, '\\x00',
        sha256(g::text::bytea), 0 FROM generate_series(1, 200) g"""
MENDED = f"UPDATE group_messages SET group_id = '\\x{GROUP}' WHERE octet_length(group_id) <> 16"
# A row in a gap of what a run has brought.
LATE = f"""
    INSERT INTO group_messages (id, created_at, group_id, data, group_id_data_hash, is_commit)
    VALUES (400, '2025-12-31', '\\x{GROUP}', decode('0001000210{GROUP}{"00" * 8}01ff', 'hex'),
        sha256('late'), false)"""
AFTERWARDS = {"mended": MENDED, "grown": GROWN, "late": LATE}


class ToolError(Exception):
    pass


class Worlds:
    """Makes what copies are taken of when it is first asked for."""

    def __init__(self, build):
        self.build = pathlib.Path(build).resolve()
        self.server = Server()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fault"))
        self._made, self._numbers = {}, itertools.count(1)

    def close(self):
        self.server.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- tools -------------------------------------------------------------------------------

    def environment(self, changes=None):
        """Of a tool: ours without what would change its behaviour; a sanitizer's word is final."""
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith(("XMTP_", "PG", "MIG_FAULT"))}
        return {**kept, "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=1",
                "UBSAN_OPTIONS": "print_stacktrace=1", **(changes or {})}

    def start(self, words, env=None):
        return subprocess.Popen([str(self.build / "bin" / words[0]), *map(str, words[1:])],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env=self.environment(env))

    def tool(self, *words, statuses=(0,)):
        """Runs a tool that must end well; gives what it printed."""
        process = self.start(words)
        out, err = process.communicate(timeout=SECONDS)
        if process.returncode not in statuses:
            raise ToolError(f"{words[0]} ended with {process.returncode}: {err}")
        return out

    def has_verb(self, verb):
        return f"xmtp-migrate {verb}" in self.tool("xmtp-migrate", "--help")

    # ---- made once ---------------------------------------------------------------------------

    def _once(self, name, make):
        if name not in self._made:
            self._made[name] = make(name)
        return self._made[name]

    def v3(self, now="as_run"):
        """With all that can be amiss in rows: as_run, or one that changes after a run of its own:
        mended, some of it is put right; grown, more comes; late, a row comes below what was taken for
        settled."""
        def make(name):
            dsn = self.server.create_database(name)
            self.tool("xmtp-seed", "schema", "v3", "--dsn", dsn)
            self.tool("xmtp-seed", "rows", "--dsn", dsn, "--rows", ROWS, "--shape", "hostile",
                      "--seed", 7, "--until", UNTIL)
            psql(dsn, SPREAD)
            for later in AFTERWARDS:
                psql(self.server.dsn(), f"CREATE DATABASE v3_{later} TEMPLATE {name}")
            return name
        self._once("v3_as_run", make)
        return self.server.dsn(f"v3_{now}")

    def _node(self, place, state, v3):
        """The name of a template: state is empty, rows (in the way), run (a run is done, and V3 has
        changed since), ahead (that has been followed), beside (another tool was here) or conflicts
        (a run has found what that left)."""
        if state in ("empty", "rows"):
            return self._once(f"{NODES[place]}_{state}", lambda name: self._make_node(place, name))
        makers = {"run": self._make_run, "ahead": self._make_ahead, "beside": self._make_beside,
                  "conflicts": self._make_conflicts}
        return f"{NODES[place]}_{self._once(f'{v3}_{state}', lambda name: makers[state](name, v3))}"

    def _make_node(self, place, name):
        dsn = self.server.create_database(name)
        self.tool("xmtp-seed", "schema", "node", "--dsn", dsn, "--node-id", 100 * (place + 1))
        if name.endswith("rows"):
            psql(dsn, IN_THE_WAY)
        return name

    def _keep(self, place, name):
        """Makes templates of a place's nodes."""
        for node, copy in zip(NODES, place.databases):
            psql(self.server.dsn(), f"CREATE DATABASE {node}_{name} TEMPLATE {copy}")
        return name

    def _make_run(self, name, v3):
        with Place(self, nodes=2, v3=v3) as place:
            place.tool("xmtp-migrate", "run", "--as-of", UNTIL, statuses=(0, 4))
            self._keep(place, name)
        if v3 in AFTERWARDS:
            psql(self.v3(v3), AFTERWARDS[v3])
        return name

    def _make_ahead(self, name, v3):
        with Place(self, nodes=2, state="run", v3=v3) as place:
            process = self.start(("xmtp-migrate", "follow", "--manifest", place.manifest))
            while not place.has_followed() and process.poll() is None:
                time.sleep(0.1)
            process.terminate()
            _, err = process.communicate(timeout=SECONDS)
            if process.returncode not in (0, 4):
                raise ToolError(f"follow ended with {process.returncode}: {err}")
            return self._keep(place, name)

    def _make_beside(self, name, v3):
        with Place(self, nodes=2, state="run", v3=v3) as place:
            for dsn in place.nodes:
                psql(dsn, BESIDE)
            return self._keep(place, name)

    def _make_conflicts(self, name, v3):
        with Place(self, nodes=2, state="beside", v3=v3) as place:
            place.tool("xmtp-migrate", "run", "--as-of", UNTIL, statuses=(4,))
            return self._keep(place, name)

    def bundle(self, stage, suffix):
        """A bundle of rows or envelopes, in a folder (suffix "") or a tar (".tar")."""
        def make(name):
            out = self.folder / name
            with Place(self, nodes=1) as place:
                if stage == "rows":
                    place.tool("xmtp-export", "--as-of", UNTIL, "--out", out)
                else:
                    place.tool("xmtp-transform", "--in", self.bundle("rows", suffix), "--out", out,
                               statuses=(0, 4))
            return out
        return self._once(stage + suffix, make)

    def number(self):
        return next(self._numbers)


class Place:
    """Nodes, a folder and a manifest of their own; gone when left. state is that of the nodes, or
    of each of them."""

    def __init__(self, worlds, nodes, state="empty", v3="as_run", policy=None):
        self.worlds = worlds
        self.number = worlds.number()
        self.folder = worlds.folder / f"place{self.number}"
        self.folder.mkdir()
        self.databases = []
        states = [state] * nodes if isinstance(state, str) else state
        for place in range(nodes):
            template = worlds._node(place, states[place], v3)
            self.databases.append(f"{NODES[place]}_{self.number}")
            psql(worlds.server.dsn(), f"CREATE DATABASE {self.databases[-1]} TEMPLATE {template}")
        self.nodes = [worlds.server.dsn(name) for name in self.databases]
        self.manifest = self.folder / "manifest.json"
        self.source = worlds.v3(v3)
        self._policy = policy
        self.write()

    def write(self, source=None, nodes=None):
        """Writes the manifest: with other ways to the same databases, if given."""
        for name, key in KEYS.items():
            with open(self.folder / f"{name}.key", "w", encoding="utf-8",
                      opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(key + "\n")
        self.manifest.write_text(json.dumps({
            **MANIFEST, "source": {"dsn": source or self.source, "settle": "writers"},
            "nodes": [{"name": name, "node_id": 100 * place, "dsn": dsn} for place, (name, dsn)
                      in enumerate(zip(NODES, nodes or self.nodes or ["dbname=nobody"]), start=1)],
            **({"policy": self._policy} if self._policy else {})}))

    def tool(self, name, *words, statuses=(0,)):
        return self.worlds.tool(name, *words, "--manifest", self.manifest, statuses=statuses)

    def has_followed(self):
        """Whether the nodes' trackers are where the source is."""
        wanted = psql(self.source, """
            SELECT 'group_messages', max(id) FROM group_messages WHERE id < 1e9 UNION ALL
            SELECT 'welcome_messages', max(id) FROM welcome_messages WHERE id < 1e9 ORDER BY 1""")
        return all(psql(dsn, """SELECT source_table, last_migrated_id FROM migration_tracker
                   WHERE source_table IN ('group_messages', 'welcome_messages') ORDER BY 1""") == wanted
                   for dsn in self.nodes)

    def close(self):
        for name in self.databases:
            psql(self.worlds.server.dsn(), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def said_last(err):
    """The last lines of what a tool said, without its progress."""
    lines = [line for line in err.split("\n") if re.search(r"\S", line)]
    return " / ".join(lines[-2:])
