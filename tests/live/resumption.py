#!/usr/bin/env python3
"""Stream management (XEP-0198) against a cluster of two gateways, one rule after the other: what is counted, who may resume what and where, what becomes of a session
whose client does not come back."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import namespace  # noqa: E402
from stack import Test, run, word_in  # noqa: E402
from by_hand import ByHand  # noqa: E402
from cluster import one_service, until  # noqa: E402

DOMAIN = "capulet.example"
GATEWAYS = ("g1", "g2")
USERS = ("juliet", "nurse", "tybalt")
JULIET, NURSE = (f"{user}@{DOMAIN}" for user in USERS[:2])


def message(number, to):
    return f"<message to='{to}' id='m{number}' type='chat'><body>{number}</body></message>"


class Story:
    def __init__(self, test):
        self.test = test
        self.c = one_service(test, DOMAIN, USERS)

    async def start(self):
        self.c.start_registry("r1")
        for name in GATEWAYS:
            self.c.start_gateway(name)
        await self.start_im()

    async def start_im(self):
        await self.c.start_linked_im(DOMAIN, "r1", GATEWAYS)

    async def enter(self, user, gateway="g1"):
        address = self.c.place(gateway)[1], int(self.c.ports[gateway]["c2s-direct"])
        client = await ByHand(DOMAIN, address, self.c.trust).open()
        if not await client.login(user, self.c.passwords[user]):
            raise RuntimeError(f"{user} does not get in")
        return client

    async def session(self, user, resource="phone", gateway="g1", enable="resume='true'"):
        """(client, id), available and with stream management; its own presence has come."""
        client = await self.enter(user, gateway)
        await client.bind(resource)
        client.say("<presence/>")
        await client.hear("<presence[^>]*>")
        return client, await client.enable(enable) if enable is not None else None

    def check(self, what, ok):
        self.test.check(what, ok)

    async def counts(self):
        juliet, sm_id = await self.session("juliet")
        self.check("a session that can be resumed gets an id", sm_id)
        nurse, _ = await self.session("nurse", gateway="g2", enable=None)
        juliet.say(message(1, NURSE) + message(2, NURSE))
        self.check("h counts what the service handled", await juliet.acknowledged(2))
        self.check("and it arrived", await nurse.hear("<body>1</body>.*<body>2</body>"))
        juliet.say("<message to='not@@valid'/>" + message(3, NURSE))
        self.check("a stanza that is refused is answered", await juliet.hear("<error.*jid-malformed"))
        self.check("and keeps its place in the count", await juliet.acknowledged(4))
        nurse.say(message(1, JULIET))
        self.check("juliet is asked for what she got", await juliet.hear("<body>1</body>.*<r xmlns='urn:xmpp:sm:3'/>"))
        juliet.acknowledge(2)
        juliet.say("<r xmlns='urn:xmpp:sm:3'/>")
        self.check("an <r/> is answered at once, with what is handled", await juliet.acknowledged(4))
        juliet.acknowledge(3)
        self.check("more than was sent is told", await juliet.hear("<undefined-condition.*<handled-count-too-high xmlns='urn:xmpp:sm:3' h='3' send-count='2'/>"))
        juliet.say("</stream:stream>")
        self.check("and ends the stream", await word_in(f"{self.c.folder}/g1.log", "reason=handled-count-too-high"))
        again = await self.enter("juliet", "g2")
        again.resume(sm_id, 2)
        self.check("and the session", await again.hear("<failed [^>]*><item-not-found"))
        for client in (juliet, nurse, again):
            client.close()

    async def fences(self):
        """The first connection lives, as far as anybody knows."""
        nurse, _ = await self.session("nurse", enable=None)
        first, sm_id = await self.session("juliet")
        nurse.say(message(1, JULIET) + message(2, JULIET))
        await first.hear("<body>2</body>")
        second = await self.enter("juliet", "g2")
        self.check("resumed at the other gateway", await second.resumed(sm_id, 1) == 0)
        self.check("what was not handled comes again, and no more", (found := await second.hear("<body>([0-9])</body>")) and found.group(1) == "2")
        self.check("the first connection is told", await first.hear("<stream:error><conflict"))
        third = await self.enter("juliet", "g1")
        self.check("and resumed again at the first one", await third.resumed(sm_id, 2) == 0)
        self.check("the second one is told", await second.hear("<stream:error><conflict"))
        third.say(message(7, NURSE))
        self.check("the session goes on", await nurse.hear("<body>7</body>") and await third.acknowledged(1))
        thief = await self.enter("tybalt", "g2")
        thief.resume(sm_id, 2)
        self.check("another user cannot have it", await thief.hear("<failed xmlns='urn:xmpp:sm:3'><item-not-found"))
        self.check("and may have a session of his own on the same stream", await thief.bind("sword"))
        for wrong in ("x", "A" * 44, sm_id[:-4] + "AAA="):
            other = await self.enter("juliet", "g2")
            other.resume(wrong, 0)
            self.check(f"an id that nobody gave ({wrong[:4]}…) is not found", await other.hear("<failed xmlns='urn:xmpp:sm:3'><item-not-found"))
            other.close()
        fourth = await self.enter("juliet", "g2")
        fourth.resume(sm_id, 77)
        self.check("nor may h be more than was sent", await fourth.hear("<handled-count-too-high xmlns='urn:xmpp:sm:3' h='77' send-count='2'/>"))
        third.say("</stream:stream>")
        self.check("who says goodbye is answered", await third.hear("</stream:stream>"))
        fifth = await self.enter("juliet", "g2")
        fifth.resume(sm_id, 2)
        self.check("and does not come back", await fifth.hear("<failed xmlns='urn:xmpp:sm:3'><item-not-found"))
        for client in (nurse, first, second, third, thief, fourth, fifth):
            client.close()

    async def broken_record(self):
        """Whoever can send into the connection can break it, with a TLS record that nobody encrypted, as well as with a reset. It is lost then, and the session is not."""
        juliet, sm_id = await self.session("juliet")
        mark = len(self.c.log("g1"))
        os.write(juliet.writer.get_extra_info("socket").fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
        self.check("a broken TLS record ends the connection", await until(lambda: "reason=tls-failed" in self.c.log("g1")[mark:]))
        again = await self.enter("juliet", "g2")
        self.check("... and the session is resumed", await again.resumed(sm_id, 0) == 0)
        again.say("</stream:stream>")
        await again.hear("</stream:stream>")
        again.close()

    async def absence(self):
        """Who is away stays available until the time is over; then what did not arrive is kept."""
        nurse, _ = await self.session("nurse", "chamber", enable=None)
        other, _ = await self.session("juliet", "desk", enable=None)
        juliet, sm_id = await self.session("juliet", "phone", enable="resume='true' max='4'")
        await other.hear("<presence [^>]*from='juliet@[^']*/phone'")
        juliet.close()
        nurse.say(message(1, JULIET + "/phone"))
        back = await self.enter("juliet", "g2")
        self.check("who comes back in time has the session", await back.resumed(sm_id, 0) == 0)
        self.check("and what came meanwhile", await back.hear("<body>1</body>"))
        back.acknowledge(1)
        back.say("<r xmlns='urn:xmpp:sm:3'/>")
        await back.acknowledged(0)
        nurse.say(message(9, JULIET + "/desk"))
        found = await other.hear("<body>9</body>")
        self.check("nobody saw a gap", found and "unavailable" not in found.string)
        back.close()
        nurse.say(message(2, JULIET + "/phone"))
        self.check("who does not come back leaves", await other.hear("<presence [^>]*from='juliet@[^']*/phone'[^>]*type='unavailable'|"
                                                                    "<presence [^>]*type='unavailable'[^>]*from='juliet@[^']*/phone'"))
        self.check("and what did not arrive goes to the session that is there", await other.hear("<body>2</body>"))
        late = await self.enter("juliet", "g2")
        late.resume(sm_id, 1)
        self.check("later there is nothing to resume", await late.hear("<failed xmlns='urn:xmpp:sm:3'><item-not-found"))
        for client in (nurse, other, late):
            client.close()

    async def cut(self, gateway):
        """Until the chain is flushed."""
        port, mark = self.c.ports[gateway]["svc"].rsplit(":", 1)[1], len(self.c.log(gateway))
        for end in ("dport", "sport"):
            nft("add", "rule", "inet", "cut", "out", "meta l4proto tcp", "tcp", end, port, "reject with tcp reset")
        return await until(lambda: " down " in self.c.log(gateway)[mark:])

    async def no_link(self):
        juliet, sm_id = await self.session("juliet")
        juliet.close()
        self.check("the link to g2 is cut", await self.cut("g2"))
        second = await self.enter("juliet", "g2")
        second.resume(sm_id, 0)
        self.check("without a link, resumption is an end and not a failure", await second.hear("<stream:error><remote-connection-failed"))
        nft("flush", "chain", "inet", "cut", "out")
        third = await self.enter("juliet", "g1")
        self.check("and works where there is one", await third.resumed(sm_id, 0) == 0)
        self.check("g2 is linked again", await until(lambda: " up service=" in self.c.log("g2").rsplit(" down ", 1)[1]))
        return third, sm_id

    async def instance_dies(self, juliet, sm_id):
        self.c.kill("im")
        self.check("the death of an instance ends its clients' streams", await juliet.hear("<stream:error><system-shutdown", 40))
        await self.start_im()
        again = await self.enter("juliet", "g2")
        again.resume(sm_id, 0)
        self.check("what it had is known to be gone", await again.hear("<failed xmlns='urn:xmpp:sm:3'><item-not-found"))
        self.check("and the client begins anew", await again.bind("phone"))
        for client in (juliet, again):
            client.close()

    async def asked_and_cut(self):
        """A client that has asked for its session when the link breaks, before the service, which stands still, could answer."""
        juliet, sm_id = await self.session("juliet")
        juliet.close()
        again = await self.enter("juliet", "g2")
        self.test.programs["im"].send_signal(signal.SIGSTOP)
        again.resume(sm_id, 0)
        self.check("the link breaks on a client that waits for the service's answer", await self.cut("g2"))
        nft("flush", "chain", "inet", "cut", "out")
        return again

    async def link_comes_back(self):
        again = await self.asked_and_cut()
        self.test.programs["im"].send_signal(signal.SIGCONT)
        self.check("when there is a link again the service is asked again", await again.hear("<resumed xmlns='urn:xmpp:sm:3'"))
        again.say(message(1, JULIET))
        self.check("and the session goes on", await again.hear("<body>1</body>"))
        again.say("</stream:stream>")
        await again.hear("</stream:stream>")
        again.close()

    async def instance_dies_unanswered(self):
        again = await self.asked_and_cut()
        self.c.kill("im")
        self.check("when the service is known to be dead, the resumption fails", await again.hear("<failed xmlns='urn:xmpp:sm:3'><item-not-found"))
        await self.start_im()
        self.check("and the client begins anew on the same stream", await again.bind("phone"))
        again.close()

    async def service_is_late(self):
        """The time for the login is over when the service, which stands still, has not answered a client that wants its session: that has lost a connection and no more."""
        self.c.start_gateway("g3", "--auth-timeout", "4")
        self.check("the service is linked to a gateway that has little patience", await until(lambda: " up service=" in self.c.log("g3")))
        self.check("... which knows of it", await until(lambda: self.c.gateway_view("g3") == self.c.gateway_view("g2")))
        juliet, sm_id = await self.session("juliet")
        juliet.close()
        again = await self.enter("juliet", "g3")
        self.test.programs["im"].send_signal(signal.SIGSTOP)
        again.resume(sm_id, 0)
        self.check("a resumption that is not answered in time ends the stream", await again.hear("<stream:error><connection-timeout"))
        again.close()
        ended = await until(lambda: "reason=negotiation-timeout" in self.c.log("g3"))
        self.test.programs["im"].send_signal(signal.SIGCONT)
        self.check("... of which the gateway says why", ended)
        third = await self.enter("juliet", "g2")
        self.check("and not the session", await third.resumed(sm_id, 0) == 0)
        third.say("</stream:stream>")
        await third.hear("</stream:stream>")
        third.close()

    async def play(self):
        nft("add", "table", "inet", "cut")
        nft("add", "chain", "inet", "cut", "out", "{ type filter hook output priority 0; }")
        await self.start()
        await self.counts()
        await self.fences()
        await self.broken_record()
        await self.absence()
        await self.instance_dies(*await self.no_link())
        await self.link_comes_back()
        await self.instance_dies_unanswered()
        await self.service_is_late()


def nft(*words):
    subprocess.run(["nft", " ".join(words)], check=True)


def main():
    namespace.enter()
    test = Test("live.resumption")
    run(test, Story(test).play(), 240)
    test.finish()


main()
