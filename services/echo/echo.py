#!/usr/bin/env python3
"""The echo service for clients in Python, without the C library: written from svcproto/PROTOCOL.md alone, whose sections stand in
[brackets]. It stores nothing: a client's stream outlives links, gateways and the client's connections, but not this process. A message is
acknowledged once its echo is, or a second later: the client's own acknowledgements may stand behind what it sends next [7]."""
import argparse, os, re, secrets, signal, struct, sys, time
from collections import OrderedDict, deque
from itertools import count, islice
import zmq

(HELLO, WELCOME, RESET, PING), (OPEN, ACCEPT, REFUSE, DATA, CREDIT, ACK, CLOSE) = range(0x01, 0x05), range(0x10, 0x17)  # frames [4, 15]
ENABLE, ENABLED, DETACH, REATTACH, RESUME, ATTACHED = range(0x20, 0x26)
ENTRY, NOTED, RENEW, RENEWED, SNAPSHOT, SNAPSHOT_END, KEYS, BEAT = range(0x40, 0x48)
FIRST, LAST, REJECT, REPEATED, ANSWER, GONE, EXPIRED, CRITICAL = 1, 2, 4, 8, 1, 1, 2, {PING: 1, DATA: 15, ENTRY: 3}  # and their flags
BATCH_MAX, CHUNK_MAX, LIST_MAX, STANZA_MAX, WINDOW, PIECE = 65536, 16384, 8192, 2**20, 32768, 2048  # bytes; PIECE: half the least window
UNACKED_MAX, ECHOES_MAX, STREAMS_MAX, RESUME_MAX, FULL = 8192, 256, 2**16, 600, ("wait", "resource-constraint")
BATCH, FRAME, U64, now = struct.Struct(">BBHIQ"), struct.Struct(">BBHIII"), ("incarnation", "version", "sent", "received"), time.monotonic
ATTRIBUTE = r"""\s+([^\s=]+)\s*=\s*("[^"]*"|'[^']*')"""
streams, links, withdrawn, epochs = {}, {}, {}, count(1)  # by stream-id; by (endpoint, key); versions of gateways' entries [18]

class Broken(Exception):
    """The peer broke the rules of the link, whose epoch is over [8]."""

class Breach(Broken):
    """It broke those of one stream, which ends [8]."""

BROKEN = (Broken, LookupError, ValueError, struct.error)  # the last three: what is shorter than it says, or is not UTF-8

def must(holds, rule, error=Broken):
    if not holds:
        raise error(rule)

def log(text):
    print("echo.py:", text.encode("unicode_escape").decode(), file=sys.stderr, flush=True)

def near(number, reference):
    """The count that a number on the wire stands for, modulo 2^32 [7]."""
    return reference + (number - reference + 2**31) % 2**32 - 2**31

def frame(kind, /, handle=0, sequence=0, flags=0, body=b"", **properties):
    """A frame [4] with a chunk or a list of properties [3]."""
    for name, v in properties.items():
        v = v.encode() if isinstance(v, str) else (v % 2**64).to_bytes(8, "big")[0 if name in U64 else 4:] if isinstance(v, int) else v
        body += struct.pack("B", len(name)) + name.replace("_", "-").encode() + struct.pack(">I", len(v)) + v
    return FRAME.pack(kind, flags, 0, len(body), handle, sequence % 2**32) + body

def frames(batch):
    """Type, flags, handle, sequence and body of each frame of a batch [2, 4]."""
    at = BATCH.size
    while at < len(batch):
        kind, flags, reserved, length, handle, sequence = FRAME.unpack_from(batch, at)
        at += FRAME.size + length
        must(not flags & 15 & ~CRITICAL.get(kind, 0) and not reserved, f"flags of frame {kind}")
        must(at <= len(batch) and length <= (CHUNK_MAX if kind in (DATA, KEYS) else LIST_MAX), f"length of frame {kind}")
        if kind < 0x80:
            yield kind, flags, handle, sequence, batch[at - length:at]

class Properties(dict):
    """A property list [3]."""
    def __init__(self, body):
        at = 0
        while at < len(body):
            start = at + 5 + body[at]
            name, at = body[at + 1:start - 4].decode(), start + struct.unpack_from(">I", body, start - 4)[0]
            must(name not in self and name[:1] != "!" and at <= len(body), f"property {name}")
            self[name] = body[start:at]
    def number(self, name):
        return int.from_bytes(self[name], "big")
    def text(self, name):
        return self.get(name, b"").decode()

