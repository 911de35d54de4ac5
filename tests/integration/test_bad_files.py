"""Full disks, closed pipes, and bundles that are damaged or not ours: nothing is half done."""

import io
import json
import os
import resource
import shutil
import subprocess
import tarfile

import pytest
from conftest import tool_environment, tool_path
from support.servers import psql, rows
from support.world import add_message, assert_told, digest_of_node, world  # noqa: F401


# ---- files --------------------------------------------------------------------------------------


def limited(megabytes):
    """For preexec_fn: files can't grow beyond this, as on a full disk."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes << 20, megabytes << 20))
    return limit


@pytest.mark.parametrize("out", ["rows", "rows.tar"])
def test_a_full_disk_leaves_no_bundle(world, tmp_path, out):
    psql(world.v3, "INSERT INTO group_messages (group_id, data, group_id_data_hash) SELECT"
                   " '\\xa0a0', string_agg(sha256(('' || g || r)::bytea), ''::bytea),"
                   " g::text::bytea FROM generate_series(1, 100) g, generate_series(1, 1500) r"
                   " GROUP BY g")
    ran = subprocess.run([tool_path("xmtp-export"), "--manifest", world.manifest, "--out",
                          tmp_path / out], capture_output=True, text=True, env=tool_environment(),
                         preexec_fn=limited(1))
    assert ran.returncode == 1, ran.stderr
    assert "File too large" in ran.stderr and "rows" in ran.stderr
    assert not (tmp_path / "rows" / "index.json").exists()
    assert not (tmp_path / "rows.tar").exists()
    world.stage("export", "--out", tmp_path / out)  # once there is room, in the same place
    world.stage("transform", "--in", tmp_path / out, "--out", tmp_path / "envelopes")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_really_full_leaves_no_bundle(world, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small],
                             capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this container may not mount")
    try:
        world.seed(4000)
        for out in ("rows", "rows.tar"):
            ran = world.stage("export", "--out", small / out, status=1)
            assert "No space left" in ran.err and out in ran.err
            assert not (small / "rows" / "index.json").exists()
            assert not (small / "rows.tar").exists()
            shutil.rmtree(small / "rows", ignore_errors=True)
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_closed_pipe_is_told(world):
    world.seed(4000)
    ran = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$0" --manifest "$1" --out - | head -c 100 >/dev/null;'
                       ' echo "${PIPESTATUS[0]}"', tool_path("xmtp-export"), world.manifest],
        capture_output=True, text=True, env=tool_environment())
    assert ran.stdout == "1\n", ran.stderr
    assert "Broken pipe" in ran.stderr


def test_output_that_cannot_be_written_is_told(world):
    add_message(world.v3, "message")
    with open("/dev/full", "w") as full:
        ran = subprocess.run([tool_path("xmtp-migrate"), "run", "--manifest", world.manifest,
                              "--json"], stdout=full, stderr=subprocess.PIPE, text=True,
                             env=tool_environment())
    assert ran.returncode == 1 and "output" in ran.stderr
    with open("/dev/full", "w") as full:
        ran = subprocess.run([tool_path("xmtp-export"), "--manifest", world.manifest, "--out", "-"],
                             stdout=full, stderr=subprocess.PIPE, text=True,
                             env=tool_environment())
    assert ran.returncode == 1 and "No space left" in ran.stderr


def test_a_folder_that_takes_no_chain_bundle_is_known_before_anything_is_moved(world, tmp_path):
    world.seed(300)
    ran = world.run("--chain-out", tmp_path / "no" / "such" / "folder", status=1)
    assert_told(ran, "such", "--chain-out")
    assert world.untouched()


def test_an_existing_bundle_is_not_overwritten(world, tmp_path):
    add_message(world.v3, "message")
    for out in (tmp_path / "rows", tmp_path / "rows.tar"):
        world.stage("export", "--out", out)
        assert_told(world.stage("export", "--out", out, status=2), str(out), "exists")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("mine")
    ran = world.stage("export", "--out", tmp_path / "mine", status=None)
    assert ran.status in (1, 2) and (tmp_path / "mine" / "precious.txt").read_text() == "mine"


# ---- bundles that are not ours ------------------------------------------------------------------


@pytest.fixture
def bundles(world, tmp_path):
    world.seed(600, until="2026-01-01T00:00:00Z")
    now = ("--as-of", "2026-01-01T00:00:00Z")
    world.stage("export", "--out", tmp_path / "rows", *now)
    world.stage("transform", "--in", tmp_path / "rows", "--out", tmp_path / "envelopes")
    world.stage("transform", "--in", tmp_path / "rows", "--out", tmp_path / "envelopes.tar")
    return world


@pytest.mark.parametrize("change, said", [
    (lambda world: world.write(network="other"), "network"),
    (lambda world: world.write(policy={"profile": "xmtpd"}), "profile"),
    (lambda world: world.write(policy={"retention_days": {
        "group_messages": 61, "welcome_messages": 90, "key_packages": 90}}), "policy"),
    (lambda world: world.write(rates=[{"start": "2025-01-01T00:00:00Z", "message_fee": 101,
                                       "storage_fee": 200}]), "rates"),
    (lambda world: (world.folder / "payer.key").write_text("33" * 32), "payer"),
    (lambda world: (world.folder / "originator.key").write_text("33" * 32), "originator"),
])
def test_a_bundle_made_under_other_terms_is_refused(bundles, tmp_path, change, said):
    change(bundles)
    for place in ("envelopes", "envelopes.tar"):
        assert_told(bundles.stage("load", "--in", tmp_path / place, status=1), place, said)
    assert bundles.untouched()
    if said not in ("payer", "originator"):
        ran = bundles.stage("transform", "--in", tmp_path / "rows", "--out", tmp_path / "new",
                            status=1)
        assert_told(ran, "rows", said)
        assert not (tmp_path / "new").exists()


def test_a_bundle_of_another_stage_is_refused(bundles, tmp_path):
    assert_told(bundles.stage("load", "--in", tmp_path / "rows", status=1), "rows", "envelopes")
    assert_told(bundles.stage("transform", "--in", tmp_path / "envelopes", "--out",
                              tmp_path / "new", status=1), "envelopes")
    assert bundles.untouched() and not (tmp_path / "new").exists()


def test_a_damaged_bundle_changes_nothing(bundles, tmp_path):
    """Every file of a folder, cut short, emptied, gone or with a bit turned over."""
    names = sorted(path.relative_to(tmp_path / "envelopes")
                   for path in (tmp_path / "envelopes").rglob("*") if path.is_file())
    assert len(names) > 4
    for name in names:
        for harm in ("cut", "empty", "flip", "flip late", "gone", "longer"):
            broken = tmp_path / "broken"
            shutil.rmtree(broken, ignore_errors=True)
            shutil.copytree(tmp_path / "envelopes", broken)
            harm_file(broken / name, harm)
            ran = bundles.stage("load", "--in", broken, status=None)
            assert ran.status == 1, (name, harm, ran.err)
            assert "broken" in ran.err or name.name in ran.err, (name, harm, ran.err)
    assert bundles.untouched()


def harm_file(path, harm):
    content = bytearray(path.read_bytes())
    if harm == "cut":
        del content[len(content) // 2:]
    elif harm == "empty":
        content.clear()
    elif harm == "flip":
        content[len(content) // 2] ^= 1
    elif harm == "flip late":
        content[-2] ^= 0x20
    elif harm == "longer":
        content += b"x"
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize("way", ["file", "stream"])
def test_a_damaged_tar_changes_nothing(bundles, tmp_path, way):
    whole = (tmp_path / "envelopes.tar").read_bytes()
    broken = tmp_path / "broken.tar"
    places = [len(whole) * i // 9 for i in range(9)]
    for place in places:
        for kind in ("cut", "flip"):
            content = bytearray(whole)
            if kind == "cut":
                del content[place:]
            else:
                content[place] ^= 4
            broken.write_bytes(content)
            if way == "file":
                ran = bundles.stage("load", "--in", broken, status=None)
            else:
                with open(broken, "rb") as stream:
                    ran = subprocess.run([tool_path("xmtp-load"), "--manifest", bundles.manifest,
                                          "--in", "-"], stdin=stream, capture_output=True,
                                         text=True, env=tool_environment())
                    ran.status, ran.err = ran.returncode, ran.stderr
            if ran.status == 0:  # a byte of padding, which no digest covers
                assert kind == "flip"
                return
            assert ran.status == 1, (kind, place, ran.err)
    assert bundles.untouched()


def test_two_bundles_mixed_are_refused(bundles, tmp_path):
    """Parts of one bundle under the index of another."""
    add_message(bundles.v3, "one more")
    bundles.stage("export", "--out", tmp_path / "rows2", "--as-of", "2026-01-01T00:00:00Z")
    bundles.stage("transform", "--in", tmp_path / "rows2", "--out", tmp_path / "other")
    shutil.copy(tmp_path / "other" / "header.json", tmp_path / "envelopes" / "header.json")
    assert bundles.stage("load", "--in", tmp_path / "envelopes", status=1).err
    assert bundles.untouched()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "parts/../../evil", "parts/evil\n"])
def test_a_tar_with_a_path_that_leads_out_is_refused(bundles, tmp_path, name):
    with tarfile.open(tmp_path / "envelopes.tar") as old, \
            tarfile.open(tmp_path / "evil.tar", "w") as new:
        for i, member in enumerate(old.getmembers()):
            content = old.extractfile(member).read()
            if i == 1:
                added = tarfile.TarInfo(name)
                added.size = 4
                new.addfile(added, io.BytesIO(b"evil"))
            new.addfile(member, io.BytesIO(content))
    assert bundles.stage("load", "--in", tmp_path / "evil.tar", status=1).err
    assert bundles.untouched()
    assert not (tmp_path.parent / "evil").exists() and not (tmp_path / "evil").exists()


def test_no_bundle_at_all_is_told(bundles, tmp_path):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "text.tar").write_text("this is no tar\n" * 100)
    for place in ("nothing", "text.tar", "not-there", "not-there.tar", "manifest.json"):
        ran = bundles.stage("load", "--in", tmp_path / place, status=None)
        assert ran.status in (1, 2) and place in ran.err, (place, ran.err)
    assert bundles.untouched()


def test_a_node_that_is_not_in_the_manifest_is_refused(bundles, tmp_path):
    ran = bundles.stage("load", "--in", tmp_path / "envelopes", "--node", "gamma", status=2)
    assert_told(ran, "gamma")


def test_a_part_of_a_run_that_differs_from_what_was_loaded_is_a_conflict(bundles, tmp_path):
    """The index is made right again, the rows are others: the node keeps what it has."""
    bundles.stage("load", "--in", tmp_path / "envelopes")
    before = digest_of_node(bundles.alpha)
    bundles.stage("load", "--in", tmp_path / "envelopes")
    bundles.stage("load", "--in", tmp_path / "envelopes.tar")
    assert digest_of_node(bundles.alpha) == before
    assert rows(bundles.alpha, "SELECT count(*) FROM xmtp_migrate.runs") == [["1"]]


def test_deep_and_wide_json_does_no_harm(world):
    for text in ('{"a":' * 5000, "[" * 100000, '{"schema": "' + "x" * 5000000 + '"}', "\0\0", "",
                 '{"schema": "xmtp-migrate/manifest/1", "nodes": ' + json.dumps([{}] * 5000) + "}"):
        world.manifest.write_text(text)
        ran = world.migrate("run", status=2)
        assert "manifest.json" in ran.err
        assert len(ran.err) < 5_000_000
