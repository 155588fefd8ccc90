#!/usr/bin/env python3
"""The echo service for clients in Python, from PROTOCOL.md alone, whose sections stand in [brackets]: how small a service may be [22].
It stores nothing: a client's stream outlives links, gateways and connections, but not this process."""
import argparse, asyncio, os, re, secrets, signal, struct, sys, time
import zmq.asyncio

(HELLO, WELCOME, RESET, PING), (OPEN, ACCEPT, REFUSE, DATA, CREDIT, ACK, CLOSE) = range(0x01, 0x05), range(0x10, 0x17)  # [4, 15]
ENABLE, ENABLED, DETACH, REATTACH, RESUME, ATTACHED = range(0x20, 0x26)
(ENTRY, NOTED, RENEW, RENEWED, SNAPSHOT, SNAPSHOT_END, KEYS), (FIRST, LAST, REJECT, ANSWER, GONE) = range(0x40, 0x47), (1, 2, 4, 1, 1)
BATCH, FRAME, U64 = struct.Struct(">BBHIQ"), struct.Struct(">BBHIII"), ("incarnation", "version", "sent", "received")
BATCH_MAX, STANZA_MAX, WINDOW, CHUNK, ECHOES_MAX, UNACKED_MAX, RESUME_MAX, STREAMS = 65536, 2**18, 32768, 2048, 256, 4096, 600, 1000
FULL, IQ = {"type": b"wait", "condition": b"resource-constraint"}, {"type": b"cancel", "condition": b"service-unavailable"}
ATTRIBUTE = r"""\s+([^\s=]+)\s*=\s*("[^"]*"|'[^']*')"""
streams, links, now, number = {}, {}, time.monotonic, int.from_bytes  # by stream-id; the gateways' tasks, by (endpoint, key)

def frame(kind, /, handle=0, sequence=0, flags=0, body=b"", **properties):
    for name, v in properties.items():
        v = v.encode() if isinstance(v, str) else v.to_bytes(8 if name in U64 else 4) if isinstance(v, int) else v
        body += struct.pack("B", len(name)) + name.replace("_", "-").encode() + struct.pack(">I", len(v)) + v
    return FRAME.pack(kind, flags, 0, len(body), handle, sequence) + body

def frames(batch):
    at = BATCH.size
    while at < len(batch):
        kind, flags, _, length, handle, sequence = FRAME.unpack_from(batch, at)
        at += FRAME.size + length
        yield kind, flags, handle, sequence, batch[at - length:at]

def parse(body):  # {name: value} of a property list [3]
    start = 5 + body[0] if body else 0
    end = start + number(body[start - 4:start])
    return {body[1:start - 4].decode(): body[start:end], **parse(body[end:])} if body else {}

def answer(xml, refusal):  # a message, to and from exchanged; an error for an iq, and for what is refused; or nothing
    name, head, rest = re.match(rf"<?([^\s/>]*)((?:{ATTRIBUTE})*)(.*)", xml.decode(), re.S).group(1, 2, 5)
    attributes = {{"to": "from", "from": "to"}.get(key, key): value for key, value in re.findall(ATTRIBUTE, head)}
    if attributes.get("type", "")[1:-1] in ("error", "result") or name not in ("message", "iq") and not refusal: return b""
    if refusal or name == "iq":
        attributes["type"], (kind, condition) = "'error'", [(refusal or IQ)[name].decode() for name in ("type", "condition")]
        rest = f"><error type='{kind}'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></{name}>"
    return f"<{name}{''.join(f' {key}={value}' for key, value in attributes.items())}{rest}".encode()