def answer(xml, refusal):
    """What goes back for a stanza: a message, to and from exchanged; an error for an iq, and for what is refused; or nothing."""
    name, head, rest = re.match(rf"<?([^\s/>]*)((?:{ATTRIBUTE})*)(.*)", xml.decode(), re.S).group(1, 2, 5)
    attributes = {{"to": "from", "from": "to"}.get(key, key): value for key, value in re.findall(ATTRIBUTE, head)}
    if attributes.get("type", "")[1:-1] in ("error", "result") or name not in ("message", "iq") and not refusal:
        return b""
    if refusal or name == "iq":
        attributes["type"], (kind, condition) = "'error'", refusal or ("cancel", "service-unavailable")
        rest = f"><error type='{kind}'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></{name}>"
    return f"<{name}{''.join(f' {key}={value}' for key, value in attributes.items())}{rest}".encode()

class Stream:
    """A client's session. `unacked`: our stanzas that the client may not have, in chunks, each with the number of the one that it answers,
    and when that counts as handled in any case. `chunks`: what is still to be sent. `lost`: since when it has no gateway; `where` is then
    the link that may re-attach it, or None."""
    def __init__(self, p, jid):
        self.id, self.user, self.jid, self.generation = p["stream-id"], p["bare-jid"], jid, 1
        self.received, self.sent, self.acked, self.unacked = 0, 0, 0, deque()
        self.bases, self.resumes = {}, 0  # stream management, once it is on: the base counts, and for how many seconds
    def attach(self, link, handle, has, credit):
        """To a peer that has our stanzas up to `has`: what follows goes again, and what came of an unfinished one is dropped [10]."""
        self.link, self.where, self.handle, self.credit, self.told = link, link.where, handle, credit, self.handled()
        self.lost = self.enable = self.part = link.turn[self] = None
        link.handles[handle] = self
        must(self.acked <= has <= self.sent, "a position of what was not sent", Breach)
        self.sent, self.chunks = has, deque(c for chunks, *_ in islice(self.unacked, has - self.acked, None) for c in chunks)
    def tell(self, kind, /, **what):
        self.link.out.append(frame(kind, self.handle, **what))
    def attached(self, **more):
        self.tell(ATTACHED, generation=self.generation, last_received=self.received, last_handled=self.told, credit=WINDOW,
                  **self.bases, **more)
    def close(self, condition, text=""):
        self.tell(CLOSE, condition=condition, text=text)
        self.link.handles[self.handle] = None
        del streams[self.id]
    def handled(self):
        return next((number - 1 for _, number, late in self.unacked if late > now()), self.received)
    def acknowledged(self, number):
        must(number <= self.sent, "an acknowledgement of what was not sent", Breach)
        while self.acked < number:
            self.unacked.popleft()
            self.acked += 1
    def chunk(self):
        """The next frame of DATA, if there is one and credit for it [7]."""
        if not self.chunks or self.credit < len(self.chunks[0][2]):
            return b""
        number, flags, body = self.chunks.popleft()
        self.credit, self.sent = self.credit - len(body), number if flags & LAST else number - 1
        return frame(DATA, self.handle, number, flags, body)
    def act(self, kind, flags, sequence, body):
        if kind == CREDIT and self.credit + sequence < 2**31:
            self.credit += sequence
        elif kind == ACK:
            self.acknowledged(near(sequence, self.acked))
        elif kind == ENABLE and not self.enable and not self.bases:
            self.enable = Properties(body)
        elif kind == DATA:
            self.data(flags, sequence, body)
        else:
            raise Breach(f"frame {kind}")
        self.link.turn[self] = None
        self.settle()
    def data(self, flags, number, body):
        """A chunk [5], granted again at once, so that there is always credit for one. With its last one a stanza is answered."""
        skip = 2 + int.from_bytes(body[:2], "big") if flags & REJECT else 0
        must(number == (self.received + 1) % 2**32 and len(body) > skip, "DATA that is not due", Breach)
        must(bool(flags & FIRST) == (self.part is None) and (flags & FIRST or not flags & (REJECT | REPEATED)), "flags of DATA", Breach)
        if flags & FIRST:
            p, too_many = Properties(body[2:skip]), len(self.unacked) >= ECHOES_MAX
            self.part, self.refusal = b"", (p["type"].decode(), p["condition"].decode()) if skip else FULL if too_many else None
        self.part += body[skip:]
        must(len(self.part) <= STANZA_MAX and self.received - self.handled() < self.link.unacked_max, "more than may be", Breach)
        must(len(self.unacked) < UNACKED_MAX, "nothing is read of what comes back", Breach)
        self.tell(CREDIT, sequence=len(body))
        if flags & LAST:
            xml, number = answer(self.part, self.refusal), self.acked + len(self.unacked) + 1
            self.part, self.received = None, self.received + 1
            chunks = [(number, FIRST * (at == 0) + LAST * (at + PIECE >= len(xml)), xml[at:at + PIECE]) for at in range(0, len(xml), PIECE)]
            self.chunks.extend(chunks)
            if chunks:
                self.unacked.append((chunks, self.received, 0 if self.refusal else now() + 1))  # an error is not waited for
    def settle(self):
        """Says what is due: ENABLED, when the stanza that ENABLE named is here [10]; ACK."""
        if self.enable and self.received >= near(self.enable.number("base-to-service"), self.received):
            self.resumes, begun = min(self.enable.number("resume-seconds"), RESUME_MAX), bool(self.chunks and not self.chunks[0][1] & FIRST)
            ours = {"base_to_gateway": self.sent + begun, "resume_seconds": self.resumes}
            self.bases, self.enable = {"base_to_service": self.enable.number("base-to-service"), **ours}, None
            self.tell(ENABLED, **ours)
        if self.told != self.handled():
            self.told = self.handled()
            self.tell(ACK, sequence=self.told)

