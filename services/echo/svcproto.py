"""svcproto for the echo service in Python: batches, frames and properties, the link to a gateway worker, the member of a registry.
Written from PROTOCOL.md alone, whose sections stand in [brackets]. Of streams a link knows that they have act(), chunk(), tell(),
handled(), detach(), told and until."""
import collections
import struct
import sys
import time

import zmq

BATCH, FRAME, M, now = struct.Struct(">BBHIQ"), struct.Struct(">BBHIII"), 2**32 - 1, time.monotonic
(HELLO, WELCOME, RESET, PING), (OPEN, ACCEPT, REFUSE, DATA, CREDIT, ACK, CLOSE) = range(1, 5), range(0x10, 0x17)
ENABLE, ENABLED, DETACH, REATTACH, RESUME, ATTACHED = range(0x20, 0x26)
ENTRY, NOTED, RENEW, RENEWED, SNAPSHOT, SNAPSHOT_END, KEYS, BEAT = range(0x40, 0x48)
CRITICAL, U64 = {PING: 1, DATA: 15, ENTRY: 3}, ("incarnation", "version", "sent", "received")
WINDOW, STANZA_MAX, UNACKED_MAX, ECHOES_MAX, RESUME_MAX, CHUNK, BATCH_MAX = 32768, 2**24, 8192, 256, 600, 16384, 65536


class Broken(Exception):
    """The peer broke the rules of the link, and the epoch is over [8]."""


class Breach(Exception):
    """It broke those of one stream, which ends [8]."""



def log(text): print("echo.py:", text.encode("unicode_escape").decode(), file=sys.stderr, flush=True)
def ahead(a, b): return (a - b + 2**31) % 2**32 - 2**31  # serial arithmetic [7]


def frame(kind, /, body=b"", handle=0, sequence=0, flags=0, **props):
    for name, v in props.items():
        v = v.encode() if isinstance(v, str) else v.to_bytes(8 if name in U64 else 4, "big") if isinstance(v, int) else v
        body += struct.pack("B", len(name)) + name.replace("_", "-").encode() + struct.pack(">I", len(v)) + v
    return FRAME.pack(kind, flags, 0, len(body), handle, sequence) + body

def frames(batch):
    at = BATCH.size
    while at < len(batch):
        kind, flags, reserved, length, handle, sequence = FRAME.unpack_from(batch, at)
        at += FRAME.size + length
        if flags & 15 & ~CRITICAL.get(kind, 0) or reserved or length > CHUNK or at > len(batch):
            raise Broken(f"frame {kind}")
        if kind < 0x80:
            yield kind, flags, handle, sequence, batch[at - length:at]

class Props(dict):
    def __init__(self, body):
        at = 0
        while at < len(body):
            name, at = body[at + 1:at + 1 + body[at]].decode(), at + 5 + body[at]
            end = at + struct.unpack_from(">I", body, at - 4)[0]
            if name in self or name[:1] == "!" or end > len(body):
                raise Broken("property " + name)
            self[name], at = body[at:end], end
    def number(self, name): return int.from_bytes(self[name], "big")
    def text(self, name): return self.get(name, b"").decode()


