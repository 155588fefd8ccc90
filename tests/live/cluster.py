#!/usr/bin/env python3
"""A cluster: two registries, three gateways, services of five domains in processes. A service registers once and is reached through each gateway; registries, keys and
gateways come and go under it, and what gateways share is the same at all of them."""
import asyncio
import base64
import collections
import hashlib
import hmac
import os
import re
import ssl
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, arrives, login, run, word_in  # noqa: E402
import fake  # noqa: E402
from cluster import CTL, Cluster, until, wait_ready  # noqa: E402
from registry_view import View  # noqa: E402

A, B, C, SPREAD, HASHED, LATE = "a.example", "b.example", "c.example", "spread.example", "hashed.example", "late.example"
DOMAINS = (A, B, C, SPREAD, HASHED, LATE)
GATEWAYS, REGISTRIES = ("g1", "g2", "g3"), ("r1", "r2")
USERS = [f"user{i}" for i in range(6)]
MEMBERS = {
    "gateway": "gateway", "admin": "admin", "a": f"service {A}:client,server", "b": f"service {B}:client,server", "c": f"service {C}:client,server",
    "many": f"service {SPREAD}:client,server {HASHED}:client,server", "late": f"service {LATE}:client,server",
}
SERVICES = {  # instance: (program, key, flags)
    "im-a": ("im", "a", ("--domain", A)), "im-b": ("im", "b", ("--domain", B)), "echo-c": ("echo", "c", ("--domain", C)),
    "s1": ("im", "many", ("--domain", SPREAD)), "s2": ("im", "many", ("--domain", SPREAD)),
    "h1": ("im", "many", ("--domain", HASHED, "--policy", "hash")), "h2": ("im", "many", ("--domain", HASHED, "--policy", "hash")),
}


def start_service(c, name):
    program, key, flags = SERVICES[name]
    return (c.start_im if program == "im" else c.start_echo)(name, key, *flags)


async def enter(c, user, domain, gateway, resource="", mech=None):
    client, how = await login(f"{user}@{domain}" + (f"/{resource}" if resource else ""), c.passwords[user], c.trust, c.c2s(gateway), mech)
    return client, how == "in"


def leave(*clients):
    for client in clients:
        client.disconnect()


def usage(c):
    """What an operator gets wrong: a line that says what, and the status of wrong usage or of everything else."""
    def once(*command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=c.env)
        return done.returncode, [line for line in done.stderr.splitlines() if not line[:4].isdigit()]

    gateway = f"{BUILD}/gateway/ambrosia-gateway"
    for text in ("nonsense", "tcp://127.0.0.1:1=short", f"tcp://127.0.0.1={'a' * 40}", f"udp://127.0.0.1:5310={'a' * 40}"):
        status, lines = once(gateway, "--registry", text)
        c.test.check(f"--registry {text[:30]}: status 2 and one line", status == 2 and len(lines) == 1 and "tcp://HOST:PORT=KEY" in lines[0])
    with open(f"{c.folder}/broken", "w") as f:
        f.write(f"# serial 1\n{'a' * 40} gateway\n{'b' * 40} servant\n")
    status, lines = once(f"{BUILD}/registry/ambrosia-registry", "--state-dir", f"{c.folder}/r0", "--bind", "tcp://127.0.0.1:0", "--authorized-keys",
                         f"{c.folder}/broken")
    c.test.check("authorised keys with an error: status 1, and a line that names the line", status == 1 and len(lines) == 1 and "broken: line 3: " in lines[0])


async def first_steps(c):
    """A key that is not there yet: told in one line which, taken as soon as it is."""
    c.authorise("gateway")
    for name in REGISTRIES:
        c.start_registry(name)
    c.start_gateway("g1")
    c.test.check("a gateway that nobody authorised logs the line that is missing", await word_in(f"{c.folder}/g1.log", f"{c.keys['gateway']} gateway"))
    c.test.check("and that it has no secrets yet", "SCRAM, dialback and TLS tickets wait" in c.log("g1"))
    c.authorise()
    c.test.check("the line is taken without a signal, and the gateway is in", await word_in(f"{c.folder}/g1.log", "registry - synced"))