class Link:
    """A DEALER to one gateway worker, and its epochs [6]. `handles`: streams, or None for one that waits for the answer to our CLOSE."""
    def __init__(self, where):
        self.where, self.takes, self.handles, self.up, self.wanted_at, self.pause = where, {}, {}, False, now(), 0
        self.end("new")
    def end(self, why):
        """The epoch is over. Streams wait for their REATTACH [10]; the next epoch begins at once if this one had lasted."""
        for stream in filter(None, self.handles.values()):
            stream.lost = now()
        self.pause, self.why = 0 if self.up and now() - self.began >= 5 else self.pause, why
        self.up, self.epoch, self.again, self.handles, self.out, self.turn = False, 0, now() + self.pause, {}, deque(), OrderedDict()
        log(f"link to {self.where[0]}: {why}")
    def hello(self):
        """The next epoch, over a new connection, since 0MQ gives one up for good whose key was refused."""
        hang_up(self.takes)
        self.socket = dial(zmq.DEALER, *self.where, sndhwm=2, rcvhwm=2, sndbuf=32768, rcvbuf=32768)
        self.takes, self.epoch, self.began, self.again = {self.socket: self.take}, next(epochs), now(), now() + max(3, self.pause)
        self.nr_sent, self.nr_received, self.confirmed, self.unconfirmed, self.pings, self.silence = 0, 0, 0, 0, set(), 0
        self.pause, self.out = min(max(0.25, 2 * self.pause), 8), deque([frame(
            HELLO, version_min=1, version_max=1, instance=me.id, incarnation=me.incarnation, name="echo.py", reason=self.why[:255],
            stanza_bytes_max=STANZA_MAX, stream_window_bytes=WINDOW, unacked_stanzas_max=UNACKED_MAX, unacked_bytes_max=2**30,
            streams_max=STREAMS_MAX)])
    def tick(self):
        if now() >= self.again and not self.up:
            self.hello()
        elif now() >= self.again:
            self.again, self.silence = now() + 1, self.silence + 1
            if self.silence > 15:
                self.end("silence")
            elif self.silence > 5 or self.unconfirmed > self.confirmed:
                self.pings.add(0)
    def has_output(self):
        return self.epoch and (self.pings or self.out or self.turn)
    def flush(self):
        """Batches for as long as 0MQ takes them: PING, the other frames, then DATA, a chunk of each stream in turn [6, 7]."""
        while self.has_output() and self.socket.events & zmq.POLLOUT:
            batch = pings = b"".join(frame(PING, flags=f, sent=self.nr_sent + 1, received=self.nr_received) for f in self.pings)
            self.pings = set()
            while self.out and len(batch) + len(self.out[0]) <= BATCH_MAX - BATCH.size:
                batch += self.out.popleft()
            while self.turn and len(batch) + FRAME.size + PIECE <= BATCH_MAX - BATCH.size:
                stream, _ = self.turn.popitem(last=False)
                chunk = stream.chunk() if self.handles.get(stream.handle) is stream else b""
                batch += chunk
                if chunk:
                    self.turn[stream] = None
            if batch:
                self.nr_sent += 1
                self.unconfirmed = self.nr_sent if batch != pings else self.unconfirmed
                self.socket.send(BATCH.pack(1, 0, 0, self.epoch, self.nr_sent) + batch, zmq.NOBLOCK)
    def take(self, batch):
        version, flags, reserved, epoch, number = BATCH.unpack_from(batch)
        if epoch != self.epoch:
            return
        must(number == self.nr_received + 1, "a gap in the batch numbers" if number else "a RESET")
        must(version == 1 and not flags & 15 and not reserved, "a batch header")
        self.nr_received, self.silence = number, 0
        for kind, flags, handle, sequence, body in frames(batch):
            try:
                self.act(kind, flags, handle, sequence, body)
            except BROKEN as e:
                if not self.handles.get(handle) or kind != DATA and not isinstance(e, Breach):
                    raise
                self.handles[handle].close("policy-violation", str(e))
    def act(self, kind, flags, handle, sequence, body):
        stream, p = self.handles.get(handle), Properties(b"" if kind == DATA else body)
        if p.get("refused"):
            self.pause = 10
            raise Broken(f"refused: {p.text('refused')}")
        must(self.up != (kind == WELCOME), f"frame {kind} out of place")
        if kind == WELCOME:
            self.up, self.again, self.confirmed, self.owed = True, now() + 1, 1, int.from_bytes(p.get("streams-held", b""), "big")
            self.unacked_max, self.window = p.number("unacked-stanzas-max"), p.number("stream-window-bytes")
        elif kind == PING:
            must(p.number("sent") == self.nr_received and self.confirmed <= p.number("received") <= self.nr_sent, "positions of PING")
            self.confirmed = p.number("received")
            if not flags & ANSWER:
                self.pings.add(ANSWER)
        elif kind in (OPEN, REATTACH, RESUME):
            self.owed -= kind == REATTACH
            must(handle not in self.handles and handle % 2 == 0 < handle and self.owed >= 0, f"frame {kind} that is not due")
            refusal = {OPEN: self.open, REATTACH: self.reattach, RESUME: self.resume}[kind](handle, p, streams.get(p["stream-id"]))
            if refusal:
                self.out.append(frame(REFUSE, handle, **refusal))
        elif kind == CLOSE or kind == DETACH and handle in self.handles:
            must(kind == CLOSE or not stream or stream.resumes, "DETACH of what cannot be resumed", Breach)
            self.handles.pop(handle, None)
            if stream:
                self.out.append(frame(kind, handle))
                stream.where, stream.lost = None, now()
                if kind == CLOSE:
                    del streams[stream.id]
        elif stream:
            stream.act(kind, flags, sequence, body)
        else:
            must(handle in self.handles, f"frame {kind} for no stream")
        if kind in (WELCOME, REATTACH) and not self.owed:  # what still waits for this gateway has ended there [10]
            for s in streams.values():
                s.where = None if s.where == self.where and s.lost else s.where
    def open(self, handle, p, _):
        if p.number("kind") != 1:
            return {"condition": "feature-not-implemented", "type": "cancel"}
        if len(streams) >= STREAMS_MAX:
            return {"condition": "resource-constraint", "type": "wait"}
        jids = [p.text("bare-jid") + "/" + resource for resource in (p.text("resource"), secrets.token_hex(8)) if resource]
        stream = streams[p["stream-id"]] = Stream(p, next(jid for jid in jids if jid not in [s.jid for s in streams.values()]))
        stream.attach(self, handle, 0, self.window)
        stream.tell(ACCEPT, full_jid=stream.jid)
    def reattach(self, handle, p, s):
        if not s or s.where != self.where or not s.lost or s.generation != p.number("generation"):
            return {"condition": "conflict" if s else "remote-connection-failed", "stream_error": b"\1"}
        s.attach(self, handle, near(p.number("last-received"), s.acked), p.number("credit"))
        s.acknowledged(near(p.number("last-handled"), s.acked))
        s.attached()
    def resume(self, handle, p, s):
        if not s or not s.resumes or s.user != p["bare-jid"]:
            return {"condition": "item-not-found", "type": "cancel"}
        last = near(p.number("h") + s.bases["base_to_gateway"], s.acked)
        if last > s.sent:
            return {"condition": "undefined-condition", "text": "handled-count-too-high", "stream_error": b"\1",
                    "h": s.handled() - s.bases["base_to_service"], "sent_h": s.sent - s.bases["base_to_gateway"]}
        if not s.lost:  # the last one to resume wins
            s.close("conflict")
        s.acknowledged(last)
        s.unacked, s.generation, streams[s.id] = deque((c, n, 0) for c, n, _ in s.unacked), s.generation + 1, s  # all it sent is handled
        s.attach(self, handle, s.acked, self.window)
        s.attached(full_jid=s.jid, last_acked=s.acked)

