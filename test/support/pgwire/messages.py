"""Frontend messages as bytes, and the few backend ones that need taking apart."""
import struct

PROTOCOL_3_0 = 196608


def message(kind, body=b""):
    return kind + struct.pack("!i", len(body) + 4) + body


def cstr(text):
    return (text if isinstance(text, bytes) else text.encode()) + b"\0"


def startup(version=PROTOCOL_3_0, **params):
    body = struct.pack("!i", version) + b"".join(cstr(k) + cstr(v) for k, v in params.items()) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def ssl_request():
    return struct.pack("!ii", 8, 80877103)


def gssenc_request():
    return struct.pack("!ii", 8, 80877104)


def cancel_request(pid, key):
    return struct.pack("!iii", 12 + len(key), 80877102, pid) + key


def query(sql):
    return message(b"Q", cstr(sql))


def parse(name, sql, oids=()):
    return message(b"P", cstr(name) + cstr(sql) + struct.pack(f"!h{len(oids)}i", len(oids), *oids))


def bind(portal, statement, params=()):
    body = cstr(portal) + cstr(statement) + struct.pack("!hh", 0, len(params))
    for p in params:
        data = None if p is None else str(p).encode()
        body += struct.pack("!i", -1) if data is None else struct.pack("!i", len(data)) + data
    return message(b"B", body + struct.pack("!h", 0))


def describe(kind, name):
    return message(b"D", kind + cstr(name))


def execute(portal="", max_rows=0):
    return message(b"E", cstr(portal) + struct.pack("!i", max_rows))


def close(kind, name):
    return message(b"C", kind + cstr(name))


def sync():
    return message(b"S")


def flush():
    return message(b"H")


def terminate():
    return message(b"X")


def password(text):
    return message(b"p", cstr(text))


def copy_data(data):
    return message(b"d", data)


def copy_done():
    return message(b"c")


def copy_fail(why):
    return message(b"f", cstr(why))


def error_fields(body):
    """ErrorResponse or NoticeResponse as {field letter: text}."""
    fields = {}
    for part in body.rstrip(b"\0").split(b"\0"):
        if part:
            fields[chr(part[0])] = part[1:].decode(errors="replace")
    return fields


def data_row(body):
    count, = struct.unpack_from("!h", body)
    values, at = [], 2
    for _ in range(count):
        size, = struct.unpack_from("!i", body, at)
        at += 4
        if size < 0:
            values.append(None)
        else:
            values.append(body[at:at + size].decode(errors="replace"))
            at += size
    if at != len(body):
        raise ValueError("a DataRow whose columns do not fill it")
    return values
