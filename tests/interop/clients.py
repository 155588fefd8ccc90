#!/usr/bin/env python3
"""slixmpp, @xmpp/client and libstrophe, each with its like and with each other: verified TLS, SASL, rosters, subscriptions, presence,
messages now and offline, pings, discovery, clean and unclean ends."""
import asyncio
import itertools
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "lib"), os.path.join(HERE, "..", "live", "lib")]
from stack import Test, run  # noqa: E402
from stage import DOMAIN, Stage, Stopped  # noqa: E402

# The mechanisms of a kind's first and second account. libstrophe takes the strongest that is offered.
MECHANISMS = {
    "slixmpp": ("SCRAM-SHA-256-PLUS", "PLAIN"),
    "xmppjs": ("SCRAM-SHA-1", "PLAIN"),
    "strophe": ("SCRAM-SHA-256", "SCRAM-SHA-256"),
}
PAIRS = list(itertools.combinations_with_replacement(MECHANISMS, 2))


def users(pair):
    return [f"{side}-{pair[0]}-{pair[1]}" for side in "ab"]


class Pair:
    """Two clients, a and b, and what they do together."""

    def __init__(self, stage, kinds):
        self.stage, self.kinds, self.name = stage, kinds, "+".join(kinds)
        self.jids = [f"{user}@{DOMAIN}" for user in users(kinds)]
        self.mechanisms = MECHANISMS[kinds[0]][0], MECHANISMS[kinds[1]][1]
        self.peers = [None, None]
        self.full = ["", ""]

    def step(self, what, *expected):
        return self.stage.step(self.name, what, *expected)

    async def login(self, side):
        user, mechanism = users(self.kinds)[side], self.mechanisms[side]
        peer = self.peers[side] = await self.stage.client(self.kinds[side], user, mechanism)
        event = await peer.expect("online")
        self.full[side] = event[1] if event else ""
        self.stage.test.check(f"{self.name}: {user} logs in with {mechanism}", self.stage.mechanism(self.full[side]) == mechanism)
        peer.tell("roster")

    async def available(self, side):
        self.peers[side].tell("presence", "", "", "", "5")
        await self.peers[side].expect("presence", self.full[side], "")  # its own, come back

    async def subscribe(self):
        (a, b), (jid_a, jid_b) = self.peers, self.jids
        a.tell("add", jid_b, "A friend", "Friends")
        await self.step("a contact is added, and pushed", (a, "push", jid_b, "none", "", "A friend"), (a, "done", jid_b))
        a.tell("presence", "subscribe", jid_b, "", "")
        await self.step("a request for subscription arrives", (a, "push", jid_b, "none", "subscribe"), (b, "presence", jid_a, "subscribe"))
        b.tell("presence", "subscribed", jid_a, "", "")
        await self.step("approved: the asker sees the contact", (b, "push", jid_a, "from"), (a, "presence", jid_b, "subscribed"),
                        (a, "push", jid_b, "to"), (a, "presence", self.full[1], "", ""))
        b.tell("presence", "subscribe", jid_a, "", "")
        await self.step("the contact asks in turn", (a, "presence", jid_b, "subscribe"), (b, "push", jid_a, "from", "subscribe"))
        a.tell("presence", "subscribed", jid_b, "", "")
        await self.step("both see each other", (b, "presence", jid_a, "subscribed"), (a, "push", jid_b, "both"), (b, "push", jid_a, "both"),
                        (b, "presence", self.full[0], "", ""))
        a.tell("roster")
        await self.step("the roster says so", (a, "item", jid_b, "both", "", "A friend", "Friends"), (a, "roster"))

    async def talk(self):
        (a, b), (jid_a, jid_b) = self.peers, self.jids
        text = "Grüße & <Küsse> \N{DANCER}"
        a.tell("message", jid_b, "chat", text)
        await self.step("a message to a bare JID", (b, "message", self.full[0], "chat", text, ""))
        b.tell("message", self.full[0], "normal", "back")
        await self.step("a message to a full JID", (a, "message", self.full[1], None, "back", ""))
        for n in range(20):
            a.tell("message", jid_b, "chat", n)
        bodies = [(await b.expect("message", self.full[0], "chat") or [""] * 4)[3] for _ in range(20)]
        self.stage.test.check(f"{self.name}: twenty messages in order", bodies == [str(n) for n in range(20)])
        a.tell("message", f"nobody@{DOMAIN}", "chat", "anybody?")
        await self.step("a message to nobody comes back", (a, "message", f"nobody@{DOMAIN}", "error", None, "", "service-unavailable"))

    async def ask(self):
        (a, b), (_, jid_b) = self.peers, self.jids
        a.tell("ping", DOMAIN)
        b.tell("ping", self.full[0])
        await self.step("pings to the server and to the other client", (a, "pong", DOMAIN), (b, "pong", self.full[0]))
        a.tell("disco", DOMAIN)
        a.tell("disco", jid_b)
        server = await a.expect("disco", DOMAIN, "server/im")
        self.stage.test.check(f"{self.name}: the server's features", server and {"urn:xmpp:ping", "msgoffline"} <= set(server[3].split()))
        await self.step("discovery of a contact's account", (a, "disco", jid_b, "account/registered"))
        a.tell("ping", f"nobody@{DOMAIN}")
        await self.step("an IQ to nobody comes back", (a, "iq-error", f"nobody@{DOMAIN}", "service-unavailable"))

    async def part(self):
        (a, b), (jid_a, jid_b) = self.peers, self.jids
        b.tell("presence", "", "", "away", "")
        await self.step("away is seen", (a, "presence", self.full[1], "", "away"))
        b.tell("close")
        await self.step("a clean end is seen", (b, "closed"), (a, "presence", self.full[1], "unavailable"))
        await b.stop()
        for body in ("first", "second"):
            a.tell("message", jid_b, "chat", body)
        a.tell("ping", DOMAIN)  # whoever answers this has dealt with the messages
        await self.step("messages for somebody offline are taken", (a, "pong", DOMAIN))
        await self.login(1)
        await self.available(1)
        b = self.peers[1]
        events = [await b.expect("message", self.full[0], "chat", body) for body in ("first", "second")]
        delays = [event and abs(parse_stamp(event[4]) - time.time()) < 120 for event in events]
        self.stage.test.check(f"{self.name}: they come at the next login with their time", all(delays))
        await self.step("presence of a contact comes at login", (b, "presence", self.full[0], "", ""), (a, "presence", self.full[1], ""))
        await b.stop()
        await self.step("a client that vanishes becomes unavailable", (a, "presence", self.full[1], "unavailable"))
        a.tell("remove", jid_b)
        await self.step("the contact is removed", (a, "push", jid_b, "remove"), (a, "done", jid_b))
        a.tell("close")
        await self.step("a clean end", (a, "closed"))

    async def play(self):
        try:
            for side in (0, 1):
                await self.login(side)
                await self.step("an empty roster", (self.peers[side], "roster"))
                await self.available(side)
            await self.subscribe()
            await self.talk()
            await self.ask()
            await self.part()
        except Stopped:
            pass  # told
        for peer in filter(None, self.peers):
            await peer.stop()