class Registry:
    """Our registration at one registry, and the gateways that it tells of: {(endpoint, key, owner): version} [14-19]."""
    def __init__(self, endpoint, key):
        self.where, self.takes, self.gateways, self.keys = (endpoint, key), {}, {}, (-1, "")
        self.begin()
    def begin(self):
        """All anew; what the SUB receives waits until the snapshot is here [17]."""
        (endpoint, key), self.heard, self.asked, self.again, self.found = self.where, now(), now(), now() + 1, {}
        host, port = endpoint.rsplit(":", 1)
        hang_up([*self.takes, self.updates] if self.takes else [])
        self.dealer = dial(zmq.DEALER, endpoint, key, sndhwm=0)
        self.updates = dial(zmq.SUB, f"{host}:{int(port) + 1}", key, subscribe=b"")
        self.takes = {self.dealer: self.take}
        self.announce(0)
        self.send(SNAPSHOT)
    def send(self, kind, flags=0, /, **what):
        self.dealer.send(BATCH.pack(1, 0, 0, 0, 0) + frame(kind, flags=flags, **what), zmq.NOBLOCK)
    def announce(self, flags):
        self.noted = set()
        for domain in me.domain:
            self.send(ENTRY, flags, kind=2, owner=me.id, incarnation=me.incarnation, version=me.version, key=me.public, name=domain,
                      lease_ms=10000, types=1, policy="round-robin", failover=me.failover, weight=1)
    def end(self, why):
        log(f"{self.where[0]}: {why}")  # what is broken is dropped from there on, without more [15]
    def tick(self):
        if now() - self.heard > 4:
            self.begin()
        elif now() >= self.again:  # more often than every 3 s: a connection that was lost has 2 s to speak again [16]
            self.again = now() + 1
            self.send(RENEW, owner=me.id, incarnation=me.incarnation)
            if self.updates not in self.takes and now() - self.asked > 3:
                self.asked = now()
                self.send(SNAPSHOT)
    def update(self, batch):
        (epoch, number), self.heard = BATCH.unpack_from(batch)[3:], now()
        if epoch != self.epoch or number > self.number + (batch[BATCH.size] != BEAT):
            self.begin()
        elif number > self.number:
            self.number = number
            self.take(batch)
    def take(self, batch):
        self.heard = now()
        for kind, flags, _, _, body in frames(batch):
            p, self.asked = Properties(body), now() if kind in (ENTRY, KEYS) else self.asked
            if kind == ENTRY and p.number("kind") == 1:
                entry, version = (p.text("name"), p.text("key"), p["owner"]), (p.number("incarnation"), p.number("version"))
                self.found.pop(entry, None)
                if not flags & GONE:
                    self.found[entry] = version
                elif not flags & EXPIRED:
                    withdrawn[entry] = version
            elif kind == KEYS and self.updates not in self.takes:  # the first of the snapshot
                text, self.found = self.keys[1] if p.number("part") else "", self.found if p.number("part") else {}
                self.keys = p.number("serial"), text + p.text("text")
            elif kind == SNAPSHOT_END:
                self.epoch, self.number, self.gateways = BATCH.unpack_from(batch)[3], p.number("number"), self.found
                self.takes[self.updates] = self.update
            elif kind == NOTED and (p.number("incarnation"), p.number("version")) <= (me.incarnation, me.version):
                if not p.get("refused"):
                    self.noted.add(p["name"])
                log(f"{p.text('name')} is announced {p.text('refused')}")
            elif kind in (NOTED, KEYS) or kind == RENEWED and p.number("count") != len(self.noted):
                me.version = max(me.version, p.number("version") + 1) if kind == NOTED else me.version
                return self.begin()

