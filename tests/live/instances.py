#!/usr/bin/env python3
"""Two instances of the IM service on one PostgreSQL hold one domain by hash: users of different instances see and write to each other, also
when one instance dies."""
import asyncio
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from postgres import Postgres  # noqa: E402
from slixmpp.exceptions import IqError  # noqa: E402
from stack import BUILD, Test, accounts, arrives, login, ready, run, word_in  # noqa: E402

DOMAIN, ELSEWHERE = "localhost", "echo.example"
USERS = [f"user{i}" for i in range(16)]   # so many that each instance has some


def instance_of(test, user):
    """Where the user's last session was opened."""
    found = {}
    for name in ("im1", "im2", "im3"):
        if not os.path.exists(f"{test.folder}/{name}.log"):
            continue
        for line in open(f"{test.folder}/{name}.log", errors="replace"):
            if f" session jid={user}@{DOMAIN}/" in line:
                found[line.split()[0]] = name
    return found[max(found)] if found else None


async def sees(client, who, kind, seconds=30):
    """Waits until this client has a presence of that type from somebody."""
    for _ in range(seconds * 10):
        if (who, kind) in client.presences:
            client.presences.remove((who, kind))
            return True
        await asyncio.sleep(0.1)
    print(f"   {client.boundjid.bare} has {client.presences}", flush=True)
    return False


async def comes(client, what):
    """Like arrives(), but what an instance had delivered when it was killed may come once more before it."""
    for _ in range(3):
        if await asyncio.wait_for(client.inbox.get(), 30) == what:
            return True
    return False


async def answered(client, jid):
    """Until the user's instance has answered, and so has dealt with what was sent to that user before."""
    try:
        await client.make_iq_get(queryxmlns="http://jabber.org/protocol/disco#info", ito=jid).send(timeout=20)
    except IqError:
        pass


def watch(client):
    client.presences = []
    client.auto_authorize = client.auto_subscribe = None
    for kind in ("available", "unavailable", "subscribe", "subscribed"):
        client.add_event_handler("presence_" + kind, lambda p, kind=kind: client.presences.append((p["from"].bare, kind)))


async def story(test, passwords, ca, address, start):
    clients = {}
    for user in USERS:
        clients[user], how = await login(f"{user}@{DOMAIN}", passwords[user], ca, address)
        watch(clients[user])
        if how != "in":
            raise RuntimeError(f"{user} cannot log in")
    where = {user: instance_of(test, user) for user in USERS}
    test.check(f"users are at both instances: {where}", set(where.values()) == {"im1", "im2"})
    alice = next(user for user in USERS if where[user] == "im1")
    bob = next(user for user in USERS if where[user] == "im2")
    a, b, jid_a, jid_b = clients[alice], clients[bob], f"{alice}@{DOMAIN}", f"{bob}@{DOMAIN}"

    again, how = await login(f"{bob}@{DOMAIN}", passwords[bob], ca, address)
    test.check("a second session of a user is where the first is", how == "in" and instance_of(test, bob) == "im2")
    again.disconnect()
    a.send_message(jid_b, "across")
    test.check("a message reaches a user of the other instance", await arrives(b, (jid_a, "across")))
    b.send_message(a.boundjid.full, "and back")
    test.check("and one back, to a full JID", await arrives(a, (jid_b, "and back")))
    for i in range(50):
        a.send_message(jid_b, f"number {i}")
    test.check("fifty arrive in order, each once", all([await arrives(b, (jid_a, f"number {i}")) for i in range(50)]) and b.inbox.empty())
    for client in (a, b):
        client.send_message(f"x@{ELSEWHERE}", "to and fro")
        test.check("what another domain has for a user arrives, whichever instance it came to", await arrives(client, (f"x@{ELSEWHERE}", "to and fro")))
    a.send_presence(pto=jid_b, ptype="subscribe")
    test.check("a request for subscription arrives", await sees(b, jid_a, "subscribe"))
    b.send_presence(pto=jid_a, ptype="subscribed")
    test.check("its approval does, and with it presence", await sees(a, jid_b, "subscribed") and await sees(a, jid_b, "available"))
    iq = a.make_iq_get(queryxmlns="urn:xmpp:nothing", ito=b.boundjid.full)
    try:
        await iq.send(timeout=20)
        answer = "result"
    except IqError as error:
        answer = error.iq["error"]["condition"]
    test.check("an iq and the error that answers it cross", answer == "feature-not-implemented")
    b.disconnect()
    test.check("a contact that leaves is seen to leave", await sees(a, jid_b, "unavailable"))
    a.send_message(jid_b, "while you were out")
    await answered(a, jid_b)
    b, how = await login(f"{bob}@{DOMAIN}", passwords[bob], ca, address)
    watch(b)
    test.check("a message to a user who is out waits for him", await arrives(b, (jid_a, "while you were out")))

    test.programs["im2"].kill()
    test.programs.pop("im2").wait()
    test.check("the gateway notices that an instance has died", await word_in(f"{test.folder}/gateway.log", "down why="))
    a.send_message(jid_b, "after the fall")
    for _ in range(20):
        b, how = await login(f"{bob}@{DOMAIN}", passwords[bob], ca, address)
        if how == "in":
            break
    test.check("its users log in at the other one", how == "in" and instance_of(test, bob) == "im1")
    test.check("and nothing that was acknowledged is lost", await comes(b, (jid_a, "after the fall")))
    for client in (*clients.values(), b):
        client.disconnect()
    await joins(test, passwords, ca, address, start)
    await asyncio.sleep(0)


