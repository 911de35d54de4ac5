"""What protoc makes of bytes: protoc --decode, and its text as Python values."""

import ast
import pathlib
import re
import subprocess
import tempfile

SCHEMAS = pathlib.Path(__file__).resolve().parent.parent.parent / "schemas"

# protoc decodes one message a call: to have many, they become the items of one more.
MANY = """syntax = "proto3";
import "{file}";
message Many {{ repeated {name} items = 1; }}
"""


class NotThat(Exception):
    """protoc refuses the bytes, or finds a field in them that the schema has not."""


def _varint(number):
    groups = []
    while True:
        number, group = number >> 7, number & 0x7F
        groups.append(group | 0x80 if number else group)
        if not number:
            return bytes(groups)


def _value(text):
    if text.startswith('"'):
        return ast.literal_eval("b" + text)
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def _message(lines):
    """The fields of a message, up to its closing brace, as {name: [value, ...]}."""
    fields = {}
    for line in lines:
        line = line.lstrip()
        if line == "}":
            break
        name, opening, text = re.fullmatch(r"(\w+)(?:( \{)|: (.*))", line).groups()
        if name.isdigit():
            raise NotThat(f"field {name} is not in the schema")
        fields.setdefault(name, []).append(_message(lines) if opening else _value(text))
    return fields


def decode(file, name, messages):
    """Decodes messages of one type; gives each as a dict of lists. Raises NotThat."""
    joined = b"".join(b"\x0a" + _varint(len(one)) + one for one in messages)
    with tempfile.TemporaryDirectory() as folder:
        many = pathlib.Path(folder) / "many.proto"
        many.write_text(MANY.format(file=file, name=name))
        ran = subprocess.run(
            ["protoc", f"--proto_path={SCHEMAS}", f"--proto_path={folder}", "--decode=Many",
             str(many)], input=joined, capture_output=True)
    if ran.returncode != 0:
        raise NotThat(ran.stderr.decode(errors="replace").strip())
    items = _message(iter(ran.stdout.decode("ascii").splitlines())).get("items", [])
    assert len(items) == len(messages), f"protoc gave {len(items)} of {len(messages)} messages"
    return items


def is_one(file, name, message):
    """Whether protoc reads the bytes as that message; fields unknown to the schema are fine."""
    ran = subprocess.run(["protoc", f"--proto_path={SCHEMAS}", f"--decode={name}", file],
                         input=message, capture_output=True)
    return ran.returncode == 0


def only(fields, name, default=None):
    """The one value of a field; the default when it is absent, as proto3 has it."""
    values = fields.get(name, [default])
    assert len(values) == 1, f"{name} stands {len(values)} times"
    return values[0]