class Stream:  # `unacked`: answers after `acked`: (xml, number of the stanza, until when it waits for them [7]); those after `sent` may go
    def __init__(self, p):
        self.id, self.user, self.generation, self.bases, self.resumes = p["stream-id"], p["bare-jid"].decode(), 1, {}, 0
        self.jid = f"{self.user}/{p.get('resource', b'').decode() or secrets.token_hex(8)}"
        self.received, self.handled, self.sent, self.acked, self.unacked = 0, 0, 0, 0, []
    def attach(self, kind, link, handle, has, window, **more):  # to a gateway that has our stanzas up to `has` [10]
        self.link, self.handle, self.sent, self.at, self.credit, self.lost, self.enable = link, handle, has, 0, window, None, None
        link.handles[handle] = self
        more.update(self.bases, generation=self.generation, last_received=self.received, last_handled=self.handled, credit=WINDOW)
        self.tell(kind, **more)
    def tell(self, kind, /, **what):
        self.link.out.append(frame(kind, self.handle, **what))
    def leave(self, kind, **why):
        self.tell(kind, **why)
        self.lost = now()
        del self.link.handles[self.handle]
    def acknowledged(self, counted):
        new = max(0, min(counted, self.sent) - self.acked)
        self.unacked, self.acked = self.unacked[new:], self.acked + new
    def data(self, flags, sequence, body):
        self.tell(CREDIT, sequence=len(body))
        if flags & FIRST:
            skip = 2 + number(body[:2]) if flags & REJECT else 0
            self.refusal, self.part, body = parse(body[2:skip]), b"", body[skip:]
        self.part += body
        if sequence != self.received + 1 or len(self.part) > STANZA_MAX: raise ValueError("a stanza that is not due, or too large")
        if flags & LAST:  # what is too much is answered by an error, what is far too much by nothing
            refusal = self.refusal or (FULL if len(self.unacked) >= ECHOES_MAX else None)
            xml, self.received = answer(self.part, refusal) if len(self.unacked) < UNACKED_MAX else b"", self.received + 1
            if xml: self.unacked.append((xml, self.received, 0 if refusal else now() + 1))
    def settle(self):  # what is due: DATA for which there is credit; ENABLED, when the stanza that ENABLE named is here [10]; ACK
        while self.sent - self.acked < len(self.unacked):
            xml = self.unacked[self.sent - self.acked][0]
            body, end = xml[self.at:self.at + CHUNK], self.at + CHUNK >= len(xml)  # a CHUNK is half of the least window
            if len(body) > self.credit: break
            self.tell(DATA, sequence=self.sent + 1, flags=FIRST * (self.at == 0) + LAST * end, body=body)
            self.credit, self.sent, self.at = self.credit - len(body), self.sent + end, 0 if end else self.at + CHUNK
        if self.enable and self.received >= number(self.enable["base-to-service"]):
            self.resumes = min(number(self.enable["resume-seconds"]), RESUME_MAX)
            bases = {"base_to_service": number(self.enable["base-to-service"]), "base_to_gateway": self.sent + (self.at > 0)}
            self.bases, self.enable = {**bases, "resume_seconds": self.resumes}, None
            self.tell(ENABLED, **self.bases)
        handled = next((answered - 1 for _, answered, late in self.unacked if late > now()), self.received)
        if handled > self.handled: self.tell(ACK, sequence=handled)
        self.handled = max(handled, self.handled)

class Link:  # to a gateway worker: epoch after epoch, for as long as the registry knows it [6]
    async def follow(self, where, pause=0):
        while where in me.gateways:
            self.socket, self.epoch, self.began, self.heard, self.pinged = dial(*where), int(now() * 10) % 2**32, now(), now(), now()
            self.window, self.nr_sent, self.nr_received, self.pings, self.handles, self.least = 0, 0, 0, set(), {}, 0.25
            self.out = [frame(HELLO, version_min=1, version_max=1, instance=me.id, incarnation=me.incarnation, stream_window_bytes=WINDOW,
                              stanza_bytes_max=STANZA_MAX, unacked_stanzas_max=UNACKED_MAX, unacked_bytes_max=2**30, streams_max=STREAMS)]
            try:
                while now() - self.heard < (15 if self.window else 3):
                    for stream in self.handles.values(): stream.settle()
                    if self.window and now() - self.pinged > 1: self.pinged, self.pings = now(), self.pings | {0}
                    while (self.pings or self.out) and self.socket.get(zmq.EVENTS) & zmq.POLLOUT:
                        self.nr_sent += 1
                        batch = b"".join(frame(PING, flags=f, sent=self.nr_sent, received=self.nr_received) for f in self.pings)
                        self.pings = set()
                        while self.out and len(batch) < BATCH_MAX / 2: batch += self.out.pop(0)
                        await self.socket.send(BATCH.pack(1, 0, 0, self.epoch, self.nr_sent) + batch)
                    if await self.socket.poll(100, zmq.POLLIN | (zmq.POLLOUT if self.out else 0)) & zmq.POLLIN:
                        self.take(await self.socket.recv())
            except Exception as e:  # whatever is wrong with what came: the epoch is over
                print(f"echo.py: link to {where[0]}: {e!r}", file=sys.stderr, flush=True)
            for stream in self.handles.values(): stream.lost = now()
            self.socket.close()
            pause = 0 if self.window and now() - self.began > 5 else max(self.least, min(2 * pause, 8))
            await asyncio.sleep(pause)
        del links[where]
    def take(self, batch):
        self.nr_received, self.heard = self.nr_received + 1, now()
        if BATCH.unpack_from(batch)[3:] != (self.epoch, self.nr_received): raise ValueError("a gap, or RESET")
        for kind, flags, handle, sequence, body in frames(batch):
            p, stream = parse(b"" if kind == DATA else body), self.handles.get(handle)  # none: it crossed our CLOSE [7]
            if kind == WELCOME:
                self.least, self.window = 10 if p.get("refused") else 0.25, number(p.get("stream-window-bytes", b""))
                print(f"ready gateway={self.socket.last_endpoint.decode()}", flush=True)
            elif kind == PING:
                self.pings |= set() if flags & ANSWER else {ANSWER}
            elif kind in (OPEN, REATTACH, RESUME):
                self.begin(kind, handle, p, streams.get(p["stream-id"]))
            elif stream and kind == DATA:
                stream.data(flags, sequence, body)
            elif stream and kind == ACK:
                stream.acknowledged(sequence)
            elif stream and kind == CREDIT:
                stream.credit += sequence
            elif stream and kind == ENABLE:
                stream.enable = p
            elif stream:  # CLOSE or DETACH
                stream.leave(kind)
                stream.resumes = 0 if kind == CLOSE else stream.resumes
    def begin(self, kind, handle, p, s):  # or refuse [5, 10]
        s = s if kind != RESUME or s and s.resumes and s.user == p["bare-jid"].decode() else None
        has = number(p["h"]) + s.bases["base_to_gateway"] if kind == RESUME and s else 0
        if kind == OPEN and number(p["kind"]) == 1 and len(streams) < STREAMS:
            s = streams[p["stream-id"]] = Stream(p)
            s.attach(ACCEPT, self, handle, 0, self.window, full_jid=s.jid)
        elif kind == REATTACH and s and s.link is self and s.generation == number(p["generation"]):
            s.acknowledged(number(p["last-handled"]))
            s.attach(ATTACHED, self, handle, number(p["last-received"]), number(p["credit"]))
        elif kind == RESUME and s and has <= s.sent:  # the last one to resume wins
            if not s.lost: s.leave(CLOSE, condition="conflict")
            s.acknowledged(has)
            s.generation, s.handled = s.generation + 1, s.received
            s.attach(ATTACHED, self, handle, s.acked, self.window, full_jid=s.jid, last_acked=s.acked)
        elif kind == RESUME and s:
            h = {"h": max(0, s.handled - s.bases["base_to_service"]), "sent_h": max(0, s.sent - s.bases["base_to_gateway"])}
            self.out.append(frame(REFUSE, handle, condition="undefined-condition", text="handled-count-too-high", stream_error=b"\1", **h))
        else:
            why = {OPEN: "resource-constraint", REATTACH: "conflict" if s else "remote-connection-failed", RESUME: "item-not-found"}[kind]
            self.out.append(frame(REFUSE, handle, condition=why, type="cancel", stream_error=bytes([kind == REATTACH])))

