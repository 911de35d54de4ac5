"""Throwaway PostgreSQL servers for tests and scripts.

Each server is its own cluster in a short temporary folder, on a port the kernel gave, run by a user
that is not root, and gone when the test ends. From a shell:

    python3 tests/support/servers.py run --count 4 -- sh -c 'psql "$MIG_SERVER_1" -c "select 1"'

The binaries come from MIG_PG_BIN (a bin folder), else from the newest /usr/lib/postgresql/*/bin.
"""

import argparse
import atexit
import glob
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

try:
    from . import libpq
except ImportError:  # from a shell
    import libpq

# Tests want speed, not durability: no cluster here outlives its process.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "wal_writer_delay": "10ms",  # what a run waits for, so that its source can't forget what it read
    "full_page_writes": "off",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "max_connections": "100",
    "max_prepared_transactions": "10",
    "track_commit_timestamp": "on",
    "jit": "off",
    "log_min_messages": "warning",
    "timezone": "UTC",
}
START_SECONDS = 30
# Where clusters lie that need not outlive anything, if there is room for several test files' at once:
# on a disk, making and dropping databases costs more than all that tests do with them.
MEMORY = "/dev/shm"
MEMORY_LEAST = 6 << 30

_template = None  # an initialized data folder that every server copies
_signals_caught = False


class ServerError(Exception):
    pass


def bin_folder():
    """The folder with postgres and initdb."""
    named = os.environ.get("MIG_PG_BIN")
    if named:
        return named
    found = glob.glob("/usr/lib/postgresql/*/bin/postgres")
    if not found:
        raise ServerError("no PostgreSQL server found: set MIG_PG_BIN to its bin folder")
    newest = max(found, key=lambda path: int(re.search(r"/(\d+)/bin/", path).group(1)))
    return os.path.dirname(newest)


def client(name):
    """A client program (psql, pg_dump), preferably of the server's version."""
    beside = os.path.join(bin_folder(), name)
    return beside if os.path.exists(beside) else name