async def echoed(c, gateway):
    """A session without a roster, by hand: PLAIN, a resource, a message, and it comes back."""
    header = f"<stream:stream to='{C}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
    secret = base64.b64encode(f"\0alice\0{c.passwords['alice']}".encode()).decode()
    reader, writer = await asyncio.open_connection(c.place(gateway)[1], int(c.ports[gateway]["c2s-direct"]), ssl=context(c), server_hostname=C)
    for text, end in ((f"{header}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>", b"<success"),
                      (f"{header}<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq>", b"</iq>"),
                      (f"<message to='alice@{C}/r' id='2'><body>again</body></message>", b"again</body></message>")):
        writer.write(text.encode())
        await asyncio.wait_for(reader.readuntil(end), 20)
    writer.close()
    return True


async def everywhere(c):
    for name in GATEWAYS[1:]:
        c.start_gateway(name)
    started = {name: start_service(c, name) for name in SERVICES}
    for name, process in started.items():
        await wait_ready(process)
        c.test.check(f"{name} registers once and is linked to all gateways", await word_in(f"{c.folder}/{name}.log", f"gateways={len(GATEWAYS)}"))
    c.test.check("registries and gateways have the same view", await c.same_views(REGISTRIES, GATEWAYS))
    clients = {}
    for domain in (A, B):
        for gateway in GATEWAYS:
            clients[domain, gateway], ok = await enter(c, "alice", domain, gateway, gateway)
            c.test.check(f"alice of {domain} logs in at {gateway}", ok)
    bob, ok = await enter(c, "bob", A, "g3")
    clients[A, "g1"].send_message(f"bob@{A}", "across")
    c.test.check("a message from g1 reaches a client at g3", ok and await arrives(bob, (f"alice@{A}", "across")))
    clients[B, "g2"].send_message(f"bob@{A}", "from b")
    c.test.check("a message of another service's domain from g2 reaches a client at g3", await arrives(bob, (f"alice@{B}", "from b")))
    bob.send_message(f"x@{C}", "back?")
    c.test.check("an answer of a third service's domain comes back", await arrives(bob, (f"x@{C}", "back?")))
    for gateway in GATEWAYS:
        c.test.check(f"a client of {C}, which is no instant messaging service, is echoed at {gateway}", await echoed(c, gateway))
    leave(bob, *clients.values())


async def choice(c):
    """Round robin spreads sessions; by hash all sessions of a user meet at one instance, whatever the gateway."""
    clients = []
    for i, user in enumerate(USERS):
        for domain in (SPREAD, HASHED):
            for gateway in (GATEWAYS[i % 3], GATEWAYS[(i + 1) % 3]):
                client, ok = await enter(c, user, domain, gateway, gateway, "PLAIN")
                clients.append(client)
                if not ok:
                    c.test.check(f"{user}@{domain} logs in at {gateway}", False)
    seen = {name: re.findall(r"session jid=(\S+?)@\S+?/", c.log(name)) for name in ("s1", "s2", "h1", "h2")}
    spread = [len(seen["s1"]), len(seen["s2"])]
    c.test.check(f"round robin: {spread[0]} and {spread[1]} of {len(USERS) * 2} sessions", sum(spread) == len(USERS) * 2 and min(spread) >= 3)
    at = collections.Counter(user for name in ("h1", "h2") for user in set(seen[name]))
    c.test.check(f"hash: {len(seen['h1'])} and {len(seen['h2'])} sessions, and no user at both", len(at) == len(USERS) and set(at.values()) == {1})
    leave(*clients)


# --- what gateways share ------------------------------------------------------------------------------------------------------------------


def context(c):
    made = ssl.create_default_context(cafile=c.trust)
    made.check_hostname = False
    return made


