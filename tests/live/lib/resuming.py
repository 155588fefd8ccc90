"""Clients with stream management (XEP-0198) that exchange numbered messages in pairs, come back to whichever gateway is there when their connection ends, and know what
was acknowledged, what arrived, and what arrived twice."""
import asyncio
import random
import time
from dataclasses import dataclass

import slixmpp
from slixmpp.plugins.xep_0198.stanza import Resume

AGAIN_MS = (20, 200)      # between the end of a session's connection and the next one
RETRY_MS = (300, 800)     # after one that came to nothing
PATIENCE = 30             # seconds for a login or resumption
STATE = ("sm_id", "handled", "seq", "last_ack")
SID = "{urn:xmpp:sid:0}stanza-id"


@dataclass
class Arrival:
    """A message that came: its number, the id that its sender gave, the one that the service gave (XEP-0359), in which session and when; when it was acknowledged, if it was."""
    number: int
    id: str
    sid: str
    session: int
    at: float
    acked_at: float = None

    @property
    def what(self):
        return self.number, self.id


class Resuming:
    """A user of slixmpp with its stream management. Each connection is an object of its own, since slixmpp 1.8.3 goes on waiting in the next connection for the answer that
    the one before did not get. `where()` names a gateway's (address, port). `keep`: slixmpp forgets what was not acknowledged when it asks for resumption, so that it
    is neither sent again nor ever acknowledged; this keeps it, and what slixmpp had not begun to send when the connection ended."""

    def __init__(self, jid, password, ca, where, keep=True):
        self.jid, self.bare, self.password, self.ca, self.where, self.keep = jid, jid.split("/")[0], password, ca, where, keep
        self.peer = self.xmpp = self.sm = self.watchdog = None
        self.state, self.unacked = {}, []
        self.live, self.leaving = False, False
        self.sessions = self.resumed = 0                # how often a session began, and went on
        self.sent, self.acked, self.inbox = 0, set(), []  # numbers; what came, as Arrival
        self.unconfirmed = []                           # of these: not acknowledged yet
        self.given, self.untold = [], []                # bodies that slixmpp has and has not sent; that it threw away so
        self.ends = {}                                  # when a session's last connection ended, by the session's number
        self.again_told = 0
        self.strange = []                               # what came and should not
        self.gone_at, self.aways = time.monotonic(), []

    def enter(self):
        if self.leaving:
            return
        x = self.xmpp = slixmpp.ClientXMPP(self.jid, self.password, sasl_mech="PLAIN", plugin_config={"xep_0198": self.state})
        x.ca_certs = self.ca
        x.register_plugin("xep_0198")
        self.sm = x["xep_0198"]
        self.sm.unacked_queue.extend(self.unacked)
        self.sm.send_ack = lambda send_ack=self.sm.send_ack: (self.confirm(), send_ack())
        x.end_session_on_disconnect = not self.state.get("sm_id")
        if self.keep:
            x.del_filter("out_sync", self.sm._handle_outgoing)
            x.add_filter("out_sync", lambda stanza: self.keep_unacked(x, stanza))
        for event, handler in (("session_start", lambda _: x.send_presence()), ("sm_enabled", lambda _: self.on_start(x)),
                               ("session_resumed", lambda _: self.on_resumed(x)), ("message", self.on_message), ("message_error", self.on_message),
                               ("stanza_acked", self.on_acked), ("disconnected", lambda _: self.on_end(x)), ("connection_failed", lambda _: self.on_end(x))):
            x.add_event_handler(event, handler)
        self.watchdog = asyncio.get_event_loop().call_later(PATIENCE, lambda: self.on_end(x))
        x.connect(self.where(), force_starttls=True, disable_starttls=False)

    def keep_unacked(self, x, stanza):
        """What leaves a connection, and is counted by it. One that has ended goes on with its login when its time for an answer is over: nothing of that counts."""
        if x is not self.xmpp:
            return None
        if isinstance(stanza, slixmpp.Message):
            if x.transport is None:
                return None
            if stanza["body"] in self.given:
                self.given.remove(stanza["body"])
        if isinstance(stanza, Resume):
            self.confirm()
        kept = list(self.sm.unacked_queue) if isinstance(stanza, Resume) else []
        stanza = self.sm._handle_outgoing(stanza)
        self.sm.unacked_queue.extend(kept)
        return stanza

    def on_end(self, x):
        """Of this connection, or of the patience with it."""
        if x is not self.xmpp:
            return
        self.watchdog.cancel()
        self.state, self.unacked = {name: getattr(self.sm, name) for name in STATE}, list(self.sm.unacked_queue)
        if self.keep:
            self.untold, self.given = self.given + self.untold, []
        self.xmpp, was_live, self.live = None, self.live, False
        if was_live:
            self.gone_at = self.ends[self.sessions] = time.monotonic()
        x.connect = lambda *_: None   # wherever it was sent: what follows is ours to say
        x.cancel_connection_attempt()
        x.abort()
        if not self.leaving:
            asyncio.get_event_loop().call_later(random.uniform(*(AGAIN_MS if was_live else RETRY_MS)) / 1000, self.enter)

    def is_live(self):
        self.live = True
        self.watchdog.cancel()
        self.aways.append(time.monotonic() - self.gone_at)
        untold, self.untold = self.untold, []
        for body in untold:
            self.give(body)

    def give(self, body):
        self.given.append(body)
        self.xmpp.send_message(self.peer, body)

    def confirm(self):
        """What came is acknowledged now."""
        for arrival in self.unconfirmed:
            arrival.acked_at = time.monotonic()
        self.unconfirmed.clear()

    def on_start(self, x):
        """A new session, whose stanzas are counted from here: slixmpp says that it started before. It knows nothing of the one before it: what was not acknowledged is told
        again, as a user would."""
        if x is not self.xmpp:
            return
        self.sessions += 1
        self.unconfirmed.clear()
        self.untold = [str(n) for n in range(1, self.sent + 1) if n not in self.acked]
        self.again_told += len(self.untold)
        self.is_live()

    def on_resumed(self, x):
        if x is not self.xmpp:
            return
        self.resumed += 1
        self.is_live()

    def on_message(self, m):
        number = m["body"]
        if m["type"] == "error" or m["from"].bare != self.peer or not number.isdigit():
            self.strange.append(str(m))
        else:
            sid = [e.get("id") for e in m.xml.iter(SID) if e.get("by") == self.bare]
            self.inbox.append(Arrival(int(number), m["id"], sid[0] if len(sid) == 1 else None, self.sessions, time.monotonic()))
            self.unconfirmed.append(self.inbox[-1])

    def on_acked(self, stanza):
        if isinstance(stanza, slixmpp.Message):
            self.acked.add(int(stanza["body"]))

    def tell(self):
        """The next number, if there is a connection for it."""
        if self.live:
            self.sent += 1
            self.give(str(self.sent))

    def ask(self):
        """What is acknowledged by now."""
        if self.live and self.xmpp.transport is not None:
            self.sm.request_ack()

    def leave(self):
        self.leaving = True
        if self.watchdog is not None:
            self.watchdog.cancel()
        if self.xmpp is not None:
            self.xmpp.disconnect()


