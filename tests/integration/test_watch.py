"""A run as others see it while it works: metrics, health, readiness, hostile requests; status
--watch."""

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from conftest import tool_path
from support.servers import psql
from support.world import add_message, held, insert_message, world  # noqa: F401



class Watched:
    """A tool that runs with --metrics on a port it chose."""

    def __init__(self, process):
        self.process = process
        self.told = ""
        while not (found := re.search(r"metrics at (http://127\.0\.0\.1:\d+)/", self.told)):
            line = process.stderr.readline()
            assert line, self.told
            self.told += line
        self.url = found[1]

    def get(self, path, method="GET"):
        """(status, text)"""
        request = urllib.request.Request(self.url + path, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def value(self, series):
        """Of a series written as in the exposition; None when it isn't told."""
        found = re.search(f"^{re.escape(series)} (.*)$", self.get("/metrics")[1], re.M)
        return float(found[1]) if found else None

    def until(self, condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline
            assert self.process.poll() is None, self.told + self.process.stderr.read()
            time.sleep(0.05)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, self.told + err


@pytest.fixture
def run_watched(world, start_tool):  # noqa: F811
    def start(*words, address="127.0.0.1:0", env=None):
        return Watched(start_tool("xmtp-migrate", "run", "--manifest", world.manifest, "--metrics",
                                  address, *words, env=env))

    return start


def assert_well_formed(text):
    """Prometheus' own tool finds fault with no name but those that aren't ours to choose."""
    if not shutil.which("promtool"):
        return
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                          text=True)
    faults = [line for line in done.stderr.splitlines() if not line.startswith("xmtp_migrator_")]
    assert done.returncode in (0, 3) and not faults, done.stderr + done.stdout


def test_a_run_tells_how_far_it_is(world, run_watched):  # noqa: F811
    world.seed(3000)
    run = run_watched("--max-rate", "300")
    run.until(lambda: (run.value('xmtp_migrate_node_rows_loaded_total{table="welcome_messages",'
                                 'node="beta"}') or 0) > 0)
    assert run.get("/healthz") == (200, "ok\n")
    assert run.get("/readyz") == (200, "ok\n")
    assert run.value("xmtp_migrate_source_up") == 1
    assert run.value('xmtp_migrate_node_up{node="beta"}') == 1
    run.until(lambda: run.value("xmtp_migrate_source_throttled_seconds_total") > 0)
    text = run.get("/metrics")[1]
    assert_well_formed(text)
    tables = set(re.findall(r'table="([^"]*)"', text))
    assert tables == {"group_messages", "welcome_messages", "key_packages", "inbox_log"}
    assert set(re.findall(r'node="([^"]*)"', text)) == {"alpha", "beta"}
    bound = int(psql(world.v3, "SELECT last_value FROM group_messages_id_seq"))
    assert run.value('xmtp_migrate_settled_bound{table="group_messages"}') == bound
    id = psql(world.alpha, "SELECT run FROM xmtp_migrate.runs")
    assert f'xmtp_migrate_run_info{{run="{id}",network="local"}} 1' in text
    assert run.stop()[0] == 130
    with pytest.raises(urllib.error.URLError):
        run.get("/healthz")


def test_a_run_that_stalls_says_so(world, run_watched):  # noqa: F811
    world.seed(3000)
    with held(world.beta, "LOCK TABLE gateway_envelopes_meta"):
        run = run_watched("--stall-after", "2")
        run.until(lambda: run.get("/healthz")[0] == 503)
        assert run.get("/healthz")[1].startswith("stalled: no progress for ")
        assert run.value("xmtp_migrate_stalled") == 1
    run.process.communicate(timeout=60)
    assert run.process.returncode == 0


def test_a_node_that_is_away_is_told_and_awaited(world, run_watched):  # noqa: F811
    world.seed(2000)
    nodes = dict(world.nodes, beta="host=127.0.0.1 port=1 user=x dbname=x connect_timeout=1")
    world.write(nodes=nodes)
    run = run_watched("--max-rate", "300")
    run.until(lambda: run.value('xmtp_migrate_node_up{node="alpha"}') == 1)
    run.until(lambda: run.get("/healthz")[0] == 200)
    assert run.get("/readyz") == (503, "awaiting: node 'beta'\n")
    assert run.value('xmtp_migrate_node_up{node="beta"}') == 0


def test_retries_are_counted_and_a_node_that_is_back_is_up(new_server, world,  # noqa: F811
                                                           run_watched, tool):
    server = new_server()
    dsn = server.create_database()
    tool("xmtp-seed", "schema", "node", "--dsn", dsn, "--node-id", 100)
    world.write(nodes={"alpha": dsn})
    world.seed(3000)
    run = run_watched("--max-rate", "300")
    run.until(lambda: run.value('xmtp_migrate_node_up{node="alpha"}') == 1)
    run.until(lambda: run.get("/readyz")[0] == 200)
    server.stop()
    run.until(lambda: (run.value('xmtp_migrate_node_retries_total{node="alpha"}') or 0) > 0)
    assert run.value('xmtp_migrate_node_up{node="alpha"}') == 0
    assert run.get("/readyz")[0] == 503
    server.start()
    run.until(lambda: run.value('xmtp_migrate_node_up{node="alpha"}') == 1)
    assert run.value('xmtp_migrate_node_given_up_total{node="alpha"}') == 0
    assert run.stop()[0] in (0, 130)


def test_hostile_requests_stop_neither_the_run_nor_a_scrape(world, run_watched):  # noqa: F811
    world.seed(3000)
    run = run_watched("--max-rate", "300")
    host, port = re.fullmatch(r"http://(.*):(\d+)", run.url).groups()
    assert run.get("/metrics", method="POST")[0] == 405
    assert run.get("/metrics", method="OPTIONS")[0] == 405
    assert run.get("/../../etc/passwd")[0] == 404
    crowd = []
    for request in (b"GET /metr", b"", b"\x16\x03\x01\x02\x00", b"GET /" + b"x" * 100000,
                    b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\nx"):
        for _ in range(60):
            crowd.append(socket.create_connection((host, int(port))))
            with contextlib.suppress(OSError):
                crowd[-1].sendall(request)
    assert run.get("/metrics")[0] == 200
    for one in crowd:
        one.close()
    assert run.get("/healthz")[0] == 200
    status, _, err = run.stop()
    assert status == 130, err


def test_a_port_in_use_is_told_before_anything_is_done(world):  # noqa: F811
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ran = world.migrate("run", "--metrics", address, status=1)
    assert f"cannot listen at '{address}': Address already in use" in ran.err
    assert "hint:" in ran.err and ran.out == ""
    assert world.untouched()
    ran = world.migrate("run", "--metrics", "nowhere", status=2)
    assert "'nowhere' is no address" in ran.err
    assert world.untouched()


def test_systemd_hears_when_it_has_begun_and_when_it_stops(world, run_watched,  # noqa: F811
                                                          tmp_path):
    world.seed(3000)
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(path)
        line.settimeout(20)
        run = run_watched("--max-rate", "300", env={"NOTIFY_SOCKET": path,
                                                    "WATCHDOG_USEC": "600000"})
        heard = []
        while not {"READY=1", "WATCHDOG=1"} <= set(heard) or "STATUS=run" not in " ".join(heard):
            heard.append(line.recv(4096).decode())
        assert run.stop()[0] == 130
        while heard[-1] != "STOPPING=1":
            heard.append(line.recv(4096).decode())


def test_who_follows_tells_lag_and_whom_it_waits_for(world, start_tool):  # noqa: F811
    add_message(world.v3, "one")
    world.run()
    follow = Watched(start_tool("xmtp-migrate", "follow", "--manifest", world.manifest, "--metrics",
                                "127.0.0.1:0", "--stall-after", "2"))
    of = '{table="group_messages"}'
    lag, latency = "xmtp_migrate_lag_rows" + of, "xmtp_migrator_e2e_latency_seconds_count" \
        '{table="group_messages",destination="database"}'
    follow.until(lambda: follow.value("xmtp_migrate_idle_looks_total"))
    time.sleep(2.5)
    assert follow.get("/healthz") == (200, "ok\n"), "there is nothing to do"
    assert follow.get("/readyz") == (200, "ok\n")
    assert follow.value(lag) == 0
    id = add_message(world.v3, "two")
    follow.until(lambda: follow.value("xmtp_migrator_destination_last_sequence_id" + of) == id)
    follow.until(lambda: follow.value(latency) == 1)
    follow.until(lambda: follow.value("xmtp_migrate_lag_seconds" + of) == 0)
    with held(world.v3, insert_message("three")):
        add_message(world.v3, "four")
        follow.until(lambda: follow.value("xmtp_migrate_oldest_writer_seconds" + of) > 0)
        assert follow.value("xmtp_migrate_settled_bound" + of) == id
    with held(world.beta, "LOCK TABLE gateway_envelopes_meta"):
        add_message(world.v3, "five")
        follow.until(lambda: follow.get("/healthz")[0] == 503)
    follow.until(lambda: follow.get("/healthz")[0] == 200)
    follow.until(lambda: follow.value(lag) == 0)
    assert_well_formed(follow.get("/metrics")[1])
    assert follow.stop()[0] == 0


# ---- status --watch --------------------------------------------------------------------------------


def read_line(stream, seconds=20):
    assert select.select([stream], [], [], seconds)[0], "nothing came"
    return stream.readline()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_status_watch_gives_a_document_a_line_until_it_is_stopped(world, start_tool,  # noqa: F811
                                                                  number):
    add_message(world.v3, "one")
    world.run()
    status = start_tool("xmtp-migrate", "status", "--watch", "--interval", "1", "--json",
                        "--manifest", world.manifest)
    assert json.loads(read_line(status.stdout))["verdict"] == "green"
    add_message(world.v3, "two")
    account = world.run()
    while json.loads(read_line(status.stdout))["run"] != account["run"]:
        pass
    status.send_signal(number)
    status.communicate(timeout=10)
    assert status.returncode == 0


def test_status_watch_redraws_on_a_terminal(world):  # noqa: F811
    add_message(world.v3, "one")
    world.run()
    ours, theirs = pty.openpty()
    status = subprocess.Popen([tool_path("xmtp-migrate"), "status", "--watch", "--interval", "1",
                               "--manifest", world.manifest], stdout=theirs, stderr=theirs)
    os.close(theirs)
    drawn = b""
    while drawn.count(b"verdict: green") < 2:
        assert select.select([ours], [], [], 20)[0], drawn
        drawn += os.read(ours, 65536)
    status.send_signal(signal.SIGINT)
    assert status.wait(timeout=10) == 0
    os.close(ours)
    assert drawn.startswith(b"\033[H\033[2J") and drawn.count(b"\033[2J") == 2


def test_status_watch_outlives_a_server(new_server, world, start_tool, tool):  # noqa: F811
    server = new_server()
    dsn = server.create_database()
    tool("xmtp-seed", "schema", "node", "--dsn", dsn, "--node-id", 100)
    world.write(nodes={"alpha": dsn, "beta": world.beta})
    add_message(world.v3, "one")
    world.run()
    status = start_tool("xmtp-migrate", "status", "--watch", "--interval", "1", "--json",
                        "--log-format", "json", "--manifest", world.manifest)
    assert json.loads(read_line(status.stdout))["verdict"] == "green"
    server.stop()
    while "alpha" not in json.loads(read_line(status.stderr)).get("node", ""):
        pass
    while json.loads(read_line(status.stdout))["verdict"] == "green":
        pass
    server.start()
    while json.loads(read_line(status.stdout))["verdict"] != "green":
        pass
    status.send_signal(signal.SIGTERM)
    status.communicate(timeout=10)
    assert status.returncode == 0
