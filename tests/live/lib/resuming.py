"""Clients with stream management (XEP-0198) that exchange numbered messages in pairs, come back to whichever gateway is there when their connection ends, and know what
was acknowledged, what arrived, and what arrived twice."""
import asyncio
import random
import time

import slixmpp
from slixmpp.plugins.xep_0198.stanza import Resume

AGAIN_MS = (20, 200)      # between the end of a connection and the next one
PATIENCE = 15             # seconds for a login or resumption


class Resuming(slixmpp.ClientXMPP):
    """slixmpp with its stream management. `where()` names a gateway's (address, port). `keep`: slixmpp 1.8.3 forgets what was not acknowledged when it asks for resumption,
    which is then neither sent again nor ever acknowledged; this keeps it."""

    def __init__(self, jid, password, ca, where, keep=True):
        super().__init__(jid, password, sasl_mech="PLAIN")
        self.ca_certs, self.where, self.peer = ca, where, None
        self.live, self.leaving, self.watchdog = False, False, None
        self.sessions = self.resumed = 0                # how often a session began, and went on
        self.sent, self.acked, self.inbox = 0, set(), []  # numbers
        self.strange = []                               # what came and should not
        self.gone_at, self.longest_away = time.monotonic(), 0.0
        self.register_plugin("xep_0198")
        self.sm = self["xep_0198"]
        self.untold = []                                # given to slixmpp as the connection ended, and thrown away by it
        if keep:
            self.del_filter("out_sync", self.sm._handle_outgoing)
            self.add_filter("out_sync", self.keep_unacked)
        for event, handler in (("session_start", self.on_start), ("session_resumed", self.on_resumed), ("disconnected", self.on_disconnected),
                               ("connection_failed", self.on_connection_failed), ("message", self.on_message), ("message_error", self.on_message),
                               ("stanza_acked", self.on_acked)):
            self.add_event_handler(event, handler)

    def keep_unacked(self, stanza):
        if isinstance(stanza, slixmpp.Message) and self.transport is None:
            self.untold.append(stanza["body"])
            return None
        kept = list(self.sm.unacked_queue) if isinstance(stanza, Resume) else []
        stanza = self.sm._handle_outgoing(stanza)
        self.sm.unacked_queue.extend(kept)
        return stanza

    def enter(self):
        address = self.where()
        loop = asyncio.get_event_loop()
        if self.watchdog is not None:
            self.watchdog.cancel()
        self.watchdog = loop.call_later(PATIENCE, self.give_up)
        self.connect(address, force_starttls=True, disable_starttls=False)

    def give_up(self):
        """No answer in time: another gateway."""
        if self.transport is not None:
            self.abort()
        else:
            self.again()

    def again(self):
        if not self.leaving:
            asyncio.get_event_loop().call_later(random.uniform(*AGAIN_MS) / 1000, self.enter)

    def on_connection_failed(self, _):
        self.cancel_connection_attempt()
        self.again()

    def on_disconnected(self, _):
        if self.live:
            self.gone_at = time.monotonic()
        self.live = False
        self.again()

    def is_live(self):
        self.live = True
        self.watchdog.cancel()
        self.longest_away = max(self.longest_away, time.monotonic() - self.gone_at)
        for number in self.untold:
            self.send_message(self.peer, number)
        self.untold = []

    async def on_start(self, _):
        self.sessions += 1
        self.send_presence()
        self.is_live()

    def on_resumed(self, _):
        self.resumed += 1
        self.is_live()

    def on_message(self, m):
        number = m["body"]
        if m["type"] == "error" or m["from"].bare != self.peer or not number.isdigit():
            self.strange.append(str(m))
        else:
            self.inbox.append(int(number))

    def on_acked(self, stanza):
        if isinstance(stanza, slixmpp.Message):
            self.acked.add(int(stanza["body"]))

    def tell(self):
        """The next number, if there is a connection for it."""
        if self.live:
            self.sent += 1
            self.send_message(self.peer, str(self.sent))

    def ask(self):
        """What is acknowledged by now."""
        if self.live:
            self.sm.request_ack()

    def leave(self):
        self.leaving = True
        if self.watchdog is not None:
            self.watchdog.cancel()
        self.cancel_connection_attempt()
        self.disconnect()


class Pairs:
    """`clients` in the order of their pairs: 0 and 1, 2 and 3, …"""

    def __init__(self, clients, every):
        self.clients, self.every, self.talking = clients, every, True
        for i, client in enumerate(clients):
            client.peer = clients[i ^ 1].boundjid.bare

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
        return [(a.boundjid.bare, n) for a, b in self.directions() for n in sorted(a.acked - set(b.inbox))]

    def repeated(self):
        return sum(len(c.inbox) - len(set(c.inbox)) for c in self.clients)

    def disordered(self):
        """First arrivals that were overtaken."""
        def firsts(numbers):
            return list(dict.fromkeys(numbers))
        return [c.boundjid.bare for c in self.clients if firsts(c.inbox) != sorted(firsts(c.inbox))]

    def report(self):
        c = self.clients
        return (f"sent {sum(x.sent for x in c)}, acknowledged {sum(len(x.acked) for x in c)}, arrived {sum(len(set(x.inbox)) for x in c)}, "
                f"resumed {sum(x.resumed for x in c)}, new sessions {sum(x.sessions - 1 for x in c)}, lost {len(self.lost())}, repeated {self.repeated()}, "
                f"longest away {max(x.longest_away for x in c):.1f} s")

    def leave(self):
        for client in self.clients:
            client.leave()
