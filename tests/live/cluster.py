#!/usr/bin/env python3
"""A cluster: two registries, three gateways, three service instances in processes. A service registers once and is reached through each gateway; registries,
keys and gateways come and go under it."""
import asyncio
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, accounts, arrives, authority, certificate, curve_key, login, ready, replace_file, run, word_in  # noqa: E402

DOMAINS = ("a.example", "b.example")
GATEWAYS = ("g1", "g2", "g3")


class Cluster:
    def __init__(self, test):
        self.test, self.folder = test, test.folder
        self.env, self.passwords = accounts(test, DOMAINS[0], ("alice", "bob"))
        authority(self.folder, "ca")
        self.trust = f"{self.folder}/ca.pem"
        for domain in DOMAINS:
            certificate(self.folder, "ca", domain, f"{self.folder}/certs")
        self.keys = {name: curve_key(f"{self.folder}/{name}.key") for name in ("gateway", "im", "echo")}
        self.registries, self.ports, self.serial = {}, {}, 0

    def authorise(self, *without):
        """authorized_keys of both registries, but for the names given."""
        lines = {"gateway": "gateway", "im": "service a.example:client,server", "echo": "service b.example:client,server"}
        self.serial += 1
        text = f"# serial {self.serial}\n" + "".join(f"{self.keys[name]} {what}\n" for name, what in lines.items() if name not in without)
        replace_file(f"{self.folder}/authorized_keys", text)

    def start_registry(self, name):
        bind = self.registries[name].split("=", 1)[0] if name in self.registries else "tcp://127.0.0.1:0"
        words = ready(self.test.start(name, [f"{BUILD}/registry/ambrosia-registry", "--state-dir", f"{self.folder}/{name}", "--bind", bind,
                                             "--authorized-keys", f"{self.folder}/authorized_keys"]))
        self.registries[name] = f"{words['registry']}={words['key']}"

    def known(self):
        return ",".join(self.registries.values())

    def start_gateway(self, name, key="gateway"):
        self.ports[name] = ready(self.test.start(name, [
            f"{BUILD}/gateway/ambrosia-gateway", "--registry", self.known(), "--key", f"{self.folder}/{key}.key", "--state-dir",
            f"{self.folder}/{name}", "--workers", "1", "--c2s", "127.0.0.1:0", "--c2s-direct", "127.0.0.1:0", "--s2s", "127.0.0.1:0", "--svc",
            "tcp://127.0.0.1:0", "--public-host", "a.example", "--certs", f"{self.folder}/certs", "--resolver", "127.0.0.1:9"], self.env))

    def start_im(self):
        return self.test.start("im", [f"{BUILD}/services/im/ambrosia-im", "--domain", DOMAINS[0], "--registry", self.known(), "--key",
                                      f"{self.folder}/im.key", "--database", f"{self.folder}/im.sqlite"])

    def start_echo(self, name):
        return self.test.start(name, [f"{BUILD}/services/echo/ambrosia-echo", "--domain", DOMAINS[1], "--registry", self.known(), "--key",
                                      f"{self.folder}/echo.key"])

    def log(self, name):
        return f"{self.folder}/{name}.log"

    def address(self, gateway):
        return "127.0.0.1", int(self.ports[gateway]["c2s"])


async def first_steps(c):
    """Keys that are not there yet: told in one line which, taken as soon as they are."""
    c.authorise("gateway")
    for name in ("r1", "r2"):
        c.start_registry(name)
    c.start_gateway("g1")
    line = f"{c.keys['gateway']} gateway"
    c.test.check("a gateway that nobody authorised says the line that is missing", await word_in(c.log("g1"), line))
    c.authorise()
    c.test.check("the line is taken without a signal, and the gateway is in", await word_in(c.log("g1"), "registry - synced"))


async def everywhere(c):
    for name in GATEWAYS[1:]:
        c.start_gateway(name)
    started = {"im": c.start_im(), "e1": c.start_echo("e1"), "e2": c.start_echo("e2")}
    for name, process in started.items():
        await asyncio.get_event_loop().run_in_executor(None, ready, process)
        c.test.check(f"{name} registers once and is linked to all gateways", await word_in(c.log(name), "linked gateways=3"))
    clients = {}
    for gateway in GATEWAYS:
        clients[gateway], how = await login(f"alice@{DOMAINS[0]}/{gateway}", c.passwords["alice"], c.trust, c.address(gateway))
        c.test.check(f"alice logs in at {gateway}", how == "in")
    bob, how = await login(f"bob@{DOMAINS[0]}", c.passwords["bob"], c.trust, c.address("g3"))
    clients["g1"].send_message(f"bob@{DOMAINS[0]}", "across")
    c.test.check("a message from g1 reaches a client at g3", await arrives(bob, (f"alice@{DOMAINS[0]}", "across")))
    for client in (*clients.values(), bob):
        client.disconnect()
    await asyncio.sleep(0)


async def story(c):
    await first_steps(c)
    await everywhere(c)


def main():
    test = Test("live.cluster")
    cluster = Cluster(test)
    run(test, story(cluster))
    for name in ("im", "e1", "e2", *GATEWAYS, "r1", "r2"):
        test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.finish()


main()