def direct(c, gateway, tls, session=None):
    """A client stream on direct TLS, up to the features: the tickets come with them. (resumed, session)."""
    import socket
    with socket.create_connection((c.place(gateway)[1], int(c.ports[gateway]["c2s-direct"])), 10) as raw:
        with tls.wrap_socket(raw, server_hostname=A, session=session) as s:
            s.sendall(f"<stream:stream to='{A}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>".encode())
            text = b""
            while b"</stream:features>" not in text and (more := s.recv(4096)):
                text += more
            return s.session_reused, s.session


def tickets(c):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        tls = context(c)
        tls.minimum_version = tls.maximum_version = version
        resumed, session = direct(c, "g1", tls)
        c.test.check(f"{version.name}: the first connection is a full handshake", not resumed and session is not None)
        for gateway in ("g2", "g3", "g1"):
            resumed, session = direct(c, gateway, tls, session)
            c.test.check(f"{version.name}: a ticket is resumed at {gateway}", resumed)


async def salt_of(c, gateway, mechanism, user):
    reader, writer = await asyncio.open_connection(c.place(gateway)[1], int(c.ports[gateway]["c2s-direct"]), ssl=context(c), server_hostname=A)
    writer.write((f"<stream:stream to='{A}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
                  f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>"
                  f"{base64.b64encode(f'n,,n={user},r=nonce'.encode()).decode()}</auth>").encode())
    text = (await asyncio.wait_for(reader.readuntil(b"</challenge>"), 20)).decode()
    writer.close()
    challenge = base64.b64decode(re.search(r"<challenge[^>]*>(.*)</challenge>", text).group(1)).decode()
    return re.search(r"s=([^,]+)", challenge).group(1)


def secrets(c):
    """Asked for by each role: a gateway's key alone gets them."""
    told = {}
    for key in ("gateway", "a", "admin"):
        view = View(c.registries["r1"], f"{c.folder}/{key}.key")
        told[key] = view.nr_secrets()
        view.close()
    c.test.check(f"secrets are for gateways, not for services and administrators: {told}", told == {"gateway": 3, "a": 0, "admin": 0})
    refused = [line for line in c.log("r1").splitlines() if "what=secrets" in line]
    c.test.check("and the registry says who asked", all(any(c.keys[key] in line for line in refused) for key in ("a", "admin")))


async def salts(c):
    for user in ("alice", "nobody"):
        got = {await salt_of(c, gateway, "SCRAM-SHA-256", user) for gateway in GATEWAYS}
        c.test.check(f"SCRAM: one salt for {user} at all gateways", len(got) == 1)


def derived(master, label, slot):
    """HKDF, RFC 5869, as PROTOCOL.md section 19 has it: 32 bytes."""
    key = hmac.new(b"ambrosia", master, hashlib.sha256).digest()
    return hmac.new(key, label + struct.pack(">Q", slot) + b"\x01", hashlib.sha256).digest()


def dialback_key(secret, receiving, originating, stream):
    """XEP-0185."""
    return hmac.new(hashlib.sha256(secret).hexdigest().encode(), f"{receiving} {originating} {stream}".encode(), hashlib.sha256).hexdigest()


async def dialback(c):
    """Asked for a key of each slot that is valid, and of one that is not; made elsewhere, from the operator's master."""
    master, slot = open(f"{c.folder}/master", "rb").read(), time.time_ns() // 1000000 // 7200000
    for gateway in GATEWAYS:
        asker = await fake.Dialler("remote.example", A).open((c.place(gateway)[1], int(c.ports[gateway]["s2s"])), context(c))
        told = []
        for number in (slot, slot - 1, slot + 1, slot - 3):
            key = dialback_key(derived(master, b"dialback", number), "remote.example", A, "an-id")
            answer = await asker.ask(f"<db:verify from='remote.example' to='{A}' id='an-id'>{key}</db:verify>")
            told.append(answer.get("type"))
        asker.close()
        c.test.check(f"{gateway} verifies dialback keys of this time slot and its neighbours: {told}", told == ["valid", "valid", "valid", "invalid"])


# --- registries, keys and gateways that go ------------------------------------------------------------------------------------------------