class Pairs:
    """`clients` in the order of their pairs: 0 and 1, 2 and 3, …"""

    def __init__(self, clients, every):
        self.clients, self.every, self.talking = clients, every, True
        for i, client in enumerate(clients):
            client.peer = clients[i ^ 1].bare

    async def enter(self, at_once=10):
        """True once all are in."""
        for i in range(0, len(self.clients), at_once):
            some = self.clients[i:i + at_once]
            for client in some:
                client.enter()
            if not await self.wait(lambda: all(c.live for c in some), 60):
                return False
        return True

    async def wait(self, holds, seconds):
        end = time.monotonic() + seconds
        while not holds() and time.monotonic() < end:
            await asyncio.sleep(0.05)
        return holds()

    async def talk(self):
        while self.talking:
            started = time.monotonic()
            for client in self.clients:
                client.tell()
                await asyncio.sleep(self.every / len(self.clients) / 2)
            await asyncio.sleep(max(0, self.every - (time.monotonic() - started)))

    async def settle(self, seconds=60):
        """Nothing more is sent: until everybody is in, all is acknowledged and has arrived, or the time is over."""
        self.talking = False

        def done():
            for c in self.clients:
                c.ask()
            return all(c.live and len(c.acked) == c.sent for c in self.clients) and not self.lost()
        for _ in range(seconds * 2):
            if done():
                return True
            await asyncio.sleep(0.5)
        return False

    def directions(self):
        return [(c, self.clients[i ^ 1]) for i, c in enumerate(self.clients)]

    def lost(self):
        """What a sender saw acknowledged and never arrived."""
        return [(a.bare, n) for a, b in self.directions() for n in sorted(a.acked - {m.number for m in b.inbox})]

    def repeated(self):
        """What came more often than its sender told it: the same message, by its id."""
        return sum(len(c.inbox) - len({m.what for m in c.inbox}) for c in self.clients)

    def disordered(self):
        """Who got a first arrival that was overtaken."""
        def firsts(inbox):
            return list(dict.fromkeys(m.number for m in inbox))
        return [c.bare for c in self.clients if firsts(c.inbox) != sorted(firsts(c.inbox))]

    def report(self):
        c = self.clients
        return (f"sent {sum(x.sent for x in c)}, acknowledged {sum(len(x.acked) for x in c)}, arrived {sum(len({m.number for m in x.inbox}) for x in c)}, "
                f"resumed {sum(x.resumed for x in c)}, new sessions {sum(x.sessions - 1 for x in c)} in which {sum(x.again_told for x in c)} were sent again, "
                f"lost {len(self.lost())}, repeated {self.repeated()}, longest away {max(max(x.aways) for x in c):.1f} s")

    def leave(self):
        for client in self.clients:
            client.leave()
