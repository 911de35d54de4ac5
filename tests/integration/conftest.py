"""What every integration test can ask for.

    server      a PostgreSQL server for the whole session
    new_server  starts more servers, for tests that stop or crash them
    freeze      stops all processes of a server in the middle of what they do
    databases   makes V3 and node databases, dropped when the test ends
    tool        runs one of our tools from $MIG_BUILD/bin
    manifest    writes a manifest and its key files
"""

import copy
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from support import servers  # noqa: E402

BUILD = pathlib.Path(os.environ.get("MIG_BUILD", TESTS.parent / "build"))
TOOL_SECONDS = 120


# ---- servers and databases ------------------------------------------------------------------------


@pytest.fixture(scope="session")
def server():
    with servers.Server() as started:
        yield started


@pytest.fixture
def new_server():
    started = []

    def start(**settings):
        started.append(servers.Server(settings))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def freeze():
    """freeze(server): none of its processes answers, until the test ends."""
    stopped = []

    def stop(server):
        # The server first: it then makes no more children, and lets none disappear.
        os.kill(server.pid, signal.SIGSTOP)
        stopped.append(server.pid)
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(server.pid)],
                                  capture_output=True, text=True).stdout.split()
        for pid in map(int, children):
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)

    yield stop
    # And last: it would clear away a child that had ended meanwhile, with its pid.
    for pid in reversed(stopped):
        os.kill(pid, signal.SIGCONT)


class Databases:
    """Makes databases on one server; each method gives a DSN."""

    def __init__(self, server, tool):
        self._server = server
        self._tool = tool
        self._made = []

    def empty(self):
        return self._make("template1")

    def _make(self, template):
        self._made.append(self._server.create_database(template=template))
        return self._made[-1]

    def copy(self, name, fill):
        """A copy of what fill(dsn) has made of an empty database, once on this server."""
        if name not in self._server.templates:
            fill(self._server.create_database(name))
            self._server.templates.add(name)
        return self._make(name)

    def _with_schema(self, name, *words):
        return self.copy(name, lambda dsn: self._tool("xmtp-seed", "schema", *words, "--dsn", dsn))

    def v3(self, rows=0, **options):
        """A V3 database; options are those of `xmtp-seed rows`, with _ for -."""
        dsn = self._with_schema("v3", "v3")
        if rows:
            words = [word for name, value in options.items()
                     for word in ("--" + name.replace("_", "-"), value)]
            self._tool("xmtp-seed", "rows", "--dsn", dsn, "--rows", rows, *words)
        return dsn

    def sample(self):
        """A V3 database with the sample rows."""
        dsn = self.v3()
        self._tool("xmtp-seed", "csv", "--dsn", dsn, TESTS / "data" / "sample")
        return dsn

    def node(self, node_id=100):
        return self._with_schema(f"node_{node_id}", "node", "--node-id", node_id)

    def drop_all(self):
        for dsn in self._made:
            self._server.drop_database(dsn)


@pytest.fixture
def databases(server, tool):
    made = Databases(server, tool)
    yield made
    made.drop_all()


# ---- tools ----------------------------------------------------------------------------------------


class Ran:
    """How a tool ended."""

    def __init__(self, process):
        self.status = process.returncode
        self.out = process.stdout
        self.err = process.stderr

    @property
    def json(self):
        return json.loads(self.out)


def tool_path(name):
    return str(BUILD / "bin" / name)


def tool_environment(changes=None):
    """The environment of a tool: ours, without what would change its behaviour unasked."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("XMTP_", "PG"))}
    environment.update(changes or {})
    return environment


@pytest.fixture(scope="session")
def tool():
    """tool(name, *arguments, env=, status=, stdin=): runs it and checks how it ends; status=None
    accepts any exit status."""

    def run(name, *arguments, env=None, status=0, stdin=None, cwd=None, seconds=TOOL_SECONDS):
        ran = Ran(subprocess.run(
            [tool_path(name), *map(str, arguments)], input=stdin, capture_output=True, text=True,
            env=tool_environment(env), cwd=cwd, timeout=seconds))
        if status is not None:
            assert ran.status == status, f"{name} ended with {ran.status}:\n{ran.err}{ran.out}"
        return ran

    return run


@pytest.fixture
def start_tool():
    """start_tool(name, *arguments, env=): a running tool (a Popen), killed when the test ends."""
    running = []

    def start(name, *arguments, env=None):
        running.append(subprocess.Popen(
            [tool_path(name), *map(str, arguments)], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=tool_environment(env)))
        return running[-1]

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


# ---- manifests ------------------------------------------------------------------------------------

PAYER_KEY = "11" * 32
ORIGINATOR_KEY = "22" * 32

MANIFEST = {
    "schema": "xmtp-migrate/manifest/1",
    "network": "local",
    "keys": {"payer": "file:payer.key", "originator": "file:originator.key"},
    "policy": {
        "profile": "correct",
        "originator_ns": "created",
        "usage": "skip",
        "retention_days": {"group_messages": 60, "welcome_messages": 90, "key_packages": 90},
        "source_retention_days": {"group_messages": 30, "welcome_messages": 90,
                                  "key_packages": 90},
        "allow_shorter_than_source": [],
        "expired": "drop",
    },
    "rates": [{"start": "2025-01-01T00:00:00Z", "message_fee": 100, "storage_fee": 200}],
    "rate_bounds": {"message_fee": 1000000, "storage_fee": 1000000},
}


@pytest.fixture
def manifest(tmp_path):
    """manifest(source_dsn, {"alpha": dsn, ...}, policy={...}, rates=[...]): its path. Nodes get the
    ids 100, 200 ... in their order; policy is laid over the default, other members replace."""

    def write(source, nodes, policy=None, **members):
        document = copy.deepcopy(MANIFEST)
        document["source"] = {"dsn": source, "settle": "writers"}
        document["nodes"] = [{"name": name, "node_id": 100 * place, "dsn": dsn}
                             for place, (name, dsn) in enumerate(nodes.items(), start=1)]
        document["policy"].update(policy or {})
        document.update(members)
        for name, key in (("payer", PAYER_KEY), ("originator", ORIGINATOR_KEY)):
            key_file = tmp_path / f"{name}.key"
            key_file.write_text(key + "\n")
            key_file.chmod(0o600)
        path = tmp_path / "manifest.json"
        path.write_text(json.dumps(document, indent=2))
        return path

    return write
