"""A run as others see it while it works: metrics, health, readiness, hostile requests; status
--watch."""

import json
import pathlib
import re
import select
import signal
import socket
import time
import urllib.error
import urllib.request

import pytest

from support.servers import psql
from support.world import add_message, held, world  # noqa: F401

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "manifests" / "deploy"


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
            assert time.monotonic() < deadline and self.process.poll() is None
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


BLOCK = "LOCK TABLE gateway_envelopes_meta IN ACCESS EXCLUSIVE MODE"


def test_a_run_tells_how_far_it_is_and_when_it_stalls(world, run_watched):  # noqa: F811
    world.seed(3000)
    with held(world.beta, "SELECT pg_advisory_lock(1); LOCK TABLE gateway_envelopes_meta"):
        run = run_watched("--stall-after", "2")
        run.until(lambda: (run.value('xmtp_migrator_reader_num_rows_found{table="inbox_log"}')
                           or 0) > 0)
        assert run.value("xmtp_migrate_source_up") == 1
        assert run.value('xmtp_migrate_node_up{node="beta"}') == 1
        run.until(lambda: run.get("/healthz")[0] == 503)
        assert run.get("/healthz")[1].startswith("stalled: no progress for ")
        assert run.value("xmtp_migrate_stalled") == 1
    run.process.communicate(timeout=60)
    assert run.process.returncode == 0
