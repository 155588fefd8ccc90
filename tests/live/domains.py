#!/usr/bin/env python3
"""Ninety-nine remote domains at once, eleven of them broken, each in its own way, and two that pour line ends while they take messages: those that are well get every message
while the broken ones are tried, each message to a broken one comes back with the error that fits, and neither memory nor descriptors grow with what is tried again.
tests/bench/run_domains does it with more, and measures."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import Test, accounts  # noqa: E402
import domains  # noqa: E402
import namespace  # noqa: E402
from peers import OURS  # noqa: E402

WELL, BROKEN, NOISY, EACH = 88, 11, 2, 20
CONNECT_SECONDS = 10                             # --s2s-timeout


def wait_for(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def play(test, world, env):
    world.start(env, "--s2s-timeout", str(CONNECT_SECONDS))
    empty = world.descriptors()
    world.trickle(200)
    first = world.send(1)
    test.check(f"{WELL} healthy domains get a message each while {BROKEN} broken ones are tried ({first})", (first["delivered"], first["undeliverable"]) == (WELL, 0))
    told = wait_for(lambda: set(world.outcomes()) == set(domains.BROKEN))
    test.check("a message to each broken domain has come back", told)
    before, noise = world.outcomes(), world.noise_bytes()
    more = world.send(EACH)
    test.check(f"{WELL * EACH} messages more are delivered ({more})", (more["delivered"], more["undeliverable"]) == (WELL * EACH, 0))
    test.check("all are there, and none twice", wait_for(lambda: world.messages() == WELL * (EACH + 1)))
    test.check("those who pour line ends have poured on meanwhile", wait_for(lambda: world.noise_bytes() >= noise + (256 << 10)))
    for kind, ways in world.outcomes().items():
        test.check(f"{kind}: comes back as {domains.BROKEN[kind]}", list(ways) == [domains.BROKEN[kind]])
    # What is held back comes back at once: in the time that one attempt takes, dozens.
    test.check("what failed is told to all who ask",
               wait_for(lambda: all(sum(ways.values()) >= sum(before[kind].values()) + 20 for kind, ways in world.outcomes().items())))
    world.trickle(0)
    for kind in domains.SERVERS:
        # The first failure, and one for each wait since: 2 s, 4 s, 8 s, … less a quarter
        test.check(f"{kind}: dialled {world.connections(kind)} times in all", 1 <= world.connections(kind) <= 8)
    test.check("a descriptor for each healthy domain, and no more once the broken ones are left alone", wait_for(lambda: world.descriptors() <= empty + WELL))


def main():
    namespace.enter()
    test = Test("live.domains")
    env, _ = accounts(test, OURS, ())
    world = domains.World(test, WELL, BROKEN, NOISY)
    try:
        play(test, world, env)
        test.check("service and gateway end with status 0", world.stop() == (0, 0))
    except Exception as e:  # what it raises is a failed check, and the logs are shown
        test.check(f"no exception ({type(e).__name__}: {e})", False)
    world.end()
    test.finish()


main()