def dial(kind, endpoint, key, **options):
    socket = me.context.socket(kind)
    options.update(linger=0, ipv6=1, maxmsgsize=BATCH_MAX + 33)  # CURVE adds 33 [1]
    options.update(curve_publickey=me.public, curve_secretkey=me.secret, curve_serverkey=key.encode())
    for name, value in options.items():
        setattr(socket, name, value)
    socket.connect(endpoint)
    return socket

def hang_up(sockets):
    for socket in sockets:
        socket.close()

def tick():
    """What time brings to links, streams and registries."""
    gateways = {words[0] for words in map(str.split, max(r.keys for r in me.registries)[1].splitlines()) if words[1:2] == ["gateway"]}
    told = {entry[:2] for r in me.registries for entry, version in r.gateways.items() if version > withdrawn.get(entry, (0, 0))}
    wanted = {where for where in told if where[1] in gateways}
    links.update({where: Link(where) for where in wanted - set(links)})
    for link in list(links.values()):
        link.wanted_at = now() if link.up or link.where in wanted else link.wanted_at
        if now() - link.wanted_at > 30:
            hang_up(links.pop(link.where).takes)
        else:
            link.tick()
    for s in list(streams.values()):
        if not s.lost:
            s.settle()
        elif now() - s.lost >= (15 if s.where else s.resumes):  # waiting, and then detached [10]
            if not s.where:
                del streams[s.id]
            s.where = None
    for registry in me.registries:
        registry.tick()

