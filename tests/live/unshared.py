#!/usr/bin/env python3
"""Two instances of a service that send for the same pair of domains, to a server with stream management (XEP-0198): its counts are one sender's, so each gets a stream of its
own, and each is told what became of its own stanzas."""
import asyncio
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, ready, run  # noqa: E402
import fake  # noqa: E402
import namespace  # noqa: E402
import peers  # noqa: E402
from peers import OUR_ADDRESS, OURS, THEIR_ADDRESS, THEIRS  # noqa: E402

NS_SM = "urn:xmpp:sm:3"
COUNT = 20


class Remote(fake.Server):
    """Answers each <r/> with the number of stanzas that came on that stream. `came`: the ids, by stream."""

    def __init__(self, context):
        super().__init__(THEIRS, context, fake.EXTERNAL)
        self.features_then = f"<sm xmlns='{NS_SM}'/>"
        self.came = {}

    async def step(self, wire):
        what, e = await wire.event()
        if what == "element" and e.tag == fake.name(NS_SM, "enable"):
            self.came[wire] = []
            wire.send(f"<enabled xmlns='{NS_SM}'/>")
            return True
        if what == "element" and e.tag == fake.name(NS_SM, "r"):
            wire.send(f"<a xmlns='{NS_SM}' h='{len(self.came[wire])}'/>")
            return True
        wire.events.insert(0, (what, e))
        goes_on = await super().step(wire)
        while not self.stanzas.empty():
            self.came[wire].append(self.stanzas.get_nowait().get("id"))
        return goes_on


class Sender:
    def __init__(self, test, label):
        self.label = label
        self.process = test.start(label, [f"{BUILD}/tests/live/sender", open(f"{test.folder}/state/registry").read().strip(), f"{test.folder}/state/service.key",
                                          OURS, THEIRS, label, str(COUNT), "1"], stdin=subprocess.PIPE)
        ready(self.process)

    def go(self):
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    async def told(self):
        lines = []
        while not lines or not lines[-1].startswith("done "):
            line = await asyncio.get_event_loop().run_in_executor(None, self.process.stdout.readline)
            lines.append(line.decode().strip())
            if not line:
                break
        return lines


async def story(test, env, pki):
    remote = await Remote(pki.context(True, THEIRS)).start(THEIR_ADDRESS)
    peers.start_dns(test, [peers.host("fake.example", THEIR_ADDRESS), peers.srv(THEIRS, "fake.example", remote.port)])
    ready(test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", f"{test.folder}/state", "--c2s", f"{OUR_ADDRESS}:5222", "--c2s-direct", "none",
                                 "--s2s", f"{OUR_ADDRESS}:5269", "--public-host", OURS, "--certs", f"{test.folder}/our-certs", "--workers", "1"],
                     dict(env, SSL_CERT_FILE=f"{test.folder}/our-ca.pem", SSL_CERT_DIR=f"{test.folder}/none")))
    first, second = Sender(test, "first"), Sender(test, "second")
    first.go()
    while not any(remote.came.values()):     # its stream stands before the other looks for one
        await asyncio.sleep(0.02)
    second.go()
    for sender in (first, second):
        lines = await asyncio.wait_for(sender.told(), 60)
        test.check(f"{sender.label}: every stanza is acknowledged once {lines}", lines == [f"done delivered={COUNT} undeliverable=0 twice=0 disorder=0"])
    test.check("each on a stream of its own, once", sorted(remote.came.values()) == [[f"{label}-{n + 1}" for n in range(COUNT)] for label in ("first", "second")])
    test.check("which nothing ended", remote.errors.empty() and remote.nr_connections == 2)


def main():
    namespace.enter()
    test = Test("live.unshared")
    env = dict(os.environ)
    run(test, story(test, env, fake.Pki(test.folder)), 120)
    test.check("gateway ends with status 0 at SIGTERM", test.stop("gateway") == 0)
    test.finish()


main()
