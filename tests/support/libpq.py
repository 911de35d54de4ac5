"""SQL sent by libpq itself, printed as psql does: a process for each question would take tests longer
than the answers. What psql alone understands is left to psql."""

import ctypes
import re

# Whatever a semicolon in it ends no statement.
OPAQUE = re.compile(r"""
    [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "[^"]*" | \$(\w*)\$.*?\$\1\$ | --[^\n]* |
    /\*.*?\*/""", re.VERBOSE | re.DOTALL)
FOR_PSQL = re.compile(r"\\|\bcopy\b.*\b(stdin|stdout)\b", re.IGNORECASE | re.DOTALL)
CONNECTED, COMMAND_OK, TUPLES_OK, EMPTY = 0, 1, 2, 0

_pq = ctypes.CDLL("libpq.so.5")
_silent = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)(lambda *_: None)

for _name, _gives, *_takes in (
        ("PQconnectdbParams", "P", "L", "L", "i"), ("PQfinish", "", "P"), ("PQstatus", "i", "P"),
        ("PQerrorMessage", "s", "P"), ("PQsetNoticeProcessor", "P", "P", "P", "P"),
        ("PQexec", "P", "P", "s"), ("PQclear", "", "P"), ("PQresultStatus", "i", "P"),
        ("PQntuples", "i", "P"), ("PQnfields", "i", "P"), ("PQgetvalue", "s", "P", "i", "i")):
    _types = {"P": ctypes.c_void_p, "L": ctypes.POINTER(ctypes.c_char_p), "i": ctypes.c_int,
              "s": ctypes.c_char_p, "": None}
    _function = getattr(_pq, _name)
    _function.restype, _function.argtypes = _types[_gives], [_types[_take] for _take in _takes]


class Error(Exception):
    """What the server or libpq says; printed is what came before."""

    def __init__(self, said, printed):
        super().__init__(said.decode("utf-8", "replace").strip())
        self.printed = printed


def understands(sql):
    """Whether this needs no psql."""
    return not FOR_PSQL.search(OPAQUE.sub("''", sql))


def statements(sql):
    """The statements of a text, as psql would send them one by one."""
    found, begin, end = [], 0, 0
    while end < len(sql):
        opaque = OPAQUE.match(sql, end)
        if opaque and not (opaque.group(0)[0] in "eE" and sql[end - 1:end].isalnum()):
            end = opaque.end()
            continue
        if sql[end] == ";":
            found.append(sql[begin:end])
            begin = end + 1
        end += 1
    return [statement for statement in [*found, sql[begin:]] if statement.strip()]


def _strings(*texts):
    return (ctypes.c_char_p * (len(texts) + 1))(*(text.encode() for text in texts), None)


def _lines(result):
    fields = range(_pq.PQnfields(result))
    return ["|".join(_pq.PQgetvalue(result, row, field).decode() for field in fields)
            for row in range(_pq.PQntuples(result))]


def query(dsn, sql):
    """The lines that each statement of the text prints: unaligned, fields split by |."""
    printed = []
    connection = _pq.PQconnectdbParams(
        _strings("dbname", "client_encoding", "fallback_application_name"),
        _strings(dsn, "UTF8", "psql"), 1)
    try:
        if _pq.PQstatus(connection) != CONNECTED:
            raise Error(_pq.PQerrorMessage(connection), printed)
        _pq.PQsetNoticeProcessor(connection, ctypes.cast(_silent, ctypes.c_void_p), None)
        for statement in statements(sql):
            result = _pq.PQexec(connection, statement.encode())
            try:
                if _pq.PQresultStatus(result) not in (COMMAND_OK, TUPLES_OK, EMPTY):
                    raise Error(_pq.PQerrorMessage(connection), printed)
                printed.append(_lines(result))
            finally:
                _pq.PQclear(result)
    finally:
        _pq.PQfinish(connection)
    return printed
