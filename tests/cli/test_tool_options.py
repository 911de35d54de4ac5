"""What all tools have in common: options, help, exit codes, messages, progress, signals.

xmtp-inspect stands for the tools; tool_trial has verbs that fail, wait and talk on request.
"""

import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import time

import pytest

BIN = pathlib.Path(os.environ["MIG_BUILD"]) / "bin"
INSPECT = BIN / "xmtp-inspect"
TRIAL = BIN / "tool_trial"
ENVELOPE = "0a13121100000102030405060708090a0b0c0d0e0f12060a040a026869"


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=60, **options)


# ---- options and help ------------------------------------------------------------------------------


@pytest.mark.parametrize("words, message", [
    (["--bogus", "x"], "unknown option '--bogus'"),
    (["x", "--bogus"], "unknown option '--bogus'"),
    (["-x"], "unknown option '-x'"),
    (["envelope", "--rows", ENVELOPE], "unknown option '--rows'"),
    (["--json=yes", "x"], "--json takes no value"),
    (["x", "--manifest"], "--manifest needs a value: FILE"),
    (["--threads", "0", "x"], "--threads '0': expected 1 to 1024"),
    (["--threads", "1025", "x"], "--threads '1025': expected 1 to 1024"),
    (["--threads", "two", "x"], "--threads 'two': expected a whole number"),
    (["--threads", "", "x"], "--threads '': expected a whole number"),
    (["--progress", "loud", "x"], "--progress 'loud': expected one of auto, bar, plain, json, none"),
    (["--log-format", "xml", "x"], "--log-format 'xml': expected one of text, json"),
    (["--log-level", "all", "x"], "--log-level 'all': expected one of error, warn, info, debug"),
    (["--as-of", "yesterday", "x"], "'yesterday'"),
    (["--as-of", "2026-01-01", "x"], "'2026-01-01'"),
    ([], "expected one bundle, got 0 arguments"),
    (["a", "b"], "expected one bundle, got 2 arguments"),
    (["envelope"], "expected one envelope, got 0 arguments"),
])
def test_wrong_words_are_usage_errors_that_name_them(words, message):
    done = run(INSPECT, *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("words", [["--bogus", "x"], ["envelope", "--bogus"], ["--manifest"]])
def test_a_wrong_option_gets_a_list_of_the_right_ones(words):
    hint = run(INSPECT, *words).stderr.splitlines()[1]
    assert hint.startswith("hint: options of xmtp-inspect")
    for option in ("--manifest", "--as-of", "--json", "--progress", "--threads", "--log-level",
                   "--log-format"):
        assert option in hint
    assert ("--rows" in hint) == ("envelope" not in words)


def test_an_unknown_verb_gets_a_list_of_the_known_ones():
    for words in (["walk"], ["words"], ["--json", "walk"]):
        done = run(TRIAL, *words)
        assert done.returncode == 2
        assert f"unknown verb '{words[-1]}'" in done.stderr
        assert "hint: verbs of tool-trial: talk, wait, fail, say, words list, lines" in done.stderr
    done = run(TRIAL)
    assert (done.returncode, "no verb given" in done.stderr) == (2, True)


def test_help_of_a_tool_shows_every_verb_with_its_example():
    done = run(INSPECT, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for text in ("usage: xmtp-inspect P", "xmtp-inspect envelope HEX|-", "--rows", "--as-of RFC3339",
                 "example: xmtp-inspect envelopes.tar", "--threads N", "5 temporary"):
        assert text in done.stdout


def test_help_of_a_verb_shows_its_options_and_an_example_that_works():
    done = run(TRIAL, "talk", "--help")
    assert "--for MS" in done.stdout and "--stubborn" not in done.stdout
    done = run(INSPECT, "envelope", "--help")
    example = re.search(r"example:\n  xmtp-inspect (.*)", done.stdout).group(1)
    assert run(INSPECT, *example.split()).returncode == 0


def test_version():
    for words in (["--version"], ["envelope", "--version"]):
        done = run(INSPECT, *words)
        assert done.returncode == 0
        assert re.fullmatch(r"xmtp-inspect \d+\.\d+\.\d+\n", done.stdout)


def test_common_options_may_stand_before_the_verb_and_behind_it():
    for words in (["--threads", "3", "--as-of=2026-01-01T00:00:00Z", "talk", "--for", "1"],
                  ["talk", "--as-of", "2026-01-01T00:00:00Z", "--for=1", "--threads=3"]):
        assert run(TRIAL, *words).stdout == "threads 3, as of 1767225600000000000\n"


def test_a_verb_of_two_words_gets_only_its_arguments():
    assert run(TRIAL, "words", "list", "a", "-", "b").stdout == "a\n-\nb\n"
    assert run(TRIAL, "--json", "words", "list", "--", "--json").stdout == "--json\n"


def test_a_number_below_zero_is_an_argument():
    done = run(TRIAL, "words", "list", "a", "-12", "--threads", "2", "-7", "--", "-x")
    assert done.stdout == "a\n-12\n-7\n-x\n"


# ---- how it ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code, status", [
    (1, 2), (2, 1), (3, 1), (4, 1), (5, 5), (6, 3), (7, 130), (8, 1), (9, 1), (10, 3), (11, 4),
])
def test_each_kind_of_failure_has_its_exit_status(code, status):
    done = run(TRIAL, "fail", code)
    assert done.returncode == status
    assert done.stderr.endswith("\nhint: do not worry\n")