def _server_user():
    """PostgreSQL refuses to run as root: whom to be instead, or None to stay who we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerError("running as root, and there is neither a user postgres nor nobody")


def _as_user(user):
    """Keyword arguments for subprocess that make the child that user."""
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _own(path, user):
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def _exit_on_signal(number, _frame):
    sys.exit(128 + number)  # runs what atexit knows, which stops the servers


def _catch_signals():
    """SIGTERM and SIGHUP end the process orderly, unless somebody handles them already."""
    global _signals_caught
    if _signals_caught or threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _exit_on_signal)
    _signals_caught = True


def _folder(prefix, quick=True):
    """A new folder in memory, where there is enough; on disk for what is to be measured or kept."""
    top = None
    if quick and os.access(MEMORY, os.W_OK):
        room = os.statvfs(MEMORY)
        if min(room.f_bavail * room.f_frsize, _memory_available()) >= MEMORY_LEAST:
            top = MEMORY
    return tempfile.mkdtemp(prefix=prefix, dir=top)


def _memory_available():
    with open("/proc/meminfo", encoding="ascii") as file:
        [kib] = re.findall(r"^MemAvailable: +(\d+) kB$", file.read(), re.MULTILINE)
    return int(kib) << 10


def _template_folder(user):
    """Runs initdb once per process: copying its result is ten times as fast."""
    global _template
    if _template is None:
        top = _folder("pgt")
        _own(top, user)
        data = os.path.join(top, "data")
        made = subprocess.run(
            [os.path.join(bin_folder(), "initdb"), "-D", data, "-U", "postgres", "-A", "trust",
             "-E", "UTF8", "--no-locale", "--no-sync"],
            cwd=top, capture_output=True, text=True, **_as_user(user))
        if made.returncode != 0:
            shutil.rmtree(top, ignore_errors=True)
            raise ServerError("initdb failed: " + made.stderr.strip())
        atexit.register(shutil.rmtree, top, ignore_errors=True)
        _template = data
    return _template


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One running server. Close it, or let the end of the process do so."""

    def __init__(self, settings=None, *, quick=True):
        """settings: more lines for postgresql.conf, as a dict; quick=False leaves out those that
        give up durability for speed, and all else as PostgreSQL ships it."""
        _catch_signals()
        self._user = _server_user()
        self._settings = {**(SETTINGS if quick else {}), **(settings or {})}
        self.folder = _folder("pg", quick)
        self._process = None
        self._databases = 0
        self.templates = set()  # databases that others are copied of
        self._keep = False
        atexit.register(self.close)
        try:
            self.data = os.path.join(self.folder, "data")
            _own(self.folder, self._user)
            self._fill()
            self.port = _free_port()
            self.start()
        except BaseException:
            self.close()
            raise

    def _fill(self):
        template = _template_folder(self._user)
        subprocess.run(["cp", "-a", template, self.data], check=True)

    @property
    def pid(self):
        return self._process.pid if self._process else None

    def start(self):
        """Starts the server (again, after stop), and waits until it answers."""
        options = {**self._settings, "port": str(self.port), "listen_addresses": "127.0.0.1",
                   "unix_socket_directories": self.folder}
        command = [os.path.join(bin_folder(), "postgres"), "-D", self.data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, **_as_user(self._user))
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"the server did not start:\n{self.log()[-2000:]}")
            time.sleep(0.01)

    def _answers(self):
        try:
            return psql(self.dsn(), "select 1") == "1"
        except ServerError:
            return False

    def stop(self, how=signal.SIGINT):
        """Stops the server: SIGINT disconnects everybody, SIGQUIT is a crash."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(timeout=START_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait()

    def close(self):
        """Stops the server and removes its cluster; more than once is fine."""
        if self._keep:
            return
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.close)

    def keep(self):
        """Leaves the server running beyond this process."""
        self._keep = True

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as log:
            return log.read()

    def dsn(self, database="postgres", user="postgres"):
        return f"host=127.0.0.1 port={self.port} user={user} dbname={database}"

    def create_database(self, name=None, template="template1"):
        """Makes a database (with a name of its own when none is given) and gives its DSN."""
        self._databases += 1
        name = name or f"trial_{self._databases}"
        psql(self.dsn(), f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.dsn(name)

    def drop_database(self, dsn):
        name = re.search(r"dbname=(\S+)", dsn).group(1)
        psql(self.dsn(), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Standby(Server):
    """A streaming standby of a running server, which tells it every second how far it is."""

    def __init__(self, primary):
        self._primary = primary
        super().__init__({"wal_receiver_status_interval": "1s",
                          "primary_conninfo": primary.dsn()})

    def _fill(self):
        """A copy of the primary while it is down: not every distribution of PostgreSQL that tests
        run with has pg_basebackup."""
        self._primary.stop()
        subprocess.run(["cp", "-a", self._primary.data, self.data], check=True)
        self._primary.start()
        signal_file = os.path.join(self.data, "standby.signal")
        with open(signal_file, "w", encoding="utf-8"):
            _own(signal_file, self._user)


def psql(dsn, sql=None, *, file=None, variables=None, check=True):
    """Runs SQL (or a file) and gives what it prints: unaligned, tuples only, fields split by |."""
    if not file and not variables and libpq.understands(sql):
        try:
            printed = libpq.query(dsn, sql)
        except libpq.Error as error:
            if check:
                raise ServerError(f"psql: {error}") from None
            printed = error.printed
        return "\n".join(line for lines in printed for line in lines).rstrip("\n")
    command = [client("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", dsn]
    for name, value in (variables or {}).items():
        command += ["-v", f"{name}={value}"]
    command += ["-1", "-f", file] if file else ["-f", "-"]
    ran = subprocess.run(command, input=sql, capture_output=True, text=True)
    if check and ran.returncode != 0:
        raise ServerError(f"psql: {ran.stderr.strip()}")
    return ran.stdout.rstrip("\n")


def rows(dsn, sql):
    """The rows of a query as lists of text."""
    printed = psql(dsn, sql)
    return [line.split("|") for line in printed.split("\n")] if printed else []


def psql_listing(dsn, command):
    """What psql prints for a command such as \\d, in full."""
    ran = subprocess.run([client("psql"), "-X", "-d", dsn, "-c", command], capture_output=True,
                         text=True)
    if ran.returncode != 0:
        raise ServerError(f"psql: {ran.stderr.strip()}")
    return ran.stdout


def client_version():
    """The version line of the psql in use: psql (PostgreSQL) 15.4 ..."""
    return subprocess.run([client("psql"), "--version"], capture_output=True, text=True).stdout


# ---- from a shell ---------------------------------------------------------------------------------


def _run(args):
    servers = [Server() for _ in range(args.count)]
    environment = dict(os.environ)
    for place, server in enumerate(servers, start=1):
        environment[f"MIG_SERVER_{place}"] = server.dsn()
    status = subprocess.run(args.command, env=environment).returncode if args.command else 0
    for place, server in enumerate(servers, start=1):
        if args.keep:
            server.keep()
            print(f"MIG_SERVER_{place}='{server.dsn()}'  # pid {server.pid}; to stop it: "
                  f"kill -INT {server.pid} && sleep 2 && rm -rf {server.folder}", file=sys.stderr)
        else:
            server.close()
    return status


def main():
    parser = argparse.ArgumentParser(description="throwaway PostgreSQL servers")
    verbs = parser.add_subparsers(required=True)
    run = verbs.add_parser("run", help="start servers, run a command with their DSNs, stop them")
    run.add_argument("--count", type=int, default=1, help="number of servers (default 1)")
    run.add_argument("--keep", action="store_true", help="leave them running and say how to stop")
    run.add_argument("command", nargs="*", help="sees MIG_SERVER_1, MIG_SERVER_2 ...")
    args = parser.parse_args()
    if not args.command and not args.keep:
        parser.error("give a command after --, or --keep")
    try:
        return _run(args)
    except ServerError as error:
        print(f"servers.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
