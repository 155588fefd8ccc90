#!/usr/bin/env python3
"""The echo service for clients in Python, without the C library: written from svcproto/PROTOCOL.md alone, whose sections stand in
[brackets]. Links and registries are in svcproto.py beside this; here are the streams. It stores nothing: a client's stream outlives
links, gateways and the client's connections, but not this process. A message is acknowledged once its echo is, or a second later: the
client's own acknowledgements may stand behind what it sends next [7]. Who reads too little for an echo hears so in its place."""
import argparse, collections, itertools, os, re, secrets, signal, sys, time
import zmq
from svcproto import *
ATTRIBUTE = rb"""\s+([^\s=]+)\s*=\s*("[^"]*"|'[^']*')"""
HEAD = re.compile(rb"<([^\s/>]+)((?:" + ATTRIBUTE + rb")*)")

def answer(xml, refusal):
    """What goes back: a message, to and from exchanged; an error for an iq, and for what the gateway refuses; or nothing."""
    head = HEAD.match(xml)
    attributes = {{b"to": b"from", b"from": b"to"}.get(k, k): v for k, v in re.findall(ATTRIBUTE, head[2])}
    name, tail, kind = head[1], xml[head.end():], attributes.get(b"type", b"")[1:-1]
    if kind in (b"error", b"result") or name == b"presence" and not refusal:
        return None
    if refusal or name == b"iq":
        why, attributes[b"type"] = refusal or {"type": b"cancel", "condition": b"service-unavailable"}, b"'error'"
        tail = b"><error type='%(type)s'><%(condition)s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></" % {
            k.encode(): v for k, v in why.items()} + name + b">"
    return b"<" + name + b"".join(b" %s=%s" % pair for pair in attributes.items()) + tail

