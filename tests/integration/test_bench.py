"""ci/bench runs, in its short form, and tells all it promises. How fast anything is stays unasked:
that is no matter for a test."""

import json
import os
import subprocess
import xml.etree.ElementTree

from conftest import BUILD, TESTS

MEMBERS = {"case", "what", "value", "target", "relation", "met", "candidate", "bound", "unit",
           "spread", "cpu_ratio", "judgement"}


def bench(*words):
    return subprocess.run([TESTS.parent / "ci" / "bench", *words], capture_output=True, text=True,
                          env={**os.environ, "MIG_BUILD": str(BUILD)})


def test_the_short_form_measures_every_case_it_names(tmp_path):
    ran = bench("--short", "--json", tmp_path / "b.json", "--svg", tmp_path / "b.svg")
    assert ran.returncode == 0, ran.stderr
    document = json.loads((tmp_path / "b.json").read_text())
    assert document["schema"] == "xmtp-migrate/bench/1"
    assert document["failed"] == {}
    assert {figure["case"] for figure in document["figures"]} == {
        "keccak", "transform", "tar", "export", "bulk", "staging", "run", "rows", "large",
        "sparse", "pipe", "memory", "parity"}
    for figure in document["figures"]:
        assert set(figure) == MEMBERS
        assert figure["value"] > 0
        assert figure["what"] in ran.stdout
    assert "noise:" in ran.stdout
    assert xml.etree.ElementTree.parse(tmp_path / "b.svg").getroot().tag.endswith("svg")


def test_a_case_that_is_not_there_is_refused_with_those_that_are():
    ran = bench("--only", "speed")
    assert ran.returncode == 2
    assert "no case 'speed'" in ran.stderr and "keccak" in ran.stderr
