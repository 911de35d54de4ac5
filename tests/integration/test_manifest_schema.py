"""Holds schemas/manifest.schema.json and the tool's own reading of a manifest against each other.

Every document of tests/data/manifests is put before both:
    good/          both accept
    bad/           both refuse
    bad-for-tool/  the schema accepts; only the tool can see what is wrong

bin/manifest_check of the build is the tool's side.
"""

import json
import subprocess

import jsonschema
import pytest

from conftest import TESTS, tool_path

ROOT = TESTS.parent
DATA = TESTS / "data" / "manifests"
SCHEMA = json.loads((ROOT / "schemas" / "manifest.schema.json").read_text())
EXPECTED = json.loads((DATA / "expected.json").read_text())


def documents(*folders):
    paths = [path for folder in folders for path in sorted((DATA / folder).glob("*.json"))]
    assert paths, f"no documents in {folders}"
    return [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in paths]


def check_with_tool(path):
    """Gives the problems the tool tells of, as (pointer, message)."""
    done = subprocess.run([tool_path("manifest_check"), path], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode in (0, 2), done.stderr
    problems = [tuple(line.split(": ", 1)) for line in done.stdout.splitlines()]
    assert bool(problems) == (done.returncode == 2), done.stdout
    return problems


def check_with_schema(path):
    validator = jsonschema.Draft202012Validator(SCHEMA)
    return [error.message for error in validator.iter_errors(json.loads(path.read_text()))]


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", documents("good"))
def test_both_accept_a_good_manifest(path):
    assert check_with_tool(path) == []
    assert check_with_schema(path) == []


@pytest.mark.parametrize("path", sorted((ROOT / "manifests").glob("*.json")), ids=lambda p: p.stem)
def test_both_accept_the_manifests_we_ship(path):
    assert check_with_tool(path) == []
    assert check_with_schema(path) == []


@pytest.mark.parametrize("path", documents("bad"))
def test_both_refuse_a_bad_manifest(path):
    assert check_with_schema(path) != []
    assert check_with_tool(path) != []


@pytest.mark.parametrize("path", documents("bad-for-tool"))
def test_the_tool_sees_what_a_schema_cannot(path):
    assert check_with_schema(path) == []
    assert check_with_tool(path) != []


@pytest.mark.parametrize("path", documents("bad", "bad-for-tool"))
def test_the_tool_says_where_each_problem_is(path):
    assert [pointer for pointer, _ in check_with_tool(path)] == EXPECTED[path.stem]


def members_of(schema, pointer=""):
    """Every object of the schema whose members are closed, with where it stands."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if schema.get("additionalProperties") is False:
        yield pointer, schema
    for name, part in schema.get("properties", {}).items():
        yield from members_of(part, f"{pointer}/{name}")
    if "items" in schema:
        yield from members_of(schema["items"], f"{pointer}/0")


CLOSED = dict(members_of(SCHEMA))


@pytest.mark.parametrize("pointer", CLOSED, ids=lambda pointer: pointer or "document")
def test_the_tool_knows_exactly_the_members_of_the_schema(pointer, tmp_path):
    document = json.loads((DATA / "good" / "full.json").read_text())
    place = document
    for part in pointer.split("/")[1:]:
        place = place[int(part)] if part.isdigit() else place[part]
    place["surprise"] = 1
    path = tmp_path / "surprising.json"
    path.write_text(json.dumps(document))

    [(where, message)] = check_with_tool(path)
    assert where == f"{pointer}/surprise"
    known = message.split("known here: ")[1].split(", ")
    assert sorted(known) == sorted(CLOSED[pointer]["properties"])
