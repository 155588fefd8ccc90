"""A member of its own making: asks one registry for its snapshot, from nothing but svcproto/PROTOCOL.md sections 14 to 20 and libzmq."""
import ctypes
import struct
import time

DEALER, LINGER, RCVTIMEO, CURVE_PUBLICKEY, CURVE_SECRETKEY, CURVE_SERVERKEY, IPV6 = 5, 17, 27, 48, 49, 50, 42
ENTRY, SNAPSHOT, SNAPSHOT_END, KEYS, SECRETS, SECRETS_SLOT = 0x40, 0x44, 0x45, 0x46, 0x48, 0x49
GONE = 0x1
KINDS = {1: "gateway", 2: "registration", 3: "redirect"}

zmq = ctypes.CDLL("libzmq.so.5")
for function in ("zmq_ctx_new", "zmq_socket"):
    getattr(zmq, function).restype = ctypes.c_void_p
context = ctypes.c_void_p(zmq.zmq_ctx_new())


def frames(message):
    """(type, flags, {property: bytes}) of one message."""
    at = 16
    while at < len(message):
        kind, flags, _, length, _, _ = struct.unpack_from(">BBHIII", message, at)
        body, properties = message[at + 16:at + 16 + length], {}
        at += 16 + length
        while body:
            name, body = body[1:1 + body[0]].decode(), body[1 + body[0]:]
            size = struct.unpack_from(">I", body)[0]
            properties[name], body = body[4:4 + size], body[4 + size:]
        yield kind, flags, properties


class View:
    """`registry` is ENDPOINT=KEY; `key` a key file of whatever role."""

    def __init__(self, registry, key):
        endpoint, server = registry[:-41], registry[-40:]    # a key may hold a '='
        public, secret = open(key).read().split()
        self.socket = ctypes.c_void_p(zmq.zmq_socket(context, DEALER))
        for option, value in ((CURVE_SERVERKEY, server), (CURVE_PUBLICKEY, public), (CURVE_SECRETKEY, secret)):
            zmq.zmq_setsockopt(self.socket, option, value.encode(), ctypes.c_size_t(len(value) + 1))
        for option, value in ((LINGER, 0), (RCVTIMEO, 2000), (IPV6, 1)):
            zmq.zmq_setsockopt(self.socket, option, ctypes.byref(ctypes.c_int(value)), ctypes.c_size_t(4))
        zmq.zmq_connect(self.socket, endpoint.encode())
        self.number = 0

    def close(self):
        zmq.zmq_close(self.socket)

    def ask(self, *requests):
        """All frames of the answer to frames without bodies, of which a SNAPSHOT is the last; less than that when nobody answers."""
        self.number += 1
        message = struct.pack(">BBHIQ", 1, 0, 0, 0, self.number) + b"".join(struct.pack(">BBHIII", kind, 0, 0, 0, 0, 0) for kind in requests)
        zmq.zmq_send(self.socket, message, ctypes.c_size_t(len(message)), 0)
        buffer, end = ctypes.create_string_buffer(65536), time.monotonic() + 5
        while time.monotonic() < end:
            n = zmq.zmq_recv(self.socket, buffer, ctypes.c_size_t(65536), 0)
            if n < 16 or struct.unpack_from(">Q", buffer.raw, 8)[0] != self.number:
                continue
            for frame in frames(buffer.raw[:n]):
                yield frame
                if frame[0] == SNAPSHOT_END:
                    return

    def snapshot(self):
        """(serial of the keys, {(kind, name, owner): version}), or None when nobody answers."""
        serial, entries = None, {}
        for kind, flags, p in self.ask(SNAPSHOT):
            if kind == KEYS:
                serial = struct.unpack(">Q", p["serial"])[0]
            elif kind == ENTRY and not flags & GONE:
                what = KINDS[struct.unpack(">I", p["kind"])[0]]
                entries[what, p["name"].decode(), p["owner"].hex()] = struct.unpack(">QQ", p["incarnation"] + p["version"])
            elif kind == SNAPSHOT_END:
                return serial, entries
        return None

    def nr_secrets(self):
        """How many slots' secrets it is given; None when nobody answers. What is asked for behind them has come by then, so none means none."""
        kinds = [kind for kind, _, _ in self.ask(SECRETS, SNAPSHOT)]
        return kinds.count(SECRETS_SLOT) if SNAPSHOT_END in kinds else None
