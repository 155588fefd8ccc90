#!/usr/bin/env python3
"""Clients that pour: white space before they say who they are, white space between stanzas, requests in place of stanzas. They are closed, slowed down or answered, and the conversations
of others go on. That a flood is slowed down is seen by the bytes that the gateway read in the time that has passed, which a slow machine only makes fewer."""
import asyncio
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, accounts, ready, run  # noqa: E402
from by_hand import SM, ByHand  # noqa: E402
import namespace  # noqa: E402
from peers import OUR_ADDRESS, OURS  # noqa: E402
import fake  # noqa: E402
from pressing import Presser, Watch, account  # noqa: E402

PASSWORD, ROUNDS = "a-password", 100
POURING = ("mallory", "moriarty", "milady")
BYTES_IN = 'ambrosia_stream_bytes_total{direction="in"}'
READ_BYTES, SLOWED_SECONDS = 16384, 0.1   # gateway/net/conn_int.h, gateway/role/edge.c


async def pour(client, text):
    """Without end, as fast as it is taken; its bytes in all are in client.poured."""
    client.poured = 0
    try:
        while not client.writer.transport.is_closing():
            client.say(text)
            await client.writer.drain()
            client.poured += len(text)
            await asyncio.sleep(0)
    except OSError:
        pass


async def before_login(test, address, ca, watch, text, reason):
    """In place of authentication."""
    client = await ByHand(OURS, address, ca).open()
    client.say(f"<stream:stream to='{OURS}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
    await client.hear("</stream:features>")
    task = asyncio.ensure_future(pour(client, text))
    test.check(f"who pours {text[:9]!r} before login hears policy-violation", await client.hear("<stream:error><policy-violation ") is not None)
    test.check(f"and is closed: {reason}", await watch.until('ambrosia_stream_closes_total{reason="%s"}' % reason, lambda n: n == 1))
    client.close()
    await task


async def while_poured(test, watch, enter, text, what, poured_at_most=None):
    alice, bella = [await enter(name) for name in ("alice", "bella")]
    pouring = [await enter(name) for name in POURING]
    tasks = [asyncio.ensure_future(pour(c, text)) for c in pouring]
    test.check(f"{what}: the floods have begun", await watch.until(BYTES_IN, lambda n: n > 65536 * len(POURING)))
    begin, began = await watch.value(BYTES_IN), time.monotonic()
    test.check(f"{what}: {ROUNDS} rounds of a conversation go on beside", await alice.talk(bella, ROUNDS))
    read, seconds = await watch.value(BYTES_IN) - begin, time.monotonic() - began
    if poured_at_most is not None:
        test.check(f"{what}: {read:.0f} bytes were read in {seconds:.3f} s", read <= poured_at_most(seconds))
    test.check(f"{what}: those who pour are still there", not any(c.over.is_set() for c in pouring))
    for c, task in zip(pouring, tasks):
        task.cancel()
        c.close()
    for c in (alice, bella):
        await c.leave()


def slowed(seconds):
    conversation = ROUNDS * 2 * 300
    return conversation + len(POURING) * READ_BYTES * (seconds / SLOWED_SECONDS + 2)


async def story(test, address, watch):
    ca = f"{test.folder}/our-ca.pem"

    async def enter(name):
        return await Presser(name, OURS, address, ca).enter(PASSWORD)
    await before_login(test, address, ca, watch, "\n" * 16384, "negotiation-blanks")
    await while_poured(test, watch, enter, "\n" * 16384, "line ends", slowed)
    await while_poured(test, watch, enter, "\r\n" * 8192, "line ends of two bytes", slowed)
    await while_poured(test, watch, enter, f"<r xmlns='{SM}'/>" * 500, "requests for acknowledgements")
    await while_poured(test, watch, enter, "<presence/>" * 1000, "presence")


def main():
    namespace.enter()
    test = Test("live.floods")
    env, _ = accounts(test, OURS, ())
    for user in ("alice", "bella", *POURING):
        account(test, env, user, OURS, PASSWORD)
    fake.Pki(test.folder)
    state = f"{test.folder}/state"
    gateway = test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", "none", "--c2s-direct", f"{OUR_ADDRESS}:0", "--s2s", "none", "--public-host", OURS,
                                     "--certs", f"{test.folder}/our-certs", "--workers", "1"], env)
    ports = ready(gateway)
    ready(test.start("im", [f"{BUILD}/services/im/ambrosia-im", "--domain", OURS, "--state-dir", state], env))
    run(test, story(test, (OUR_ADDRESS, int(ports["c2s-direct"].rpartition(":")[2])), Watch(f"127.0.0.1:{ports['http']}", gateway)), 300)
    for name in ("im", "gateway"):
        test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.finish()


main()
