#!/usr/bin/env python3
"""An instance dies, and its registration said failover=reopen: clients without stream management notice nothing. Their sessions go on at another instance, which gets
what they had sent and nobody had acknowledged, marked as a possible repetition if it had left for the dead one. Who can resume, who is given another session, and whose
instance was not registered so, is told to come back."""
import asyncio
import os
import signal
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from by_hand import ByHand  # noqa: E402
from stack import BUILD, HERE, Test, accounts, authority, certificate, ready, run, word_in  # noqa: E402

USER = "juliet"
# Of each domain: how its first instance is registered, and what the second is.
DOMAINS = {"echo.example": ("reopen", "echo"), "python.example": ("reopen", "echo"), "marks.example": ("reopen", "as-asked"), "another.example": ("reopen", "elsewhere"),
           "full.example": ("reopen", "refuse"), "close.example": ("close", "as-asked")}
DIES = "<stream:error><system-shutdown"


class Talker(ByHand):
    """Numbered messages to somebody whom nobody knows, which the service sends back."""

    def send(self, *numbers):
        for n in numbers:
            self.say(f"<message to='x@{self.domain}' id='m{n}' type='chat'><body>{n}</body></message>")

    async def back(self, *numbers, seconds=20):
        """These are the next messages, and nothing else comes between them."""
        for n in numbers:
            found = await self.hear("<([a-z:]+)[^>]*>(?:<body>([0-9]*)</body>)?", seconds)
            if not found or found.group(1, 2) != ("message", str(n)):
                print(f"   {found and found.group(0)!r} instead of {n}", flush=True)
                return False
        return True


