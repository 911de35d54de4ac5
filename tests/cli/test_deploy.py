"""What lies in manifests/deploy fits the tools: metrics by their names, units by their words."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "manifests" / "deploy"
MIGRATE = pathlib.Path(os.environ["MIG_BUILD"]) / "bin" / "xmtp-migrate"
UNITS = sorted(DEPLOY.glob("*.service"))
NAME = re.compile(r"\bxmtp_migrat(?:e|or)_\w+")


def needs(command):
    return pytest.mark.skipif(not shutil.which(command), reason=f"no {command} here")


def run(*words, **options):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          timeout=60, **options)


def names_we_have(families=False):
    """As a scrape has them: a histogram is told under three names, and its own is the family's."""
    names = set()
    for source in (ROOT / "libmigrate" / "watch").glob("*.c"):
        for name, rest in re.findall(r'\{"(xmtp_migrat(?:e|or)_\w+)",([^}]*)', source.read_text()):
            histogram = re.search(r"\bHISTOGRAM\b", rest) and not families
            names.update({name + end for end in ("_bucket", "_sum", "_count")} if histogram
                         else {name})
    return names


@pytest.mark.parametrize("name", ["grafana-dashboard.json", "prometheus-rules.yml",
                                  "prometheus-rules-test.yml", "README.md"])
def test_every_metric_that_is_named_exists(name):
    named = set(NAME.findall((DEPLOY / name).read_text()))
    assert named and named <= names_we_have(families=name == "README.md")


def test_the_dashboard_is_whole():
    board = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [[panel["gridPos"][side] for side in "xywh"] for panel in panels]
    cells = [(column, row) for x, y, w, h in places
             for column in range(x, x + w) for row in range(y, y + h)]
    assert len(set(cells)) == len(cells) and max(column for column, _ in cells) < 24
    told = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    for part in ("lag_seconds", "settled_bound", "rows_loaded", "rejected_rows", "retries",
                 "throttled", "node_up"):
        assert part in told
    assert told.count("(") == told.count(")")


@needs("promtool")
def test_rules_are_right_and_fire_when_they_should():
    assert run("promtool", "check", "rules", DEPLOY / "prometheus-rules.yml").returncode == 0
    done = run("promtool", "test", "rules", "prometheus-rules-test.yml", cwd=DEPLOY)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_in_which_it_fires():
    alerts = re.findall(r"- alert: (\w+)", (DEPLOY / "prometheus-rules.yml").read_text())
    tests = (DEPLOY / "prometheus-rules-test.yml").read_text()
    assert alerts
    for alert in alerts:
        assert re.search(rf"alertname: {alert}\n +exp_alerts:", tests), alert


def with_our_tool(unit, folder):
    """The unit as it would be installed, with the tool that was built."""
    path = folder / unit.name
    path.write_text(unit.read_text().replace("/usr/bin/xmtp-migrate", str(MIGRATE)))
    return path


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_words_of_a_unit_are_known(unit):
    words = re.search(r"^ExecStart=/usr/bin/xmtp-migrate (.*)", unit.read_text(), re.M)[1].split()
    if words[0] not in re.findall(r"^(?:usage:)? +xmtp-migrate (\w+)", run(MIGRATE, "--help").stdout,
                                  re.M):
        pytest.skip(f"there is no verb {words[0]}")
    done = run(MIGRATE, *words, "--help")
    assert done.returncode == 0, done.stderr


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_no_fault_and_little_exposure(unit, tmp_path):
    path = with_our_tool(unit, tmp_path)
    done = run("systemd-analyze", "verify", path)
    assert (done.returncode, done.stderr) == (0, "")
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", path)
    assert done.returncode == 0, done.stdout[-300:]
