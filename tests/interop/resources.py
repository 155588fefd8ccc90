#!/usr/bin/env python3
"""One account at two clients of different kinds, a phone and a desk, and a friend at a third: what reaches both, what reaches one of them by
priority or by address, and directed presence (RFC 6121 sections 2.1.6, 4.6, 8.5)."""
import asyncio
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "lib"), os.path.join(HERE, "..", "live", "lib")]
from stack import Test, run  # noqa: E402
from stage import DOMAIN, Stage, Stopped  # noqa: E402

MECHANISMS = {"slixmpp": "SCRAM-SHA-256-PLUS", "xmppjs": "SCRAM-SHA-1", "strophe": "SCRAM-SHA-256"}
KINDS = list(MECHANISMS)
CASTS = [[KINDS[(i + n) % 3] for n in range(3)] for i in range(3)]


class Play:
    def __init__(self, stage, cast):
        self.stage, self.cast, self.name = stage, cast, "{} phone, {} desk, {} friend".format(*cast)
        self.me, self.friend = (f"{who}-{cast[0]}@{DOMAIN}" for who in ("me", "friend"))
        self.peers, self.full = [], []

    def step(self, what, *expected):
        return self.stage.step(self.name, what, *expected)

    async def login(self, jid, priority):
        kind = self.cast[len(self.peers)]
        peer = await self.stage.client(kind, jid.partition("@")[0], MECHANISMS[kind])
        self.peers.append(peer)
        event = await peer.expect("online") or ["", ""]
        self.full.append(event[1])
        peer.tell("roster")
        await self.step("a login", (peer, "roster"))
        peer.tell("presence", "", "", "", priority)
        await self.step("its presence comes back", (peer, "presence", event[1], ""))

    async def gather(self):
        await self.login(self.me, "1")
        await self.login(self.me, "7")
        phone, desk = self.peers
        await self.step("the two see each other", (phone, "presence", self.full[1], ""), (desk, "presence", self.full[0], ""))
        await self.login(self.friend, "0")

    async def approve(self):
        phone, desk, friend = self.peers
        phone.tell("add", self.friend, "F", "G")
        await self.step("a change at one is pushed to both", (phone, "push", self.friend, "none"), (desk, "push", self.friend, "none"))
        friend.tell("presence", "subscribe", self.me, "", "")
        await self.step("a request reaches both", (phone, "presence", self.friend, "subscribe"), (desk, "presence", self.friend, "subscribe"))
        desk.tell("presence", "subscribed", self.friend, "", "")
        await self.step("one answers, both know", (phone, "push", self.friend, "from"), (desk, "push", self.friend, "from"))
        await self.step("the friend sees both", (friend, "presence", self.full[0], ""), (friend, "presence", self.full[1], ""))

    async def first(self, peer, what, body):
        """The next message from the friend is this one: what came before it was not for this client."""
        event = await peer.expect("message", self.full[2])
        self.stage.test.check(f"{self.name}: {what}", event and event[3] == body)

    async def talk(self):
        phone, desk, friend = self.peers
        friend.tell("message", self.me, "chat", "one")
        friend.tell("message", self.full[0], "chat", "two")
        await self.first(desk, "the higher priority gets what is for the account", "one")
        await self.first(phone, "a full JID is that client", "two")
        desk.tell("presence", "", "", "", "-1")
        await self.step("a negative priority is seen", (friend, "presence", self.full[1], ""), (phone, "presence", self.full[1], ""))
        friend.tell("message", self.me, "normal", "three")
        friend.tell("message", self.me, "headline", "four")
        friend.tell("message", self.full[1], "chat", "five")
        await self.first(phone, "the other gets it then", "three")
        await self.first(phone, "headlines too", "four")
        await self.first(desk, "by its full JID the first is still reached", "five")
        friend.tell("message", self.me, "groupchat", "six")
        await self.step("a groupchat message to an account comes back", (friend, "message", self.me, "error"))
        desk.tell("ping", self.full[0])
        await self.step("one pings the other", (desk, "pong", self.full[0]))

    async def part(self):
        phone, desk, friend = self.peers
        friend.tell("presence", "", self.full[0], "dnd", "")
        await self.step("directed presence arrives", (phone, "presence", self.full[2], "", "dnd"))
        await friend.stop()
        await self.step("who vanishes is unavailable to whom it was directed", (phone, "presence", self.full[2], "unavailable"))
        phone.tell("close")
        await self.step("one leaves, the other sees it", (phone, "closed"), (desk, "presence", self.full[0], "unavailable"))
        self.stage.test.check(f"{self.name}: to the other it was not", not desk.take(("presence", self.full[2])))

    async def play(self):
        try:
            await self.gather()
            await self.approve()
            await self.talk()
            await self.part()
        except Stopped:
            pass  # told
        for peer in self.peers:
            await peer.stop()


async def story(stage):
    await asyncio.gather(*(Play(stage, cast).play() for cast in CASTS))


def main():
    test = Test("interop.resources")
    stage = Stage(test, [f"{who}-{cast[0]}" for cast in CASTS for who in ("me", "friend")])
    run(test, story(stage), 300)
    stage.end()


main()
