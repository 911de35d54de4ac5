"""xmtp-migrate follow beside writers for some minutes: memory and descriptors must not grow, and the
lag is what a stopwatch of our own says: from the commit of a message of ours at the source to the
moment at which the last node tells of it."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

from support import servers
from support.stopwatch import Stopwatch, share

GROWTH_MOST = 1.10  # of memory, from the second third to the last
WRITERS = 32
ROWS_OF_ALL = 0.95 * 0.95  # transactions that are not rolled back, and that add a row
REACHED_LEAST = 0.95


def options():
    parser = argparse.ArgumentParser(prog="ci/soak")
    parser.add_argument("--build", required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=int, default=300)
    parser.add_argument("--nodes", type=int, default=2)
    return parser.parse_args()


def look_at(pid):
    """Memory in MiB and open descriptors."""
    with open(f"/proc/{pid}/status") as status:
        kib = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    return kib / 1024, len(os.listdir(f"/proc/{pid}/fd"))


class Soak:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.bin = os.path.join(os.path.abspath(options.build), "bin")
        self.source, self.target = servers.Server(quick=False), servers.Server(quick=False)
        self.v3 = self.source.create_database("v3")
        self.nodes = [self.target.create_database(f"node_{i}") for i in range(options.nodes)]
        self.tool("xmtp-seed", "schema", "v3", "--dsn", self.v3)
        for i, node in enumerate(self.nodes):
            self.tool("xmtp-seed", "schema", "node", "--dsn", node, "--node-id", 100 * (i + 1))
        self.tool("xmtp-seed", "rows", "--dsn", self.v3, "--rows", 20000)
        self.manifest = self.write_manifest()

    def close(self):
        self.source.close()
        self.target.close()

    def tool(self, name, *words):
        subprocess.run([os.path.join(self.bin, name), *map(str, words)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def write_manifest(self):
        keys = {}
        for key in ("payer", "originator"):
            path = os.path.join(self.folder, key + ".key")
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(os.urandom(32).hex())
            keys[key] = f"file:{key}.key"
        days = {"group_messages": 60, "welcome_messages": 90, "key_packages": 90}
        path = os.path.join(self.folder, "manifest.json")
        with open(path, "w") as file:
            json.dump({
                "schema": "xmtp-migrate/manifest/1", "network": "soak",
                "source": {"dsn": self.v3, "settle": "writers"},
                "nodes": [{"name": f"node-{i}", "node_id": 100 * (i + 1), "dsn": node}
                          for i, node in enumerate(self.nodes)],
                "keys": keys,
                "policy": {"profile": "correct", "originator_ns": "created", "usage": "skip",
                           "retention_days": days,
                           "source_retention_days": {**days, "group_messages": 30},
                           "allow_shorter_than_source": [], "expired": "drop"},
                "rates": [{"start": "2025-01-01T00:00:00Z", "message_fee": 100,
                           "storage_fee": 200}],
                "rate_bounds": {"message_fee": 1000000, "storage_fee": 1000000}}, file)
        return path

    def follow(self, log):
        process = subprocess.Popen(
            [os.path.join(self.bin, "xmtp-migrate"), "follow", "--manifest", self.manifest,
             "--json"], stdout=subprocess.PIPE, stderr=log, text=True)
        while "following run" not in open(log.name).read():
            if process.poll() is not None:
                raise SystemExit(open(log.name).read())
            time.sleep(0.1)
        return process

    def run(self):
        seconds = self.options.minutes * 60
        with open(os.path.join(self.folder, "follow.err"), "w") as log:
            process = self.follow(log)
            writers = subprocess.Popen(
                [os.path.join(self.bin, "xmtp-seed"), "live", "--dsn", self.v3, "--rate",
                 str(round(self.options.rate / ROWS_OF_ALL)), "--for", str(int(seconds)),
                 "--writers", str(WRITERS), "--hold-ms", "10", "--json"],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            watch = Stopwatch(self.v3, self.nodes)
            looks = self.watch(process, watch, seconds)
            wrote = json.loads(writers.communicate()[0])
            watch.stop()
            process.send_signal(signal.SIGTERM)
            account = json.loads(process.communicate()[0])
        with open(os.path.join(self.folder, "follow.err")) as said:
            print(next((line.strip() for line in said if "followed" in line), ""))
        reached = sum(wrote["committed"].values()) / seconds
        print(f"writers committed {reached:.0f} rows/s")
        return self.judge(process.returncode, account, looks, watch, reached)

    def watch(self, process, watch, seconds):
        looks, begun, told = [], time.monotonic(), 0
        every = min(30.0, seconds / 6)
        print(f"{'minute':>7} {'MiB':>7} {'files':>6} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}")
        while time.monotonic() - begun < seconds and process.poll() is None:
            time.sleep(every)
            memory, files = look_at(process.pid)
            with watch.lock:
                lags, told = watch.lags[told:], len(watch.lags)
            looks.append((memory, files))
            print(f"{(time.monotonic() - begun) / 60:7.1f} {memory:7.1f} {files:6d}"
                  f" {share(lags, 0.5):8.0f} {share(lags, 0.99):8.0f} {share(lags, 1):8.0f}",
                  flush=True)
        return looks

    def judge(self, status, account, looks, watch, reached):
        third = len(looks) // 3
        middle, last = looks[third:2 * third] or looks, looks[2 * third:] or looks
        growth = max(m for m, _ in last) / max(m for m, _ in middle)
        files = max(f for _, f in last) - max(f for _, f in middle)
        counted = sum(kind["counted"] for kind in account["kinds"].values())
        print(f"{counted} rows are accounted for; verdict {account['verdict']}, exit {status}")
        print(f"from commit to the last node, {len(watch.lags)} messages: p50"
              f" {share(watch.lags, 0.5):.0f} ms, p99 {share(watch.lags, 0.99):.0f} ms, max"
              f" {share(watch.lags, 1):.0f} ms; {len(watch.committed)} never came")
        print(f"memory grew to {growth:.2f} of before, descriptors by {files}")
        ok = (status == 0 and account["verdict"] == "green" and not watch.committed
              and growth <= GROWTH_MOST and files <= 2
              and reached >= REACHED_LEAST * self.options.rate)
        print("soak: passed" if ok else "soak: FAILED")
        return 0 if ok else 1


def main():
    with tempfile.TemporaryDirectory(prefix="soak") as folder:
        soak = Soak(options(), folder)
        try:
            return soak.run()
        finally:
            soak.close()


sys.exit(main())