async def traffic(c, sender, receiver, stop):
    """Messages one after the other, each waited for, and logins; how many of each went well, and how many did not."""
    good, bad, logins, failed = 0, 0, 0, 0
    while not stop.is_set():
        sender.send_message(receiver.boundjid.bare, f"number {good + bad}")
        if await arrives(receiver, (sender.boundjid.bare, f"number {good + bad}"), 10):
            good += 1
        else:
            bad += 1
        if good % 5 == 0:
            client, ok = await enter(c, "carol", A, GATEWAYS[good // 5 % 3], "", "PLAIN")
            logins, failed = logins + ok, failed + (not ok)
            leave(client)
        await asyncio.sleep(0.02)
    return good, bad, logins, failed


def redirect(c, *words):
    """What ambrosiactl says, "" if it fails."""
    done = subprocess.run([CTL, "--registry", c.known(), "--key", f"{c.folder}/admin.key", "redirect", *words], capture_output=True, text=True, timeout=60)
    return done.stdout if done.returncode == 0 else ""


async def redirects_kept(c):
    """One that lasts and one that is removed, both on the disks of both registries: everything else has somebody who announces it again."""
    def kept(*names):
        texts = [open(path, "rb").read() if os.path.exists(path) else b"" for path in (f"{c.folder}/{name}/redirects" for name in REGISTRIES)]
        return all(name.encode() in text for name in names for text in texts), texts

    redirect(c, "set", f"roaming@{A}", "gw9.example", "--for", "600")
    redirect(c, "set", f"home@{A}", "gw9.example", "--for", "600")
    c.test.check("redirects are on the registries' disks", await until(lambda: kept(f"roaming@{A}", f"home@{A}")[0]))
    before = kept()[1]
    redirect(c, "remove", f"home@{A}")
    c.test.check("and so is a removal", await until(lambda: all(old != new for old, new in zip(before, kept()[1]))))


async def registries_die(c):
    alice, _ = await enter(c, "alice", A, "g1")
    bob, _ = await enter(c, "bob", A, "g2")
    stop = asyncio.Event()
    task = asyncio.ensure_future(traffic(c, alice, bob, stop))
    await redirects_kept(c)
    for which in (("r1",), ("r2",), REGISTRIES):
        marks = {gateway: len(c.log(gateway)) for gateway in GATEWAYS}
        for name in which:
            c.kill(name)
        # until the silence has been noticed: what follows is not the first moment's luck
        for gateway in GATEWAYS:
            c.test.check(f"{gateway} notices that {' and '.join(which)} is silent",
                         await until(lambda: c.log(gateway)[marks[gateway]:].count("is silent") >= len(which)))
        for name in which:
            c.start_registry(name)
        c.test.check(f"{' and '.join(which)} came back empty, and soon all views are the same", await c.same_views(REGISTRIES, GATEWAYS))
    c.test.check("a redirect has outlived all registries, and a removed one is gone",
                 [word for word in redirect(c, "list").split() if "@" in word] == [f"roaming@{A}"])
    stop.set()
    good, bad, logins, failed = await task
    c.test.check(f"meanwhile {good} messages and {logins} logins went well", good > 20 and logins > 4)
    c.test.check(f"{bad} messages and {failed} logins did not", bad == failed == 0)
    c.test.check("no link was lost", not any("link to gateway" in c.log(name) and " ended: " in c.log(name) for name in SERVICES))
    leave(alice, bob)


async def newcomers(c):
    """A gateway of two workers, which are two gateways to services, and a service that start while one registry is down."""
    c.kill("r1")
    c.start_gateway("g4", "--workers", "2")
    process = c.start_im("late", "late", "--domain", LATE)
    await wait_ready(process)
    c.test.check("a service that starts while r1 is down is linked to every worker of all gateways", await word_in(f"{c.folder}/late.log", "gateways=5"))
    for gateway in ("g1", "g4"):
        client, ok = await enter(c, "alice", LATE, gateway, "", "PLAIN")
        c.test.check(f"its domain is served at {gateway}", ok)
        leave(client)
    c.start_registry("r1")
    c.test.check("r1 is back, and knows them too", await c.same_views(REGISTRIES, (*GATEWAYS, "g4")))


async def key_removed(c):
    marks = {gateway: len(c.log(gateway)) for gateway in GATEWAYS}
    since = time.monotonic()
    c.authorise("late")
    cut = [await until(lambda: "no longer authorised" in c.log(gateway)[marks[gateway]:], 5) for gateway in GATEWAYS]
    c.test.check(f"a removed key's links are cut at every gateway, after {1000 * (time.monotonic() - since):.0f} ms", all(cut))
    c.test.check("its registrations are gone from every view", await until(
        lambda: all(not any(name == LATE for _, name, _ in c.registry_view(r)[1]) for r in REGISTRIES)))
    c.test.check("the service is told", await word_in(f"{c.folder}/late.log", "does not know the key"))
    c.test.check("nobody else lost more than a moment's news", await c.same_views(REGISTRIES, GATEWAYS))


async def gateway_restarts_alone(c):
    """No registry is there, and a gateway starts: it works by what it kept on disk."""
    c.test.check("the directory is on disk, for its owner only", await until(
        lambda: os.path.exists(f"{c.folder}/g2/directory") and os.stat(f"{c.folder}/g2/directory").st_mode & 0o777 == 0o600))
    for name in REGISTRIES:
        c.kill(name)
    c.kill("g2")
    mark = len(c.log("g2"))
    c.start_gateway("g2")
    c.test.check("it reads what it kept", "registry - kept" in c.log("g2")[mark:])
    c.test.check("services find it at its old place", await until(lambda: c.log("g2")[mark:].count(" up service=") >= len(SERVICES)))
    alice, ok = await enter(c, "alice", A, "g2", "", "PLAIN")
    bob, _ = await enter(c, "bob", A, "g1", "", "PLAIN")
    alice.send_message(f"bob@{A}", "alone")
    c.test.check("alice logs in there and is heard elsewhere", ok and await arrives(bob, (f"alice@{A}", "alone")))
    reader, writer = await asyncio.open_connection(c.place("g2")[1], int(c.ports["g2"]["c2s-direct"]), ssl=context(c), server_hostname=A)
    writer.write(f"<stream:stream to='{A}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>".encode())
    features = await asyncio.wait_for(reader.readuntil(b"</stream:features>"), 20)
    writer.close()
    c.test.check("without secrets it offers no SCRAM", b"PLAIN" in features and b"SCRAM" not in features)
    for name in REGISTRIES:
        c.start_registry(name)
    c.test.check("with a registry the secrets come", await until(lambda: "secrets registry=" in c.log("g2")[mark:]))
    carol, ok = await enter(c, "carol", A, "g2", "", "SCRAM-SHA-256-PLUS")
    c.test.check("and SCRAM with them", ok)
    c.test.check("one link to it from each service, and all views are the same", await c.same_views(REGISTRIES, GATEWAYS))
    leave(alice, bob, carol)


async def story(c):
    usage(c)
    await first_steps(c)
    await everywhere(c)
    await choice(c)
    await asyncio.get_event_loop().run_in_executor(None, tickets, c)
    secrets(c)
    await salts(c)
    await dialback(c)
    await registries_die(c)
    await newcomers(c)
    await key_removed(c)
    await gateway_restarts_alone(c)
    await asyncio.sleep(0)


def main():
    test = Test("live.cluster")
    c = Cluster(test, DOMAINS, ("alice", "bob", "carol", *USERS), MEMBERS)
    for domain, users in ((B, ("alice",)), (C, ("alice",)), (LATE, ("alice",)), (SPREAD, USERS), (HASHED, USERS)):
        for user in users:
            c.account(user, domain, c.passwords[user])
    run(test, story(c), 400)
    for name in [*SERVICES, "late", "g4", *GATEWAYS, *REGISTRIES]:
        if name in test.programs:
            test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.finish()


main()