def moved(test):
    """Users whom the first instance has sent away."""
    return {line.split("jid=")[1].split("@")[0] for line in open(f"{test.folder}/im1.log", errors="replace") if " moved jid=" in line}


async def joins(test, passwords, ca, address, start):
    """An instance that joins gets its users: the old one sends them."""
    clients, told = {}, {}
    for user in USERS:
        clients[user], how = await login(f"{user}@{DOMAIN}", passwords[user], ca, address)
        clients[user].reconnect = lambda *_, **__: None  # this test logs in again itself
        clients[user].add_event_handler("stream_error", lambda e, user=user: told.setdefault(user, e["condition"]))
    test.check("all users are at the instance that is left", {instance_of(test, user) for user in USERS} == {"im1"})
    ready(await asyncio.get_event_loop().run_in_executor(None, start, "im3"))
    for _ in range(300):
        if moved(test) and moved(test) <= set(told):
            break
        await asyncio.sleep(0.1)
    gone = sorted(moved(test))
    test.check(f"when one joins, some are sent away, told to come back: {gone} {told}", gone != [] and {told.get(user) for user in gone} == {"reset"})
    bob, alice = gone[0], next(user for user in USERS if user != gone[0])
    clients[alice].disconnect()
    a, how = await login(f"{alice}@{DOMAIN}", passwords[alice], ca, address)
    a.send_message(f"{bob}@{DOMAIN}", "on your way")
    b, how = await login(f"{bob}@{DOMAIN}", passwords[bob], ca, address)
    test.check("they log in at the new one", how == "in" and instance_of(test, bob) == "im3")
    test.check("what came meanwhile arrives", await arrives(b, (f"{alice}@{DOMAIN}", "on your way")))
    a.send_message(f"{bob}@{DOMAIN}", "and now")
    test.check("and what comes then", await arrives(b, (f"{alice}@{DOMAIN}", "and now")))
    for client in (*clients.values(), a, b):
        client.disconnect()
    await asyncio.sleep(0)


def main():
    test = Test("live.instances")
    env, passwords = accounts(test, DOMAIN, USERS)
    state = f"{test.folder}/state"
    database = Postgres(test)
    database.start()
    ports = ready(test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", "127.0.0.1:0", "--c2s-direct",
                                         "none", "--s2s", "none", "--s2s-direct", "none", "--svc", "tcp://127.0.0.1:0", "--registry-bind",
                                         "tcp://127.0.0.1:0", "--public-host", DOMAIN, "--certs", f"{test.folder}/none"], env))

    def start(name):
        return test.start(name, [f"{BUILD}/services/im/ambrosia-im", "--domain", DOMAIN, "--state-dir", state, "--policy", "hash",
                                 "--database", f"host={database.folder} user=gateway dbname=postgres"], database.env)

    for name in ("im1", "im2"):
        ready(start(name))
    ready(test.start("echo", [f"{BUILD}/services/echo/ambrosia-echo", "--domain", ELSEWHERE, "--state-dir", state]))
    run(test, story(test, passwords, f"{state}/self-signed.crt", ("127.0.0.1", int(ports["c2s"].rpartition(":")[2])), start), 200)
    for name in ("echo", "im1", "im3", "gateway"):
        test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    database.stop()
    test.finish()


main()
