"""How long rows take: from their commit at the source to the moment at which the last node tells of
them."""

import subprocess
import threading
import time

from . import servers

LOOK_S = 0.01   # between looks at the nodes
AWAITED_S = 20  # for the last of them
GROUP = "a0" * 16

# Of a table: its originator, and how a row of ours is added to it.
INSERTS = {
    "group_messages": (10, f"""INSERT INTO group_messages (group_id, data, group_id_data_hash,
        is_commit) VALUES ('\\x{GROUP}', '\\x0001000210{GROUP}{"00" * 8}01{{number:016x}}',
        sha256('watch{{number}}'), false) RETURNING id"""),
    "welcome_messages": (11, """INSERT INTO welcome_messages (installation_key, data,
        hpke_public_key, installation_key_data_hash) VALUES (sha256('watch'), '\\x{number:016x}',
        sha256('hpke'), sha256('watch{number}')) RETURNING id"""),
}


class Session:
    """One psql for many statements."""

    def __init__(self, dsn):
        self.process = subprocess.Popen([servers.client("psql"), "-XAtq", "-d", dsn],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, sql):
        self.process.stdin.write(" ".join(sql.split()) + ";\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Stopwatch:
    """Writes rows of ours, and sees them come to the nodes."""

    def __init__(self, source, nodes, table="group_messages", every_s=0.1):
        self.originator, self.insert = INSERTS[table]
        self.every_s = every_s
        self.source, self.nodes = Session(source), [Session(node) for node in nodes]
        self.committed, self.lags = {}, []
        self.lock, self.ends, self.enough = threading.Lock(), threading.Event(), threading.Event()
        self.threads = [threading.Thread(target=self._write), threading.Thread(target=self._look)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.enough.set()
        deadline = time.monotonic() + AWAITED_S
        self.threads[0].join()
        while self.committed and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        self.ends.set()
        for thread in self.threads:
            thread.join()
        for session in [self.source, *self.nodes]:
            session.close()

    def _write(self):
        number = 0
        while not self.enough.wait(self.every_s):
            number += 1
            id = int(self.source.ask(self.insert.format(number=number)))
            with self.lock:
                self.committed[id] = time.monotonic()

    def _look(self):
        while not self.ends.wait(LOOK_S):
            there = min(int(node.ask(f"""SELECT coalesce(max(originator_sequence_id), 0) FROM
                gateway_envelopes_latest WHERE originator_node_id = {self.originator}"""))
                        for node in self.nodes)
            now = time.monotonic()
            with self.lock:
                for id in [id for id in self.committed if id <= there]:
                    self.lags.append(now - self.committed.pop(id))


def share(lags, part):
    """The lag, in milliseconds, that this part of all does not exceed."""
    ordered = sorted(lags)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000 if ordered else 0.0