class Stream:
    """A client's session. `unacked`: our stanzas that the client may not have, each with the number of the one that it answers. `until`:
    when a stream that is not attached ends; `link` is then the one whose REATTACH it waits for, or None: its client may resume it."""
    def __init__(self, service, link, handle, p, jid):
        self.service, self.id, self.user, self.jid, self.generation = service, p["stream-id"], p["bare-jid"], jid, 1
        self.bases, self.enable, self.unacked = {}, None, collections.deque()
        self.received = self.old = self.floor = self.told = self.acked = 0
        self.attach(link, handle, 1, link.window)
    def attach(self, link, handle, following, credit):
        self.link, self.handle, self.next, self.credit, self.until = link, handle, following, credit, None
        self.offset, self.part, self.grant = 0, None, WINDOW
        link.handles[handle], link.turn[self] = self, None
    def tell(self, kind, /, **what): self.link.out.append(frame(kind, handle=self.handle, **what))
    def handled(self): return next(((n - 1) & M for _, n in self.unacked if n is not None and ahead(n, self.floor) > 0), self.received)
    def sent(self): return (self.next - 1) & M  # the last stanza that went out whole
    def acknowledged(self, number):
        if ahead(number, self.sent()) > 0:
            raise Breach("acknowledged what was not sent")
        while ahead(number, self.acked) > 0:
            self.unacked.popleft()
            self.acked = (self.acked + 1) & M
    def chunk(self):
        """The next frame of DATA, if there is one and credit for it [7]."""
        at = ahead(self.next, self.acked) - 1
        rest = self.unacked[at][0][self.offset:] if at < len(self.unacked) else b""
        if not rest or self.credit < min(len(rest), 4096, self.link.window // 4):
            return b""
        body, number = rest[:min(CHUNK, self.credit)], self.next
        flags, self.credit = (self.offset == 0) + 2 * (body == rest), self.credit - len(body)
        self.next, self.offset = ((self.next + 1) & M, 0) if body == rest else (self.next, self.offset + len(body))
        return frame(DATA, body, self.handle, number, flags)
    def act(self, kind, flags, number, body, p):
        self.link.turn[self] = None
        if kind == DATA:
            self.data(flags, number, body)
        elif kind == CREDIT:
            self.credit += number
        elif kind == ACK:
            self.acknowledged(number)
        elif kind == ENABLE and not self.bases:
            self.enable = p
        else:
            raise Breach(f"frame {kind}")
        if self.enable and ahead(self.received, self.enable.number("base-to-service")) >= 0:  # the stanza that it names is here [10]
            seconds, base = min(self.enable.number("resume-seconds"), RESUME_MAX), self.enable.number("base-to-service")
            self.bases, self.enable = {"base_to_gateway": self.next if self.offset else self.sent(), "resume_seconds": seconds}, None
            self.tell(ENABLED, **self.bases)
            self.bases["base_to_service"] = base
    def data(self, flags, number, body):
        first, skip, self.grant = flags & 1, 0, self.grant - len(body)
        due = ahead(number, self.received) == 1 and bool(first) == (self.part is None) and (first or not flags & 12)
        if not due or not body or self.grant < 0:
            raise Breach("DATA that is not due")
        if first:
            skip = 2 + int.from_bytes(body[:2], "big") if flags & 4 else 0
            full = {"type": b"wait", "condition": b"resource-constraint"} if len(self.unacked) >= ECHOES_MAX else {}
            self.refusal, self.part = Props(body[2:skip]) or full, bytearray()
        self.part += body[skip:]
        if len(self.part) > STANZA_MAX or ahead(number, self.handled()) > self.link.unacked_max or len(self.unacked) >= UNACKED_MAX:
            raise Breach("more than may be")
        if self.grant <= WINDOW * 3 // 4:
            self.tell(CREDIT, sequence=WINDOW - self.grant)
            self.grant = WINDOW
        if flags & 2:
            back, self.part, self.received = answer(bytes(self.part), self.refusal), None, number
            self.unacked.extend([(back, None if self.refusal else number)] if back else [])  # an error is not waited for
    def attached(self, **more):
        self.told = self.handled()
        self.tell(ATTACHED, generation=self.generation, last_received=self.received, last_handled=self.told, credit=WINDOW,
                  **self.bases, **more)
    def detach(self, keep=True):
        """The client has gone. Its echoes are kept for itself: what it sent is as good as handled, and its return need not wait [10]."""
        self.link.turn.pop(self, None) if self.link else None
        self.until, self.floor, self.link = now() + self.bases.get("resume_seconds", 0), self.received, None
        if not keep or not self.bases.get("resume_seconds"):
            del self.service.streams[self.id]

class Service(Member):
    def __init__(self, domains, failover, public, secret, registries):
        self.id, self.incarnation, self.version, self.domains = secrets.token_bytes(16), int(time.time() * 1000), 1, domains
        self.failover = failover
        self.public, self.secret, self.context, self.poller = public, secret, zmq.Context(), zmq.Poller()
        self.epochs, self.streams, self.links, self.gone = itertools.count(1), {}, {}, {}
        self.serial, self.keys, self.is_ready, self.stopping, self.aged = -1, set(), False, None, now()
        self.registries = [Registry(self, *one.split("=", 1)) for one in registries]
    def ready(self):
        self.is_ready = self.is_ready or print("ready", flush=True) or True
    def open(self, link, handle, p):
        if p.number("kind") != 1:
            return link.out.append(frame(REFUSE, handle=handle, condition="feature-not-implemented", type="cancel"))
        jid = p.text("bare-jid") + "/" + (p.text("resource") or secrets.token_hex(8))
        if any(s.jid == jid for s in self.streams.values()):
            jid = p.text("bare-jid") + "/" + secrets.token_hex(8)
        stream = self.streams[p["stream-id"]] = Stream(self, link, handle, p, jid)
        stream.tell(ACCEPT, full_jid=jid)
    def reattach(self, link, handle, p):
        s = self.streams.get(p["stream-id"])
        if not s or s.link is not link or s.until is None or s.generation != p.number("generation"):
            condition = "conflict" if s else "remote-connection-failed"
            return link.out.append(frame(REFUSE, handle=handle, condition=condition, stream_error=b"\1"))
        s.attach(link, handle, (p.number("last-received") + 1) & M, p.number("credit"))
        s.acknowledged(p.number("last-handled"))
        s.attached()
    def resume(self, link, handle, p):
        s = self.streams.get(p["stream-id"])
        if not s or not s.bases.get("resume_seconds") or s.user != p["bare-jid"]:
            return link.out.append(frame(REFUSE, handle=handle, condition="item-not-found", type="cancel"))
        last = (p.number("h") + s.bases["base_to_gateway"]) & M
        if ahead(last, s.sent()) > 0:
            h, sent = (s.handled() - s.bases["base_to_service"]) & M, (s.sent() - s.bases["base_to_gateway"]) & M
            return link.out.append(frame(REFUSE, handle=handle, condition="undefined-condition", text="handled-count-too-high",
                                         stream_error=b"\1", h=h, sent_h=sent))
        if s.link and s.until is None:  # another gateway has it
            s.tell(CLOSE, condition="conflict")
            s.link.handles[s.handle], _ = None, s.link.turn.pop(s, None)
        s.acknowledged(last)
        s.generation, s.floor = s.generation + 1, s.received
        s.attach(link, handle, (s.acked + 1) & M, link.window)
        s.attached(full_jid=s.jid, last_acked=s.acked)
    def tick(self):
        wanted = {id[:2] for r in self.registries for id, version in r.gateways.items()
                  if version > self.gone.get(id, (0, 0)) and id[1] in self.keys}
        self.links.update({where: Link(self, *where) for where in wanted - set(self.links)})
        for where in [w for w, link in self.links.items() if w not in wanted and link.state != "up" and now() - link.heard > 30]:
            self.hang_up(self.links.pop(where).socket)
        for s in [s for s in self.streams.values() if s.until is not None and now() >= s.until]: s.detach(s.link)
        if now() - self.aged >= 1:  # what had come a second ago counts as handled [7]
            self.aged = now()
            for s in self.streams.values():
                s.floor, s.old = s.old if ahead(s.old, s.floor) > 0 else s.floor, s.received
                s.link and s.until is None and s.link.turn.update({s: None})
        for part in [*self.links.values(), *self.registries]: part.tick()
    def stop(self, *_):
        """Withdraws, and ends the sessions."""
        self.stopping, self.version = now(), self.version + 1
        for r in self.registries:
            r.announce(1)
        for s in [s for s in self.streams.values() if s.until is None]:
            s.link.close(s.handle, "system-shutdown")
    def is_done(self):
        """All has been withdrawn and closed, or that takes too long."""
        left = any(link.handles for link in self.links.values()) or any(len(r.noted) < len(self.domains) for r in self.registries)
        return self.stopping and (not left or now() - self.stopping > 3)
    def run(self):
        asked = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: asked.append(True))
        while not self.is_done():
            if asked and not self.stopping:
                self.stop()
            self.tick()
            for link in self.links.values():
                link.flush()
                self.poller.modify(link.socket, zmq.POLLIN | (zmq.POLLOUT if link.out or link.turn or link.pongs else 0))
            self.poller.poll(250)  # the clock's tick: what the specification times needs no finer one
            for part in [*self.links.values(), *self.registries]:
                part.read()

flags = argparse.ArgumentParser(description=__doc__)
flags.add_argument("--domain", action="append", required=True)
flags.add_argument("--state-dir", default="/var/lib/ambrosia" if os.geteuid() == 0 else
                   os.path.join(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"), "ambrosia"))
flags.add_argument("--registry", metavar="ENDPOINT=KEY[,...]")
flags.add_argument("--failover", choices=("close", "reopen"), default="close", help="when this process dies, its clients without XEP-0198 [10]")
flags.add_argument("--key", metavar="FILE", help="CURVE key pair, readable by its owner only")
o = flags.parse_args()
try:
    path = o.key or os.path.join(o.state_dir, "service.key")
    if os.stat(path).st_mode & 0o077:
        raise OSError(f"others may read {path}: chmod 600 it")
    public, secret = [w.encode() for w in open(path).read().split() if len(w) == 40][:2]
    registries = (o.registry or open(os.path.join(o.state_dir, "registry")).read()).strip().split(",")
except (OSError, ValueError) as e:
    sys.exit(f"echo.py: no key or registry ({e}): start a gateway here, or give --registry and --key")
Service(o.domain, o.failover, public, secret, registries).run()
