#!/usr/bin/env python3
"""Virtual domains by the hundred: one service registers 300 of them for clients and servers, behind two gateways. A few are used in every way: clients, stanzas between them,
to and from a remote server, and from another service of the cluster, which never leave by the network and are acknowledged by the far service and nobody before."""
import asyncio
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, arrives, certificate, login, run  # noqa: E402
import fake  # noqa: E402
import namespace  # noqa: E402
import peers  # noqa: E402
from cluster import CTL, Cluster, until, wait_ready  # noqa: E402
from peers import THEIR_ADDRESS, THEIRS  # noqa: E402

HOSTED = [f"d{i}.hosted.example" for i in range(1, 301)]
USED = [HOSTED[0], HOSTED[149], HOSTED[299]]
OTHER, GATEWAYS = "other.example", ("g1", "g2")
MEMBERS = {"gateway": "gateway", "admin": "admin", "hosting": "service *.hosted.example:client,server", "other": f"service {OTHER}:client,server"}
NUMBERED = 200      # of the other service; fewer than the library keeps unacknowledged
TRAP = "127.0.0.3"  # where DNS says that the hosted domains are


def memory(process):
    """Of a process, in MiB: what it alone needs, and its part of what is shared."""
    for line in open(f"/proc/{process.pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024


def known_at(c, gateway):
    """How many registrations of ours the gateway knows, and has a link to."""
    done = subprocess.run([CTL, "--registry", c.known(), "--key", f"{c.folder}/admin.key", "--gateway", c.ports[gateway]["svc"], "--json", "services"],
                          capture_output=True, text=True, timeout=60, env=c.env)
    rows = json.loads(done.stdout) if done.returncode == 0 else []
    return sum(row["linked"] == 1 and row["types"] == "client,server" and row["domain"].endswith(".hosted.example") for row in rows)


async def register(c):
    """The service with all its domains. How long until everybody knows them, and what that costs."""
    names = ("r1", *GATEWAYS)
    before = {name: memory(c.test.programs[name]) for name in names}
    began = time.monotonic()
    im = c.start_im("im", "hosting", *(word for domain in HOSTED for word in ("--domain", domain)))
    await wait_ready(im)
    ready = time.monotonic() - began
    for gateway in GATEWAYS:
        ok = await until(lambda: known_at(c, gateway) == len(HOSTED))
        c.test.check(f"{gateway} knows the {len(HOSTED)} domains, and where they are served", ok)
    print(f"   ready after {ready:.2f} s, known at both gateways after {time.monotonic() - began:.2f} s; MiB: im {memory(im):.1f}, " +
          ", ".join(f"{name} {before[name]:.1f} -> {memory(c.test.programs[name]):.1f}" for name in names), flush=True)


async def clients(c):
    """One of each domain that is used."""
    made = {}
    for i, domain in enumerate(USED):
        made[domain], how = await login(f"alice@{domain}", c.passwords["alice"], c.trust, c.c2s(GATEWAYS[i % 2]), "PLAIN")
        c.test.check(f"alice of {domain} logs in", how == "in")
    stranger, how = await login(f"alice@{HOSTED[7]}", "wrong", c.trust, c.c2s("g1"), "PLAIN")
    c.test.check("at a domain without accounts nobody does", how == "failed")
    stranger.disconnect()
    for a, b in zip(USED, USED[1:] + USED[:1]):
        made[a].send_message(f"alice@{b}", f"from {a}")
        c.test.check(f"a message from {a} reaches {b}", await arrives(made[b], (f"alice@{a}", f"from {a}")))
    return made


async def federate(c, pki, remote, made):
    for domain, client in made.items():
        client.send_message(f"romeo@{THEIRS}", f"from {domain}")
    came = [await asyncio.wait_for(remote.stanzas.get(), 30) for _ in made]
    c.test.check("what each sends to another server arrives, as from its own domain", sorted(e.get("from").partition("/")[0] for e in came) ==
                 sorted(f"alice@{domain}" for domain in made))
    for domain, client in made.items():
        caller = await fake.Dialler(THEIRS, domain).open((c.place("g1")[1], int(c.ports["g1"]["s2s"])), pki.context(False, THEIRS))
        shown = caller.wire.writer.get_extra_info("ssl_object").getpeercert()["subjectAltName"]
        c.test.check(f"{domain} shows a certificate of its own {shown}", shown == (("DNS", domain if domain == USED[0] else "*.hosted.example"),))
        c.test.check(f"{domain} takes the caller's", await caller.external() is None)
        caller.wire.send(f"<message from='romeo@{THEIRS}' to='alice@{domain}'><body>to {domain}</body></message>")
        c.test.check(f"and what comes for {domain} arrives", await arrives(client, (f"romeo@{THEIRS}", f"to {domain}")))
        caller.close()


async def inside(c, made, trap):
    """From another service: through the directory, and acknowledged by the service at the far end only."""
    target = USED[1]
    sender = c.test.start("sender", [f"{BUILD}/tests/live/sender", c.known(), f"{c.folder}/other.key", OTHER, f"alice@{target}", "n", str(NUMBERED), str(NUMBERED)],
                          c.env, stdin=subprocess.PIPE)
    await wait_ready(sender)
    await until(lambda: c.log("sender").count("linked gateways") >= len(GATEWAYS))
    im = c.test.programs["im"]
    im.send_signal(signal.SIGSTOP)
    told = asyncio.get_event_loop().run_in_executor(None, sender.stdout.readline)
    sender.stdin.write(b"go\n")
    sender.stdin.flush()
    c.test.check("while the far service stands still, nothing is acknowledged", not await settles(told, 2))
    im.send_signal(signal.SIGCONT)
    line = (await asyncio.wait_for(told, 30)).decode().strip()
    c.test.check(f"when it goes on, all {NUMBERED} are, in order: {line}", line == f"done delivered={NUMBERED} undeliverable=0 twice=0 disorder=0")
    came = [await asyncio.wait_for(made[target].inbox.get(), 30) for _ in range(NUMBERED)]
    c.test.check("and they are with its client, in order", came == [(OTHER, str(i)) for i in range(1, NUMBERED + 1)])
    c.test.check("no connection left for it, though DNS says where the domain would be", trap.nr_connections == 0)


async def settles(future, seconds):
    try:
        await asyncio.wait_for(asyncio.shield(future), seconds)
        return True
    except asyncio.TimeoutError:
        return False


async def story(c, pki):
    remote = await fake.Server(THEIRS, pki.context(True, THEIRS), features=fake.EXTERNAL).start(THEIR_ADDRESS)
    trap = await fake.Server(USED[1], pki.context(True, USED[1])).start(TRAP)
    peers.start_dns(c.test, [peers.host("fake.example", THEIR_ADDRESS), peers.srv(THEIRS, "fake.example", remote.port), peers.host("trap.example", TRAP),
                             *(peers.srv(domain, "trap.example", trap.port) for domain in USED)])
    c.authorise()
    c.start_registry("r1")
    for name in GATEWAYS:
        c.start_gateway(name)
    await register(c)
    made = await clients(c)
    await federate(c, pki, remote, made)
    await inside(c, made, trap)
    for client in made.values():
        client.disconnect()


def main():
    namespace.enter()
    test = Test("live.virtual")
    c = Cluster(test, [USED[0]], ["alice"], MEMBERS)
    for domain in USED[1:]:
        c.account("alice", domain, c.passwords["alice"])
    pki = fake.Pki(test.folder)
    certificate(test.folder, "our-ca", USED[0], f"{test.folder}/certs")    # one has its own, the others share one
    certificate(test.folder, "our-ca", "hosted.example", f"{test.folder}/certs", san="*.hosted.example")
    c.trust = f"{test.folder}/our-ca.pem"
    c.env = dict(c.env, SSL_CERT_FILE=c.trust, SSL_CERT_DIR=f"{test.folder}/none")
    run(test, story(c, pki), 120)
    test.finish()


main()