def dial(endpoint, key):
    socket = me.context.socket(zmq.DEALER)
    socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = me.public, me.secret, key.encode()
    socket.maxmsgsize, socket.linger, socket.sndhwm, socket.rcvhwm = BATCH_MAX + 33, 1000, 2, 2  # CURVE adds 33 [1]
    socket.connect(endpoint)
    return socket

async def register(where):  # every second: the same entry, which renews its lease, and a snapshot, in which the gateways stand [16, 17]
    entry = {"kind": 2, "owner": me.id, "incarnation": me.incarnation, "key": me.public, "name": me.domain, "lease_ms": 10000, "types": 1,
             "policy": "round-robin", "failover": me.failover, "weight": 1}
    for name in (signal.SIGTERM, signal.SIGINT): asyncio.get_running_loop().add_signal_handler(name, asyncio.current_task().cancel)
    socket, kind, header = None, None, BATCH.pack(1, 0, 0, 0, 0)
    try:
        while True:
            socket = socket if kind == SNAPSHOT_END else dial(*where)  # anew if it is silent: 0MQ gives up a connection that was refused
            await socket.send(header + frame(ENTRY, version=1, **entry) + frame(SNAPSHOT))
            keys, found, kind = "", set(), None
            while kind != SNAPSHOT_END and await socket.poll(1000):
                for kind, _, _, _, body in frames(await socket.recv()):
                    p = parse(body)
                    keys += p.get("text", b"").decode()
                    if p.get("refused"): print(f"echo.py: {p['refused']}", file=sys.stderr, flush=True)
                    found |= {(p["name"].decode(), p["key"].decode())} if kind == ENTRY and number(p["kind"]) == 1 else set()
            if kind == SNAPSHOT_END:
                me.gateways = {(name, key) for name, key in found if [key, "gateway"] in [line.split()[:2] for line in keys.splitlines()]}
                links.update({gateway: asyncio.create_task(Link().follow(gateway)) for gateway in me.gateways - set(links)})
                await asyncio.sleep(1)
            for old in [s for s in streams.values() if s.lost and now() - s.lost > max(15, s.resumes)]: del streams[old.id]
    except asyncio.CancelledError:
        await socket.send(header + frame(ENTRY, flags=GONE, version=2, **entry))
        me.context.destroy(linger=1000)

if __name__ == "__main__":
    flags = argparse.ArgumentParser(description=__doc__)
    for name, default in (("domain", None), ("state-dir", "/var/lib/ambrosia"), ("registry", None), ("key", None), ("failover", "close")):
        flags.add_argument(f"--{name}", default=default, required=name == "domain")
    me, sys.excepthook = flags.parse_args(), lambda kind, e, _: print(f"echo.py: {kind.__name__}: {e}", file=sys.stderr)
    me.id, me.incarnation, me.context = secrets.token_bytes(16), int(time.time() * 1000), zmq.asyncio.Context()
    path = me.key or f"{me.state_dir}/service.key"
    if os.stat(path).st_mode & 0o077: sys.exit(f"echo.py: others may read {path}: chmod 600 it")
    me.public, me.secret = open(path, "rb").read().split()[:2]
    asyncio.run(register((me.registry or open(f"{me.state_dir}/registry").read()).strip().split("=", 1)))
