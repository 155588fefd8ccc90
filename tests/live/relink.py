#!/usr/bin/env python3
"""A link breaks and both its ends live: a client without stream management notices nothing. Between the gateway and the echo service stands a relay that resets the
connection again and again, and once swallows everything until the ends notice; every message comes back, once and in order, over the one connection of the client."""
import asyncio
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Client, Test, accounts, ready, run  # noqa: E402

MESSAGES, EVERY, CUTS = 400, 0.02, 5   # seconds between two messages


class Talker(Client):
    """The echo service has no rosters."""

    async def on_start(self, _):
        self.settle("in")


class Relay:
    """Between 127.0.0.2, which the gateway announces, and 127.0.0.1, where it listens, on the same port."""

    def __init__(self, port):
        self.port, self.pairs, self.silent, self.links = port, set(), set(), 0

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.2", self.port)

    async def serve(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        pair = (writer, far_writer)
        self.pairs.add(pair)
        self.links += 1
        await asyncio.gather(self.copy(pair, reader, far_writer), self.copy(pair, far_reader, writer), return_exceptions=True)
        self.pairs.discard(pair)
        for end in pair:
            end.close()

    async def copy(self, pair, reader, writer):
        try:
            while data := await reader.read(4096):
                if pair not in self.silent:
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.transport.abort()

    def swallow(self):
        """Whatever comes on the present connections, from now on."""
        self.silent |= self.pairs

    def cut(self):
        """With all that is on the way."""
        for pair in self.pairs:
            for end in pair:
                end.transport.abort()


async def talk(alice):
    for i in range(MESSAGES):
        alice.send_message("somebody@localhost", str(i))
        await asyncio.sleep(EVERY)


async def cut_often(relay):
    for _ in range(CUTS):
        await asyncio.sleep(MESSAGES * EVERY / (CUTS + 2))
        relay.cut()
    await asyncio.sleep(MESSAGES * EVERY / (CUTS + 2))
    relay.swallow()


async def story(test, passwords, ca, ports):
    relay = Relay(int(ports["svc"].rsplit(":", 1)[1]))
    await relay.start()
    echo = test.start("echo", [f"{BUILD}/services/echo/ambrosia-echo", "--domain", "localhost", "--state-dir", f"{test.folder}/state"])
    await asyncio.get_event_loop().run_in_executor(None, ready, echo)   # through the relay, which runs here
    alice = Talker("alice@localhost", passwords["alice"], ca, "PLAIN")
    alice.connect(("127.0.0.1", int(ports["c2s"])), force_starttls=True, disable_starttls=False)
    test.check("alice logs in", await asyncio.wait_for(alice.outcome, 30) == "in")
    lost = []
    alice.add_event_handler("disconnected", lost.append)
    await asyncio.gather(talk(alice), cut_often(relay))
    got = [(await asyncio.wait_for(alice.inbox.get(), 30))[1] for _ in range(MESSAGES)]
    test.check(f"{MESSAGES} messages come back, once and in order, over {relay.links} links", got == [str(i) for i in range(MESSAGES)])
    test.check("nothing came twice", alice.inbox.empty())
    test.check("each cut made a new link", relay.links >= CUTS + 2)
    test.check("alice's connection was never closed", not lost)
    alice.disconnect()
    await asyncio.sleep(0)


def main():
    test = Test("live.relink")
    env, passwords = accounts(test, "localhost", ("alice",))
    state = f"{test.folder}/state"
    ports = ready(test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", "127.0.0.1:0", "--c2s-direct", "none",
                                         "--s2s", "none", "--s2s-direct", "none", "--http", "none", "--svc", "tcp://127.0.0.1:0", "--svc-advertise", "127.0.0.2", "--workers", "1",
                                         "--registry-bind", "tcp://127.0.0.1:0", "--public-host", "localhost", "--certs", f"{test.folder}/none"], env))
    run(test, story(test, passwords, f"{state}/self-signed.crt", ports))
    test.finish()


main()