class Link:
    """A DEALER to one gateway worker, and its epochs [6]. handles: streams, or None for one that waits for the answer to our CLOSE."""
    def __init__(self, service, endpoint, key):
        self.service, self.endpoint, self.peer, self.state, self.why = service, endpoint, None, "down", ""
        self.pause, self.patience = 0.25, 3   # seconds: until the next HELLO, and for its answer
        self.socket = service.dial(zmq.DEALER, endpoint, key, sndhwm=2, rcvhwm=2, sndbuf=32768, rcvbuf=32768, maxmsgsize=BATCH_MAX)
        self.handles, self.out, self.turn, self.again, self.epoch, self.heard = {}, collections.deque(), {}, 0, None, now()

    def end(self, why):
        """The epoch is over. Streams wait for their REATTACH; the next epoch begins at once, or a little later if this one was short."""
        log(f"link to {self.endpoint}: {why}")
        for stream in filter(None, self.handles.values()):
            stream.until = now() + 15
        lasted, self.handles, self.turn = self.state == "up" and now() - self.began >= 5, {}, {}
        self.out, self.state, self.why, self.again = collections.deque(), "down", why, now() + (0 if lasted else self.pause)
        self.pause = 0.25 if lasted else min(2 * self.pause, 8)

    def tick(self):
        if self.state == "down" and now() >= self.again:
            self.state, self.epoch, self.began, self.pinged, self.said = "hello", next(self.service.epochs), now(), now(), now()
            self.nr_sent = self.nr_received = self.confirmed = self.unconfirmed = self.unanswered = self.pongs = 0
            self.heard, self.again, self.patience = now(), now() + self.patience, min(2 * self.patience, 8)
            self.out.append(frame(HELLO, version_min=1, version_max=1, instance=self.service.id, incarnation=self.service.incarnation,
                                  name="echo.py", stanza_bytes_max=STANZA_MAX, stream_window_bytes=WINDOW, unacked_stanzas_max=UNACKED_MAX,
                                  unacked_bytes_max=2**30, streams_max=2**20, reason=self.why[:255]))
        elif self.state == "hello" and now() >= self.again or self.state == "up" and now() - self.heard >= 15 and self.unanswered >= 3:
            self.end("silence")
        elif self.state == "up" and now() - self.pinged >= 1 and (
                self.unconfirmed > self.confirmed and now() - self.said >= 1 or now() - self.heard >= 5):
            self.pinged, self.unanswered, self.pongs = now(), self.unanswered + 1, self.pongs | 1

    def flush(self):
        """Batches for as long as 0MQ takes them: PING, the other frames, then DATA, a chunk of each stream in turn [7]."""
        while self.state != "down" and (self.out or self.turn or self.pongs) and self.socket.events & zmq.POLLOUT:
            for stream in self.turn:
                if stream.told != stream.handled():
                    stream.told = stream.handled()
                    stream.tell(ACK, sequence=stream.told)
            batch = b"".join(frame(PING, flags=a, sent=self.nr_sent + 1, received=self.nr_received) for a in (0, 1) if self.pongs & 1 << a)
            self.pongs, nr_pings = 0, len(batch)
            while self.out and len(batch) + len(self.out[0]) <= BATCH_MAX - BATCH.size:
                batch += self.out.popleft()
            while self.turn and len(batch) + FRAME.size + CHUNK <= BATCH_MAX - BATCH.size:
                stream = next(iter(self.turn))
                del self.turn[stream]
                chunk = stream.chunk()
                batch, _ = batch + chunk, chunk and self.turn.update({stream: None})
            if len(batch) > nr_pings:
                self.unconfirmed, self.said = self.nr_sent + 1, now()
            if batch:
                self.nr_sent += 1
                self.socket.send(BATCH.pack(1, 0, 0, self.epoch, self.nr_sent) + batch, zmq.NOBLOCK)

    def read(self):
        while self.socket.events & zmq.POLLIN:
            self.receive(self.socket.recv())

    def receive(self, batch):
        try:
            version, flags, reserved, epoch, number = BATCH.unpack_from(batch)
            if epoch != self.epoch or self.state == "down":
                return
            if number != self.nr_received + 1 or version != 1 or flags & 15 or reserved:
                raise Broken("a gap in the batch numbers" if number else "a RESET")
            self.heard, self.unanswered, self.nr_received = now(), 0, number
            for one in frames(batch):
                try:
                    self.act(*one)
                except Breach as e:
                    self.close(one[2], "policy-violation", str(e))
        except (Broken, KeyError, ValueError, struct.error) as e:
            self.end(f"{type(e).__name__}: {e}")

    def close(self, handle, condition, text=""):
        stream, self.handles[handle] = self.handles[handle], None
        stream.tell(CLOSE, condition=condition, text=text)
        stream.detach(False)

    def act(self, kind, flags, handle, sequence, body):
        stream, p = self.handles.get(handle), Props(b"" if kind == DATA else body)
        if (self.state == "hello") != (kind == WELCOME):
            raise Broken(f"frame {kind} out of place")
        if p.get("refused"):
            self.pause = 10
            raise Broken(f"refused: {p.text('refused')}")
        if kind == WELCOME:
            again, self.peer = self.peer == (p["instance"], p["incarnation"]), (p["instance"], p["incarnation"])
            self.state, self.patience, self.confirmed = "up", 3, 1
            self.window, self.unacked_max = p.number("stream-window-bytes"), p.number("unacked-stanzas-max")
            self.owed = p.number("streams-held") if again and "streams-held" in p else 0
            self.service.ready()
        elif kind == PING:
            if p.number("sent") != self.nr_received or not self.confirmed <= p.number("received") <= self.nr_sent:
                raise Broken("positions of PING")
            self.confirmed, self.pongs = p.number("received"), self.pongs | (0 if flags & 1 else 2)
        elif kind in (OPEN, REATTACH, RESUME):
            if handle in self.handles or handle % 2 or not handle:
                raise Broken("a handle that is in use or odd")
            self.owed -= kind == REATTACH
            {OPEN: self.service.open, REATTACH: self.service.reattach, RESUME: self.service.resume}[kind](self, handle, p)
        elif kind in (CLOSE, DETACH):
            if self.handles.pop(handle, None):
                self.out.append(frame(kind, handle=handle))
                stream.detach(kind == DETACH)
        elif stream:
            stream.act(kind, flags, sequence, body, p)
        elif handle not in self.handles:
            raise Broken(f"frame {kind} for no stream")
        if kind in (WELCOME, REATTACH) and self.owed <= 0:  # what still waits here has ended at the gateway [10]
            for stream in [s for s in self.service.streams.values() if s.link is self and s.until is not None]:
                stream.detach()