def test_a_message_cannot_steer_the_terminal():
    done = run(TRIAL, "fail", 3)
    assert done.stderr.startswith("tool-trial: it failed with ?[2J3\n")


@pytest.mark.parametrize("words", [["--help"], ["envelope", ENVELOPE]])
def test_a_full_disk_is_an_error(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run([INSPECT, *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "cannot write to standard output: No space left on device" in done.stderr


@pytest.mark.parametrize("words", [["lines"], ["words", "list", "a"]])
def test_a_reader_that_went_away_is_an_error(words):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([TRIAL, *words], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 1
    assert "its reader went away" in done.stderr


def test_a_closed_stdout_is_an_error_and_is_given_to_no_file():
    done = run("sh", "-c", f"{TRIAL} words list a >&-")
    assert done.returncode == 1
    assert "cannot write to standard output" in done.stderr


# ---- envelopes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [ENVELOPE, "0x" + ENVELOPE, ENVELOPE.upper(),
                                  f" {ENVELOPE[:20]}\n{ENVELOPE[20:]}\n"])
def test_hex_is_taken_as_people_copy_it(text):
    for done in (run(INSPECT, "envelope", text, "--json"),
                 run(INSPECT, "envelope", "-", "--json", input=text)):
        document = json.loads(done.stdout)
        assert document["schema"] == "xmtp-migrate/envelope/1"
        assert document["layer"] == "client"
        assert document["client_envelope"]["topic_kind"] == "group_messages"
        assert document["client_envelope"]["payload"]["data"] == "6869"


@pytest.mark.parametrize("text, status, message", [
    ("", 2, "no hex given"),
    ("0x", 2, "no hex given"),
    ("zz", 2, "not a hex digit"),
    ("abc", 2, "odd number"),
    ("00", 1, "no envelope"),
    (ENVELOPE[:-2], 1, "no envelope"),
    (ENVELOPE + "0a", 1, "no envelope"),
    (ENVELOPE[:42], 1, "no envelope"),
])
def test_what_is_no_envelope_is_told_so(text, status, message):
    done = run(INSPECT, "envelope", "-", input=text)
    assert done.returncode == status
    assert message in done.stderr
    assert done.stdout == ""


def test_stdin_is_bounded():
    with open("/dev/zero") as zeros:
        done = subprocess.run([INSPECT, "envelope", "-"], stdin=zeros, capture_output=True,
                              text=True, timeout=60)
    assert done.returncode == 2
    assert "64 MiB" in done.stderr


# ---- progress and log ------------------------------------------------------------------------------


def on_terminal(*command, columns=80, seconds=30):
    """What the command writes to a terminal as stderr."""
    ours, theirs = pty.openpty()
    subprocess.run(["stty", "cols", str(columns)], stdin=theirs, check=True)
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=theirs,
                               env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    written, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break
            if not piece:
                break
            written += piece
    os.close(ours)
    assert process.wait(timeout=10) == 0
    return written.decode()


def test_a_terminal_gets_one_line_that_is_redrawn_and_not_torn_by_log_lines():
    written = on_terminal(TRIAL, "talk", "--for", "1500", "--waiting", "two writers")
    lines = [line.split("\r")[-1] for line in written.replace("\r\n", "\n").split("\n")]
    logged = [line for line in lines if "line " in line]
    assert len(logged) == 4 * 25, "every warning, and nothing below --log-level"
    for line in logged:
        assert re.fullmatch(r"(\x1b\[K)?tool-trial: warning: line \d+ \?\[31m", line), repr(line)
    bars = re.findall(r"\rtrial table  [\d.]+%  \d+/100  \d+/s.*?\x1b\[K", written)
    assert len(bars) >= 4
    assert any("ETA" in bar and "rejected 3" in bar and "waiting: two writers" in bar
               for bar in bars)
    assert written.endswith("\r\n")


def test_a_narrow_terminal_gets_a_line_that_does_not_wrap():
    written = on_terminal(TRIAL, "talk", "--for", "600", "--log-level", "error", columns=30)
    for bar in re.findall(r"\r([^\r\n]*?)\x1b\[K", written):
        assert len(bar) < 30


def test_without_a_terminal_a_short_run_tells_nothing_of_its_progress():
    done = run(TRIAL, "talk", "--for", "300", "--log-level", "error")
    assert (done.returncode, done.stderr) == (0, "")


def test_json_progress_is_an_object_a_line_and_so_are_log_and_error():
    done = run(TRIAL, "talk", "--for", "300", "--progress", "json")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    last = [event for event in events if event["event"] == "progress"][-1]
    assert (last["stage"], last["subject"], last["done"]) == ("trial", "table", 49)
    assert (last["total"], last["rejected"]) == (100, 3)
    assert sum(event["event"] == "warning" for event in events) == 100
    done = run(TRIAL, "fail", 3, "--progress", "json")
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["error", "hint"]


RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def lines_of(text):
    """Each line's object, with its time and level looked at."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert RFC3339.fullmatch(line["time"]), line
        assert line["level"] in ("error", "warning", "info", "debug"), line
    return lines


def test_json_log_is_an_object_a_line_whatever_the_line():
    done = run(TRIAL, "talk", "--for", "1", "--log-format", "json", "--log-level", "debug",
               "--progress", "none")
    lines = lines_of(done.stderr)
    assert [line["level"] for line in lines].count("warning") == 100
    assert [line["level"] for line in lines].count("debug") == 100
    assert all(line["message"].startswith("line ") for line in lines)
    error, hint = lines_of(run(TRIAL, "fail", 3, "--log-format=json").stderr)
    assert (error["level"], error["event"], error["message"]) == ("error", "error",
                                                                  "it failed with ?[2J3")
    assert (hint["level"], hint["event"], hint["message"]) == ("info", "hint", "do not worry")


@pytest.mark.parametrize("mode, pace", [("auto", 0), ("plain", 0), ("bar", 0), ("json", 1)])
def test_json_log_makes_progress_objects_too(mode, pace):
    done = run(TRIAL, "talk", "--for", "300", "--log-format", "json", "--progress", mode)
    events = [line["event"] for line in lines_of(done.stderr)]
    assert min(events.count("progress"), 1) == pace, "one in ten seconds, or at once"


@pytest.mark.parametrize("words", [["talk", "--bogus", "--log-format", "json"],
                                   ["--log-format=json", "walk"],
                                   ["talk", "--threads", "0", "--log-format=json"],
                                   ["fail", "2", "3", "--log-format", "json"]])
def test_wrong_words_are_told_as_json_where_that_is_asked_for(words):
    done = run(TRIAL, *words)
    assert done.returncode == 2
    assert lines_of(done.stderr)[0]["event"] == "error"


@pytest.mark.parametrize("text, shown", [
    (b"\xff\xfe", "??"), (b"a\xc0\x80\xed\xa0\x80b", "a?????b"), (b"\xf4\x90\x80\x80", "????"),
    (b"\xc3", "?"), ("é € 😀".encode(), "é € 😀")])
def test_json_log_is_utf8_whatever_was_given(text, shown):
    done = subprocess.run([TRIAL, b"say", text, b"--log-format", b"json"], capture_output=True)
    assert json.loads(done.stderr.decode("utf-8"))["message"] == shown


def test_json_log_tells_which_node_is_meant():
    done = run(TRIAL, "say", "node 'beta': cannot connect", "--log-format", "json")
    assert lines_of(done.stderr)[0]["node"] == "beta"
    done = run(TRIAL, "say", "no node 'beta'", "--log-format", "json")
    assert "node" not in lines_of(done.stderr)[0]


def test_log_level_debug_lets_more_through_and_none_keeps_progress_quiet():
    done = run(TRIAL, "talk", "--for", "1", "--log-level", "debug", "--progress", "none")
    assert done.stderr.count("tool-trial: debug: line") == 100
    assert "trial table" not in done.stderr


# ---- signals ---------------------------------------------------------------------------------------


def start_waiting(*words):
    process = subprocess.Popen([TRIAL, "wait", *words], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "waiting\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order_with_130(number):
    process = start_waiting()
    process.send_signal(number)
    _, told = process.communicate(timeout=10)
    assert process.returncode == 130
    assert told.startswith("tool-trial: ")


def test_a_second_signal_ends_it_at_once():
    process = start_waiting("--stubborn")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None, "the first one is a wish"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=5) == 130


def test_one_signal_is_enough_while_waiting_for_input():
    process = subprocess.Popen([INSPECT, "envelope", "-"], stdin=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=5) == 130
    process.stdin.close()