class Story:
    def __init__(self, test, state, ports, password):
        self.test, self.state, self.ports, self.password = test, state, ports, password
        self.trust, self.told = f"{test.folder}/authority.pem", {}

    async def enter(self, domain, resource):
        client = await Talker(domain, ("127.0.0.1", self.ports["c2s-direct"]), self.trust).open()
        if not await client.login(USER, self.password):
            raise RuntimeError(f"{domain}: no login")
        jid = await client.bind(resource)
        self.test.check(f"{domain}: {resource} is in", jid and jid.group(1) == f"{USER}@{domain}/{resource}")
        client.send(1)
        self.test.check(f"{domain}: {resource} has its echo", await client.back(1))
        return client

    async def start(self, name, args):
        process = self.test.start(name, args)
        await asyncio.get_event_loop().run_in_executor(None, ready, process)
        return process

    async def start_echo(self, name, domain, failover):
        if name == "first python.example":
            program = ["/usr/bin/python3", os.path.join(HERE, "..", "..", "..", "services", "echo", "echo.py")]
        else:
            program = [f"{BUILD}/services/echo/ambrosia-echo", "--types", "client"]
        return await self.start(name, [*program, "--state-dir", self.state, "--domain", domain, "--failover", failover])

    async def start_second(self, domain, kind):
        if kind == "echo":
            await self.start_echo(f"second {domain}", domain, "reopen")
            return
        process = await self.start(f"second {domain}", [f"{BUILD}/tests/live/heir", self.state, domain, kind])
        self.told[domain] = []
        asyncio.get_event_loop().run_in_executor(None, lambda: self.told[domain].extend(line.decode().rstrip() for line in process.stdout))

    def kill(self, name):
        process = self.test.programs.pop(name)
        process.kill()
        process.wait()

    async def heard(self, domain, word):
        for _ in range(600):
            if any(word in line for line in self.told[domain]):
                return True
            await asyncio.sleep(0.05)
        return False

    def reopened(self):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http']}/metrics", timeout=20).read().decode()
        return int(float(next(line for line in text.splitlines() if line.startswith("ambrosia_sessions_reopened_total")).split()[-1]))

    async def before(self):
        """Every client is at the first instance of its domain; what it says last reaches that one's machine, and nobody looks at it."""
        for domain, (failover, _) in DOMAINS.items():
            await self.start_echo(f"first {domain}", domain, failover)
        clients = {domain: await self.enter(domain, "plain") for domain in DOMAINS}
        resumable = await self.enter("echo.example", "resumable")
        self.test.check("one has stream management", await resumable.enable())
        for domain, (_, second) in DOMAINS.items():
            await self.start_second(domain, second)
        live = await self.start_echo("live", "live.example", "close")
        witness = await self.enter("live.example", "witness")
        for domain in DOMAINS:
            self.test.programs[f"first {domain}"].send_signal(signal.SIGSTOP)
        for client in clients.values():
            client.send(2, 3, 4)
        # The gateway reads in turns and sends at the end of each: with the witness's echo, the others' have left.
        witness.send(2)
        self.test.check("what they said has left for the instances that do not look", live and await witness.back(2))
        return clients, resumable

    async def after(self, clients, resumable):
        for domain in DOMAINS:
            self.kill(f"first {domain}")
        log = f"{self.test.folder}/gateway.log"
        self.test.check("the gateway notices that links are gone", await word_in(log, "down why="))
        for _ in range(600):
            if open(log, errors="replace").read().count(" down why=") == len(DOMAINS):
                break
            await asyncio.sleep(0.05)
        for client in clients.values():
            client.send(5)
        echo, marks = clients["echo.example"], clients["marks.example"]
        self.test.check("a session goes on at another instance", await echo.back(2, 3, 4, 5, seconds=40))
        self.test.check("also when it was a service without the library", await clients["python.example"].back(2, 3, 4, 5, seconds=40))
        echo.send(6, 7)
        self.test.check("and on", await echo.back(6, 7))
        self.test.check("where the other one can tell, too", await marks.back(2, 3, 4, 5, seconds=40))
        marks.send(6)
        self.test.check("and what is said then is sent back", await marks.back(6))
        await self.heard("marks.example", "<body>6</body>")     # a thread reads what the instance prints
        seen = [line.split("<body>")[0].split()[1] + line.split("<body>")[1][0] for line in self.told["marks.example"] if line.startswith("stanza")]
        self.test.check(f"what had left is marked, and that alone: {seen}", seen == ["repeated2", "repeated3", "repeated4", "new5", "new6"])
        self.test.check("who can resume is told to come back", await resumable.hear(DIES, 40))
        self.test.check("so is who would get another session", await clients["another.example"].hear(DIES, 40))
        self.test.check("so is who gets none", await clients["full.example"].hear(DIES, 40))
        self.test.check("so are clients of an instance without failover=reopen", await clients["close.example"].hear(DIES, 40))
        for domain, told in (("another.example", f"closed {USER}@another.example/another"), ("full.example", "open")):
            self.test.check(f"{domain}: it was asked", await self.heard(domain, told))
            self.test.check(f"{domain}: no stanza went there", not any(line.startswith("stanza") for line in self.told[domain]))
        self.test.check("close.example: it was not asked", not self.told["close.example"])
        self.test.check("three sessions were reopened", self.reopened() == 3)

    async def again(self, client):
        """The second one dies as well; then the client turns stream management on."""
        await self.start_echo("third", client.domain, "reopen")
        self.kill(f"second {client.domain}")
        client.send(8, 9)
        self.test.check("another death, another instance", await client.back(8, 9, seconds=40))
        self.test.check("that makes four", self.reopened() == 4)
        self.test.check("stream management begins there", await client.enable())
        client.send(10)
        self.test.check("an echo more", await client.back(10))
        client.acknowledge(1)
        client.say("<r xmlns='urn:xmpp:sm:3'/>")
        self.test.check("and the count is right", await client.acknowledged(1))

    async def play(self):
        clients, resumable = await self.before()
        await self.after(clients, resumable)
        await self.again(clients["echo.example"])
        for client in clients.values():
            client.close()


def main():
    test = Test("live.reopen")
    names = (*DOMAINS, "live.example")
    env, passwords = accounts(test, names[0], (USER,))
    for domain in names[1:]:
        subprocess.run(["saslpasswd2", "-p", "-c", "-f", f"{test.folder}/sasldb2", "-u", domain, USER], input=passwords[USER].encode(), check=True, env=env)
    authority(test.folder, "authority")
    for domain in names:
        certificate(test.folder, "authority", domain, f"{test.folder}/certs")
    state = f"{test.folder}/state"
    ports = ready(test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", "none", "--c2s-direct", "127.0.0.1:0", "--s2s", "none",
                                         "--svc", "tcp://127.0.0.1:0", "--registry-bind", "tcp://127.0.0.1:0", "--public-host", "gw.example",
                                         "--certs", f"{test.folder}/certs", "--workers", "1", "--http", "127.0.0.1:0"], env))
    ports = {name: int(value.rpartition(":")[2]) for name, value in ports.items() if value.rpartition(":")[2].isdigit()}
    run(test, Story(test, state, ports, passwords[USER]).play(), 200)
    for name in ("third", "live", "gateway", *(f"second {domain}" for domain, (_, kind) in DOMAINS.items() if kind != "echo")):
        test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.finish()


main()
