"""xmtp-inspect: bundles in every form, and every envelope of the golden vectors at every layer."""

import json
import os
import pathlib
import subprocess

import pytest

BIN = pathlib.Path(os.environ["MIG_BUILD"]) / "bin"
GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
# Of the vectors' keys, as PyPI's eth-keys derives them.
PAYER = "0xD5EB2176AA3A274e03e3BDa0c7E77Fae939fEB49"
ORIGINATOR = "0xAB9E2AeFFd86DbdEfC064ff8463385198a387B22"


def inspect(*words, stdin=None):
    text = stdin is None or isinstance(stdin, str)
    return subprocess.run([BIN / "xmtp-inspect", *words], input=stdin, capture_output=True,
                          text=text, timeout=60)


def envelope(text):
    done = inspect("envelope", "-", "--json", stdin=text)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ---- envelopes -------------------------------------------------------------------------------------


def vectors(profile):
    return json.loads((GOLDEN / f"{profile}.json").read_text())["vectors"]


@pytest.mark.parametrize("profile", ["correct", "xmtpd"])
def test_every_golden_envelope_is_told_by_its_layer_and_fields(profile):
    seen = 0
    for vector in vectors(profile):
        expect = vector["expect"]
        for layer in ("originator", "payer", "client"):
            if f"{layer}_envelope" not in expect:
                continue
            seen += 1
            shown = envelope(expect[f"{layer}_envelope"])
            assert shown["layer"] == layer, vector["name"]
            assert shown["client_envelope"]["topic"] == expect["topic"]
            if layer != "client":
                payer = shown["payer_envelope"]
                assert payer["signer"] == PAYER
                assert payer["target_originator"] == expect["originator"]
            if layer == "originator":
                outer = shown["originator_envelope"]
                assert outer["signer"] == ORIGINATOR
                for member in ("originator", "sequence_id", "originator_ns",
                               "base_fee_picodollars", "expiry_unixtime"):
                    assert outer[member] == expect[member], (vector["name"], member)
    assert seen > 100


def test_the_payload_is_shown_as_the_row_had_it():
    columns = {
        "group_message": {"data": "data", "sender_hmac": "sender_hmac"},
        "welcome_message": {"installation_key": "installation_key", "data": "data",
                            "hpke_public_key": "hpke_public_key",
                            "welcome_metadata": "welcome_metadata"},
        "upload_key_package": {"key_package": "key_package"},
        "identity_update": {"identity_update": "identity_update_proto"},
    }
    kinds = set()
    for vector in vectors("correct"):
        if "client_envelope" not in vector["expect"]:
            continue
        payload = envelope(vector["expect"]["client_envelope"])["client_envelope"]["payload"]
        kinds.add((payload["kind"], payload.get("version")))
        for member, column in columns[payload["kind"]].items():
            if payload.get("version") == "welcome_pointer":
                member = {"data": "welcome_pointer"}.get(member, member)
                if member == "welcome_metadata":
                    continue
            assert payload[member] == (vector["row"][column] or ""), (vector["name"], member)
    assert kinds == {("group_message", None), ("welcome_message", "v1"),
                     ("welcome_message", "welcome_pointer"), ("upload_key_package", None),
                     ("identity_update", None)}


def test_what_lies_inside_an_envelope_is_not_taken_for_one():
    for vector in vectors("correct"):
        row = vector["row"]
        for column in ("data", "key_package", "identity_update_proto", "group_id"):
            if row.get(column):
                done = inspect("envelope", "-", stdin=row[column])
                assert done.returncode == 1 and "no envelope" in done.stderr, vector["name"]


def test_a_forged_signature_shows_another_signer_and_a_broken_one_none():
    whole = next(v["expect"]["originator_envelope"] for v in vectors("correct")
                 if v["expect"]["route"] == "node")
    signature = envelope(whole)["originator_envelope"]["signature"]
    assert whole.count(signature) == 1
    other = "%02x" % (int(signature[60:62], 16) ^ 1)
    for forged in (signature[:60] + other + signature[62:], signature[:-2] + "05"):
        outer = envelope(whole.replace(signature, forged))["originator_envelope"]
        assert outer["signer"] != ORIGINATOR
        assert (outer["signer"] == "none") == ("signature_fault" in outer)