def parse_stamp(stamp):
    """XEP-0082's UTC, as clients hand it on, in seconds since 1970."""
    text = stamp.replace(" ", "T")[:19]
    return time.mktime(time.strptime(text + " UTC", "%Y-%m-%dT%H:%M:%S %Z")) - time.timezone


async def refusals(stage):
    """Neither a certificate of an authority that the client does not know, nor a wrong password, gets anybody in."""
    for kind, (mechanism, _) in MECHANISMS.items():
        user = users((kind, kind))[0]
        peer = await stage.client(kind, user, mechanism, ca="other-ca")
        event = await peer.expect("refused")
        stage.test.check(f"{kind}: an unknown authority's certificate is refused", event and "certificate" in event[1])
        await peer.stop()
        before = stage.failed_logins()
        peer = await stage.client(kind, user, mechanism, password="x")
        stage.test.check(f"{kind}: a wrong password is refused", await peer.expect("refused") and stage.failed_logins() > before)
        await peer.stop()


async def story(stage):
    await refusals(stage)
    for kinds in PAIRS:
        await Pair(stage, kinds).play()


def main():
    test = Test("interop.clients")
    stage = Stage(test, [user for pair in PAIRS for user in users(pair)])
    run(test, story(stage), 400)
    stage.end()


main()
