#!/usr/bin/env python3
"""deploy/rolling-upgrade with real processes: one gateway after the other is drained and comes back as a new process, never two at a time, and a gateway that does not
come back ends it before the next is touched."""
import asyncio
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from cluster import CTL, Cluster, wait_ready  # noqa: E402
from stack import HERE, Test, run  # noqa: E402

UPGRADE = os.path.join(HERE, "..", "..", "..", "deploy", "rolling-upgrade")
DOMAIN = "a.example"
GATEWAYS = ("g1", "g2", "g3")


class Hand:
    """What `ssh HOST restart` is in the field: the command tells the host to a pipe and waits for an answer in another, the test restarts its process."""

    def __init__(self, cluster):
        self.cluster, folder = cluster, cluster.folder
        self.asked, self.answered, self.restarted = f"{folder}/asked", f"{folder}/answered", []
        for path in (self.asked, self.answered):
            os.mkfifo(path)
        self.command = ["sh", "-c", f'echo "$0" > {self.asked}; read status < {self.answered}; exit "$status"', "{}"]

    def serve(self, broken=()):
        """One request, in a thread. A broken host is stopped and stays so."""
        with open(self.asked) as f:
            name = f.readline().strip().removesuffix(".example")
        status = self.cluster.test.stop(name)
        if name not in broken:
            self.cluster.start_gateway(name)
        self.restarted.append(name)
        with open(self.answered, "w") as f:
            f.write(f"{0 if status == 0 else 1}\n")


async def upgrade(cluster, hand, turns, patience, broken=()):
    """(status, what it printed, what it complained of)"""
    ctl = f"{CTL} --registry {cluster.known()} --key {cluster.folder}/admin.key --timeout 2"
    process = await asyncio.create_subprocess_exec(UPGRADE, "--ctl", ctl, "--patience", str(patience), *hand.command, stdout=asyncio.subprocess.PIPE,
                                                   stderr=asyncio.subprocess.PIPE, env=cluster.env)
    for _ in range(turns):
        await asyncio.get_event_loop().run_in_executor(None, hand.serve, broken)
    out, err = await process.communicate()
    return process.returncode, out.decode().splitlines(), err.decode()


async def story(test):
    cluster = Cluster(test, [DOMAIN], ["alice"], {"gateway": "gateway", "admin": "admin", "echo": f"service {DOMAIN}:client,server"})
    cluster.authorise()
    cluster.start_registry("r1")
    for name in GATEWAYS:
        cluster.start_gateway(name)
    await wait_ready(cluster.start_echo("echo", "echo", "--domain", DOMAIN))
    hand = Hand(cluster)
    before = {name: test.programs[name].pid for name in GATEWAYS}
    status, lines, why = await upgrade(cluster, hand, len(GATEWAYS), 60)
    test.check("all gateways are upgraded, in turn", status == 0 and hand.restarted == list(GATEWAYS))
    test.check("it says so", lines == [f"{name}.example: 1 workers are new" for name in GATEWAYS])
    test.check("each is a new process", all(test.programs[name].pid != before[name] for name in GATEWAYS))
    hand.restarted.clear()
    status, lines, why = await upgrade(cluster, hand, 2, 8, broken=("g2",))
    test.check("it stops at one that does not come back", status == 1 and hand.restarted == ["g1", "g2"] and "g2.example did not come back" in why)


def main():
    test = Test("live.upgrade")
    run(test, story(test), 240)
    test.finish()


main()