class Registry:
    """Our announcement at one registry, and the gateways that it tells of: {(endpoint, key, owner): version} [14-18]."""
    def __init__(self, service, endpoint, key):
        self.service, self.endpoint, self.key, self.gateways, self.request, self.sockets = service, endpoint, key, {}, 0, []
        self.open()

    def open(self):
        (host, port), s = self.endpoint.rsplit(":", 1), self.service
        s.hang_up(*self.sockets)
        self.sockets = [s.dial(zmq.SUB, f"{host}:{int(port) + 1}", self.key, subscribe=b""), s.dial(zmq.DEALER, self.endpoint, self.key)]
        self.heard = self.renewed = now()
        self.snapshot()
        self.announce()

    def send(self, kind, flags=0, /, **props):
        if self.sockets[1].events & zmq.POLLOUT:
            self.sockets[1].send(BATCH.pack(1, 0, 0, 0, self.request) + frame(kind, flags=flags, **props), zmq.NOBLOCK)

    def snapshot(self):
        self.request, self.late, self.living, self.asked, self.texts = self.request + 1, [], {}, now(), {}
        self.send(SNAPSHOT)

    def announce(self, flags=0):
        s, self.noted = self.service, set()
        for domain in s.domains:
            self.send(ENTRY, flags, kind=2, owner=s.id, incarnation=s.incarnation, version=s.version, key=s.public, name=domain,
                      lease_ms=10000, types=1, policy="round-robin", failover=s.failover, weight=1)

    def tick(self):
        if now() - self.heard > 10:
            self.open()
        elif self.late is not None and now() - self.asked > 3:
            self.snapshot()
        elif now() - self.renewed >= 3:
            self.renewed = now()
            self.send(RENEW, owner=self.service.id, incarnation=self.service.incarnation)

    def read(self):
        """What is broken is dropped from there on, without more [15]."""
        for socket, take in zip(list(self.sockets), (self.update, self.reply)):
            while socket.events & zmq.POLLIN:
                try:
                    take(socket.recv())
                except (Broken, KeyError, ValueError, IndexError, struct.error) as e:
                    log(f"registry {self.endpoint}: {type(e).__name__} {e}")

    def update(self, batch):
        """An update acts when its turn comes; until the snapshot is here, it waits."""
        epoch, number = BATCH.unpack_from(batch)[3:]
        self.heard, beat = now(), batch[BATCH.size] == BEAT
        if self.late is not None:
            self.late.append(batch)
        elif epoch != self.epoch or number > self.number + (not beat):
            self.snapshot()
        elif number > self.number:
            self.number = number
            self.reply(batch)

    def reply(self, batch):
        s, (epoch, request) = self.service, BATCH.unpack_from(batch)[3:]
        for kind, flags, _, _, body in frames(batch):
            p = Props(body)
            if kind == ENTRY and p.number("kind") == 1:
                id, version = (p.text("name"), p.text("key"), p["owner"]), (p.number("incarnation"), p.number("version"))
                if flags & 1 and version >= self.gateways.get(id, version):
                    self.gateways.pop(id, None)
                    s.gone[id] = max(version, s.gone.get(id, version)) if not flags & 2 else s.gone.get(id, (0, 0))
                elif not flags & 1:
                    (self.living if self.late is not None else self.gateways)[id] = version
            elif kind == KEYS:
                self.texts[p.number("part")] = p.text("text")
                if len(self.texts) == p.number("parts"):
                    s.take_keys(p.number("serial"), "".join(self.texts[i] for i in sorted(self.texts)))
                    self.texts = {}
                    self.announce()
            elif kind == SNAPSHOT_END and request == self.request and self.late is not None:
                late, self.late, self.gateways, self.epoch, self.number = self.late, None, self.living, epoch, p.number("number")
                for batch in late:
                    self.update(batch)
            elif kind == NOTED and p["owner"] == s.id:
                if (p.number("incarnation"), p.number("version")) > (s.incarnation, s.version):
                    s.version = p.number("version") + 1
                    self.announce()
                else:
                    self.noted.add(p.text("name"))
                    log(f"{p.text('name')} is announced {p.text('refused')}")
            elif kind == RENEWED and p.number("count") != len(s.domains):
                self.announce()


class Member:
    """One process: its announcement, its keys and sockets, and the links that registries tell it to have [14-19]."""
    def dial(self, kind, endpoint, key, **options):
        socket = self.context.socket(kind)
        options.update(linger=0, ipv6=1, curve_publickey=self.public, curve_secretkey=self.secret, curve_serverkey=key.encode())
        for name, value in options.items():
            setattr(socket, name, value)
        socket.connect(endpoint)
        self.poller.register(socket, zmq.POLLIN)
        return socket

    def hang_up(self, *sockets):
        for socket in sockets:
            self.poller.unregister(socket)
            socket.close()

    def take_keys(self, serial, text):
        """authorized_keys [19]: who may be a gateway."""
        if serial >= self.serial:
            words = [line.split() for line in text.splitlines()]
            self.serial, self.keys = serial, {w[0] for w in words if w[1:2] == ["gateway"]}