def run():
    asked, due, told = [], now(), False
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.append(True))
    while not asked:
        if now() >= due:
            due = now() + 0.25
            tick()
        for link in links.values():
            link.flush()
        if not told and any(link.up for link in links.values()):
            print("ready", flush=True)
            told = True
        takes = {socket: (part, take) for part in (*links.values(), *me.registries) for socket, take in part.takes.items()}
        for socket in zmq.select(list(takes), [link.socket for link in links.values() if link.has_output()], [], 0.25)[0]:
            part, take = takes[socket]
            try:
                if not socket.closed:  # by what was received from another one
                    take(socket.recv())
            except BROKEN as e:
                part.end(f"{type(e).__name__}: {e}")
    me.version += 1
    for registry in me.registries:
        registry.announce(GONE)
    for stream in [s for s in streams.values() if not s.lost]:
        stream.close("system-shutdown")
    for link in links.values():
        link.flush()
    me.context.destroy(linger=1000)

if __name__ == "__main__":
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--domain", action="append", required=True)
    flags.add_argument("--state-dir", default="/var/lib/ambrosia" if os.geteuid() == 0 else
                       os.path.join(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"), "ambrosia"))
    flags.add_argument("--registry", metavar="ENDPOINT=KEY[,...]")
    flags.add_argument("--failover", choices=("close", "reopen"), default="close", help="of clients without XEP-0198, if this process dies")
    flags.add_argument("--key", metavar="FILE", help="CURVE key pair, readable by its owner only")
    me = flags.parse_args()
    me.id, me.incarnation, me.version, me.context = secrets.token_bytes(16), int(time.time() * 1000), 1, zmq.Context()
    try:
        path = me.key or os.path.join(me.state_dir, "service.key")
        if os.stat(path).st_mode & 0o077:
            raise OSError(f"others may read {path}: chmod 600 it")
        me.public, me.secret = [word.encode() for word in open(path).read().split() if len(word) == 40][:2]
        registries = (me.registry or open(os.path.join(me.state_dir, "registry")).read()).strip().split(",")
    except (OSError, ValueError) as e:
        sys.exit(f"echo.py: no key or registry ({e}): start a gateway here, or give --registry and --key")
    me.registries = [Registry(*one.split("=", 1)) for one in registries]
    run()
