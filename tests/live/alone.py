#!/usr/bin/env python3
"""The only gateway drains, ends and comes again, as at an upgrade of a single machine: clients and other servers hear system-shutdown, and what services send to another
domain meanwhile goes over the gateway's next start, in order and marked where it may come twice, or comes back where the other server is not there any more."""
import asyncio
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, accounts, arrives, login, ready, run, word_in  # noqa: E402
import fake  # noqa: E402
import namespace  # noqa: E402
import peers  # noqa: E402
from peers import OUR_ADDRESS, OURS, THEIR_ADDRESS, THEIRS  # noqa: E402
from sending import Sender, marked  # noqa: E402

SENDER = "sender.example"        # ours as well, of a service that only sends
COUNT, BURST, AWAY = 600, 20, 5


class Remote(fake.Server):
    """Knows the numbers of the messages that came, in order."""

    def __init__(self, *args):
        super().__init__(*args)
        self.came, self.news = [], asyncio.Event()

    async def step(self, wire):
        goes_on = await super().step(wire)
        while not self.stanzas.empty():
            self.came.append(int(self.stanzas.get_nowait().get("id").split("-")[1]))
        self.news.set()
        return goes_on

    async def until(self, holds):
        while not holds():
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 60)

    async def has(self, nr):
        await self.until(lambda: len(set(self.came)) >= nr)

    async def ends(self):
        await self.until(lambda: self.heard[-1] in ("close", "end", "broken"))


def start_sender(test, label, count):
    """The service behind SENDER."""
    state = f"{test.folder}/state"
    sender = Sender(test, open(f"{state}/registry").read().strip(), f"{state}/service.key", (SENDER, THEIRS), label, count, BURST)
    ready(sender.process)
    return sender


def start_gateway(test, env):
    env = dict(env, SSL_CERT_FILE=f"{test.folder}/our-ca.pem", SSL_CERT_DIR=f"{test.folder}/none")
    ready(test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", f"{test.folder}/state", "--workers", "1", "--c2s", f"{OUR_ADDRESS}:5222", "--c2s-direct",
                                 "none", "--s2s", f"{OUR_ADDRESS}:5269", "--public-host", OURS, "--certs", f"{test.folder}/our-certs"], env))


async def stop_gateway(test):
    test.check("the gateway ends with status 0 at SIGTERM", await asyncio.get_event_loop().run_in_executor(None, test.stop, "gateway") == 0)


async def registered(test, times):
    """Both services announced their domains again to each gateway that started; until then the next one knows no host."""
    while open(f"{test.folder}/gateway.log").read().count("announced=1") < 2 * times:
        await asyncio.sleep(0.05)


async def enter(test, password):
    client, how = await login(f"juliet@{OURS}", password, f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    if how != "in":
        raise RuntimeError("juliet cannot log in")
    client.told = asyncio.get_event_loop().create_future()
    client.add_event_handler("stream_error", lambda e: client.told.done() or client.told.set_result(e["condition"]))
    return client


async def dial(pki):
    caller = await fake.Dialler(THEIRS, OURS).open((OUR_ADDRESS, 5269), pki.context(False, THEIRS))
    if await caller.external() is not None:
        raise RuntimeError("the other server is not believed")
    return caller


async def restarted(test, env, pki, remote, password):
    sender, juliet, caller = start_sender(test, "first", COUNT), await enter(test, password), await dial(pki)
    told = sender.go()
    await remote.has(COUNT // 4)
    await stop_gateway(test)
    test.check("a client hears system-shutdown", await asyncio.wait_for(juliet.told, 30) == "system-shutdown")
    test.check("so does a server that called", fake.condition(await caller.wire.expect("element")) == "system-shutdown")
    await remote.ends()
    test.check("one that we called is taken leave of, with system-shutdown if something was on its way",
               remote.heard[-1] == "close" and (remote.errors.empty() or remote.errors.get_nowait() == "system-shutdown"))
    caller.close()
    test.check("not all has been sent by then", len(set(remote.came)) < COUNT)
    start_gateway(test, env)
    test.check("the service sends all over the gateway's next start", await asyncio.wait_for(told, 90) == f"delivered={COUNT} undeliverable=0 twice=0 disorder=0")
    await remote.has(COUNT)
    first = list(dict.fromkeys(remote.came))
    again = len(remote.came) - len(first)
    test.check(f"in order at the other server, and none is missing ({again} came again)", first == list(range(1, COUNT + 1)))
    told_of = marked(open(f"{test.folder}/gateway.log").read())
    test.check(f"what came again was sent marked ({told_of})", again <= told_of)
    test.check("over a second connection", remote.nr_connections == 2)
    await registered(test, 2)
    juliet, caller = await enter(test, password), await dial(pki)
    caller.wire.send(f"<message from='romeo@{THEIRS}' to='juliet@{OURS}'><body>There again</body></message>")
    test.check("clients and other servers are served again", await arrives(juliet, (f"romeo@{THEIRS}", "There again")))
    juliet.disconnect()
    caller.close()


async def nobody_there(test, env, remote):
    sender = start_sender(test, "second", AWAY)
    await stop_gateway(test)
    remote.listener.close()
    told = sender.go()
    start_gateway(test, env)
    test.check("where the other server is gone, all that waited comes back",
               await asyncio.wait_for(told, 90) == f"delivered=0 undeliverable={AWAY} twice=0 disorder=0")
    test.check("once each, with remote-server-timeout", sender.back == [f"{n} remote-server-timeout" for n in range(1, AWAY + 1)])


async def story(test, env, passwords, pki):
    remote = await Remote(THEIRS, pki.context(True, THEIRS)).start(THEIR_ADDRESS)
    peers.start_dns(test, [peers.host("fake.example", THEIR_ADDRESS), peers.srv(THEIRS, "fake.example", remote.port)])
    start_gateway(test, env)
    ready(test.start("im", [f"{BUILD}/services/im/ambrosia-im", "--domain", OURS, "--state-dir", f"{test.folder}/state"]))
    await restarted(test, env, pki, remote, passwords["juliet"])
    await nobody_there(test, env, remote)
    test.check("the services were linked again each time", await word_in(f"{test.folder}/im.log", "linked gateways=1"))


def main():
    namespace.enter()
    test = Test("live.alone")
    env, passwords = accounts(test, OURS, ("juliet",))
    run(test, story(test, env, passwords, fake.Pki(test.folder)))
    for name in ("im", "gateway"):
        test.check(f"{name} ends with status 0 at SIGTERM", name in test.programs and test.stop(name) == 0)
    test.finish()


main()