# ---- bundles ---------------------------------------------------------------------------------------


@pytest.fixture(params=["folder", "file", "stream"])
def bundle(request, tmp_path):
    """Gives words and standard input that stand for a bundle, by its stage."""
    def make(stage):
        path = str(tmp_path / ("bundle" if request.param == "folder" else "bundle.tar"))
        subprocess.run([BIN / "bundle_trial", stage, path], check=True)
        if request.param == "stream":
            return ["-"], pathlib.Path(path).read_bytes()
        return [path], b""
    return make


def test_a_bundle_of_envelopes_sums_up(bundle):
    words, stdin = bundle("envelopes")
    document = json.loads(inspect(*words, "--json", stdin=stdin).stdout)
    assert document["schema"] == "xmtp-migrate/bundle-summary/1"
    assert (document["stage"], document["network"], document["profile"]) == \
        ("envelopes", "trial", "correct")
    assert document["as_of"] == "2026-01-01T00:00:00Z"
    assert (document["payer"], document["originator"]) == (PAYER, ORIGINATOR)
    assert sorted((part["chain"], part["rows"]) for part in document["parts"]) == \
        [(False, 1), (True, 1)]
    assert document["totals"]["rows"] == 2
    tally = document["totals"]["tally"]
    assert tally["kinds"]["group_messages"] == {"counted": 2, "expired": 1, "rejected": 1}
    assert tally["kinds"]["commit_messages"] == {"counted": 1, "for_chain": 1}
    assert (tally["rejects"], tally["findings"]) == ({"data_empty": 1}, {"is_commit_disagrees": 1})
    assert document["blockers"] == [{"subject": "installation 0a0b", "remedy": "wait",
                                     "what": "its key package is old"}]
    shown = inspect(*words, stdin=stdin).stdout.decode()
    for text in ("rejected: data_empty 1", "finding: is_commit_disagrees 1", PAYER,
                 "blocker: installation 0a0b: its key package is old; wait"):
        assert text in shown


def test_its_records_are_lines_with_the_vectors_names(bundle):
    words, stdin = bundle("envelopes")
    lines = [json.loads(line) for line in inspect(*words, "--rows", stdin=stdin).stdout.splitlines()]
    rejected, chain = lines
    assert rejected["kind"] == "group_messages"
    assert rejected["reason"] == "data_empty"
    assert (rejected["row"]["id"], rejected["row"]["data"]) == (1, "")
    assert (chain["kind"], chain["originator"], chain["sequence_id"]) == ("commit_messages", 0, 2)
    assert chain["topic"] == "00" + b"0123456789abcdef".hex()
    assert envelope(chain["client_envelope"])["client_envelope"]["topic"] == chain["topic"]
    assert chain["findings"] == ["is_commit_disagrees"]


def test_a_bundle_of_rows_gives_them_back(bundle):
    words, stdin = bundle("rows")
    lines = [json.loads(line) for line in inspect(*words, "--rows", stdin=stdin).stdout.splitlines()]
    assert [(line["row"]["table"], line["row"]["id"], line["row"]["data"]) for line in lines] == \
        [("group_messages", 1, ""), ("group_messages", 2, "6869"), ("group_messages", 3, "6869")]
    document = json.loads(inspect(*words, "--json", stdin=stdin).stdout)
    assert (document["stage"], document["totals"]["rows"]) == ("rows", 3)
    assert "payer" not in document


def test_a_damaged_bundle_shows_nothing(tmp_path):
    path = tmp_path / "bundle"
    subprocess.run([BIN / "bundle_trial", "envelopes", path], check=True)
    part = next((path / "parts").glob("*nodes*"))
    damaged = bytearray(part.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    part.write_bytes(damaged)
    for words in ([], ["--rows"], ["--json"]):
        done = inspect(path, *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert part.name in done.stderr


def test_what_is_no_bundle_is_told_so(tmp_path):
    for path in (tmp_path / "absent", tmp_path / "absent.tar", tmp_path):
        done = inspect(path)
        assert (done.returncode, done.stdout) == (1, "")
        assert str(path) in done.stderr
