#!/usr/bin/env python3
"""An administrator's view and hand: every command of ambrosiactl against a gateway of two workers, services and clients that run."""
import asyncio
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, accounts, arrives, authority, certificate, login, ready, run  # noqa: E402

DOMAIN = "admin.example"


class Ctl:
    """ambrosiactl on a state folder: exit status, standard output, standard error."""

    def __init__(self, test, state):
        self.test, self.base = test, [f"{BUILD}/services/ctl/ambrosiactl", "--state-dir", state]

    def __call__(self, *args):
        done = subprocess.run(self.base + list(args), capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def rows(self, *args):
        """The JSON answer of a command that must succeed."""
        status, out, err = self(*args, "--json")
        if status != 0:
            print(f"   {args}: status {status}: {err}", flush=True)
        return json.loads(out) if status == 0 else []

    def fails(self, what, status, words, *args):
        got, _, err = self(*args)
        ok = got == status and words in err and err.count("\n") >= 1
        if not ok:
            print(f"   {args}: status {got}: {err}", flush=True)
        self.test.check(what, ok)


async def until(holds, seconds=20):
    for _ in range(seconds * 20):
        if holds():
            return True
        await asyncio.sleep(0.05)
    return False


def usage(ctl):
    ctl.fails("no command: status 2 and a line", 2, "no command")
    ctl.fails("an unknown command: status 2", 2, "unknown command", "frobnicate")
    ctl.fails("arguments too many: status 2", 2, "other arguments", "status", "now")
    ctl.fails("a gateway that is not there: status 1, by name", 1, "nowhere.example", "status", "--gateway", "nowhere.example")
    ctl.fails("an address that is none: every gateway says so", 1, "jid is no address", "streams", "--jid", "@")
    ctl.fails("a role that is none", 1, "role is c2s, s2s-in or s2s-out", "streams", "--role", "king")


def keys(test, ctl, state):
    path = f"{test.folder}/new.key"
    status, out, _ = ctl("keygen", path)
    test.check("keygen prints the public key and keeps the file private",
               status == 0 and len(out.strip()) == 40 and out.strip() in open(path).read() and os.stat(path).st_mode & 0o777 == 0o600)
    ctl.fails("keygen never writes over a file", 1, "must not be there yet", "keygen", path)
    ctl.fails("a key that the registry does not know", 1, "does not know the key", "status", "--key", path)
    ctl.fails("a service's key is refused by name", 1, "the key does not have the role admin", "status", "--key", f"{state}/service.key")


def views(test, ctl):
    rows = ctl.rows("status")
    test.check("status: both workers, ready, with the service",
               len(rows) == 2 and all(r["state"] == "ready" and r["services"] == 1 and r["public-host"] == DOMAIN for r in rows))
    test.check("status: one client is established", sum(r["clients"] for r in rows) == 1)
    test.check("gateways: both, linked", [g["linked"] for g in ctl.rows("gateways")] == [True, True])
    services = ctl.rows("services")
    test.check("services: the registration, seen and linked everywhere",
               [(s["domain"], s["seen"], s["linked"], s["streams"]) for s in services] == [(DOMAIN, 2, 2, 1)])
    test.check("services: none of another domain", ctl.rows("services", "--domain", "other.example") == [])
    status, out, _ = ctl("status")
    test.check("a table: titles and a row for each worker", status == 0 and len(out.splitlines()) == 3 and out.startswith("HOST"))


def fetch(port, path):
    """(status, body) of a GET"""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read().decode()


class Metrics:
    """One scrape."""

    def __init__(self, port):
        self.status, self.text = fetch(port, "/metrics")
        self.values = {}
        for line in self.text.splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                self.values[name] = float(value)

    def __getitem__(self, name):
        return self.values[name]


def metrics(test, port):
    """Before anything happened that the story counts: the format, as promtool reads it, and no series twice."""
    m = Metrics(port)
    checked = subprocess.run(["promtool", "check", "metrics"], input=m.text, capture_output=True, text=True, timeout=60)
    test.check("promtool finds nothing wrong with /metrics", m.status == 200 and checked.returncode == 0 and not checked.stdout + checked.stderr)
    names = [line.rsplit(" ", 1)[0] for line in m.text.splitlines() if not line.startswith("#")]
    test.check("no series comes twice", len(names) == len(set(names)) and len(names) > 100)
    test.check("/healthz: ready", fetch(port, "/healthz") == (200, '{"state": "ready", "workers": 2, "draining": 0}\n'))
    test.check("anything else: 404", fetch(port, "/favicon.ico")[0] == 404)
    return m


def counted(test, before, after):
    def rise(name):
        return after[name] - before[name]

    test.check("a login was counted by mechanism and result",
               rise('ambrosia_logins_total{mechanism="PLAIN",result="success"}') == 1
               and rise('ambrosia_logins_total{mechanism="PLAIN",result="failure"}') == 0)
    test.check("a message was counted in and out", rise('ambrosia_stanzas_total{direction="in"}') >= 1
               and rise('ambrosia_stanzas_total{direction="out"}') >= 1)
    test.check("bytes were counted both ways", rise('ambrosia_stream_bytes_total{direction="in"}') > 100
               and rise('ambrosia_stream_bytes_total{direction="out"}') > 100)
    test.check("two clients are established", after['ambrosia_streams{role="c2s",state="established"}'] == 2)
    test.check("acknowledgements were timed", rise("ambrosia_ack_delay_seconds_count") >= 1
               and after['ambrosia_ack_delay_seconds_bucket{le="10"}'] == after["ambrosia_ack_delay_seconds_count"])
    test.check("the link's queue was looked at", rise("ambrosia_link_queue_bytes_count") >= 1)
    test.check("the directory is fresh, the certificate good for a day",
               after["ambrosia_directory_age_seconds"] < 30 and after[f'ambrosia_certificate_left_seconds{{name="{DOMAIN}"}}'] > 86400)


async def long_lists(test, ctl, state, port):
    """Lists that a link does not take at once: they come in pieces, whole."""
    names = [f"d{i}.long.example" for i in range(300)]
    ready(test.start("echo", [f"{BUILD}/services/echo/ambrosia-echo", "--state-dir", state] + [a for n in names for a in ("--domain", n)]))

    def seen():
        return [s for s in ctl.rows("services") if s["domain"].endswith(".long.example") and s["linked"] == 2]

    test.check("300 registrations are listed, each once, by both workers", await until(lambda: len(seen()) == 300)
               and sorted(s["domain"] for s in seen()) == sorted(names))
    test.stop("echo")
    knocking = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(100)]

    def waiting():
        return [r for r in ctl.rows("streams", "--role", "c2s") if r["state"] == "wait_stream"]

    test.check("100 connections that say nothing are listed, each once", await until(lambda: len(waiting()) == 100)
               and len({r["id"] for r in waiting()}) == 100)
    for connection in knocking:
        connection.close()
    test.check("and gone when they are", await until(lambda: not waiting()))


async def ended(client, seconds=20):
    """Waits for a client's stream to end: the condition of the stream error that it was told, or None."""
    try:
        return await asyncio.wait_for(client.ended, seconds)
    except asyncio.TimeoutError:
        return "nothing"


def watch_end(client):
    """client.ended: a future for the stream error's condition, or None when the stream ends without one."""
    client.ended = asyncio.get_event_loop().create_future()

    def settle(value):
        if not client.ended.done():
            client.ended.set_result(value)

    client.add_event_handler("stream_error", lambda e: settle((e["condition"], e["text"])))
    client.add_event_handler("disconnected", lambda _: settle(None))
    client.auto_reconnect = False


async def kicks(test, ctl, alice, bob):
    ctl.fails("kick whom? status 2", 2, "kick whom", "kick")
    ctl.fails("kick with a condition that is none", 1, "RFC 6120", "kick", f"alice@{DOMAIN}", "--condition", "bored")
    ctl.fails("kick a stream that is not there", 1, "no stream 12345678:1", "kick", "12345678:1")
    kicked = ctl.rows("kick", f"nobody@{DOMAIN}")
    test.check("kick nobody: nobody is kicked", sum(r["kicked"] for r in kicked) == 0)
    kicked = ctl.rows("kick", f"alice@{DOMAIN}", "--condition", "conflict", "--text", "see the operator")
    test.check("kick by JID: one stream", sum(r["kicked"] for r in kicked) == 1)
    test.check("alice is told the condition and the text", await ended(alice) == ("conflict", "see the operator"))
    stream = next(r["id"] for r in ctl.rows("streams", "--jid", f"bob@{DOMAIN}"))
    status, out, _ = ctl("kick", stream)
    test.check("kick by the stream's id", status == 0 and out == "kicked 1 stream\n")
    test.check("bob is told policy-violation", (await ended(bob) or ("", ""))[0] == "policy-violation")


async def blocks(test, ctl, enter):
    ctl.fails("block what is no target", 1, "no address", "block", "10.0.0.1/8")
    ctl.fails("block a domain of our own", 1, "one of this cluster", "block", DOMAIN)
    ctl.fails("and however it is written", 1, "one of this cluster", "block", DOMAIN.upper())
    ctl.fails("unblock what is not blocked", 1, "not blocked here", "unblock", "192.0.2.0/24")
    test.check("no blocks at first", ctl.rows("block") == [])
    test.check("block a range, a domain, and one for a while",
               [ctl(*c)[0] for c in (("block", "192.0.2.0/24"), ("block", "*.spam.example"), ("block", "2001:db8::/32", "--for", "3600"))] == [0, 0, 0])
    listed = ctl.rows("block")
    test.check("they are listed, at both workers, with the time that is left",
               [(r["target"], r["workers"]) for r in listed] == [("*.spam.example", 2), ("192.0.2.0/24", 2), ("2001:db8::/32", 2)]
               and 3590 < listed[2]["seconds"] <= 3600)
    alice = await enter("alice")
    status, out, _ = ctl("block", "127.0.0.0/8")
    test.check("a block ends streams that are there", status == 0 and out == "blocked; ended 1 stream\n")
    test.check("alice is told policy-violation", (await ended(alice) or ("", ""))[0] == "policy-violation")
    return listed


async def redirects(test, ctl):
    ctl.fails("redirect who is nobody: status 2", 2, "neither a user", "redirect", "set", f"{DOMAIN}/home", "gw2.example")
    ctl.fails("redirect to what is no host: status 2", 2, "is no host", "redirect", "set", f"alice@{DOMAIN}", "2001:db8::1")
    ctl.fails("redirect for too long: status 2", 2, "at most 2592000", "redirect", "set", f"alice@{DOMAIN}", "gw2.example", "--for", "2592001")
    ctl.fails("redirect without a host: status 2", 2, "redirect set", "redirect", "set", f"alice@{DOMAIN}")
    test.check("no redirects at first", ctl.rows("redirect", "list") == [])
    status, out, _ = ctl("redirect", "set", f"Alice@{DOMAIN.upper()}", "[2001:db8::1]:15222", "--for", "3600")
    test.check("redirect a user: prepared, and said", status == 0 and out == f"alice@{DOMAIN} is sent to [2001:db8::1]:15222 for 3600 seconds\n")
    test.check("redirect two domains", [ctl("redirect", "set", domain, "gw2.example")[0] for domain in (DOMAIN, "other.example")] == [0, 0])
    test.check("they are listed with the time that is left", await until(lambda: [(r["who"], r["host"]) for r in ctl.rows("redirect", "list")] == [
        (DOMAIN, "gw2.example"), (f"alice@{DOMAIN}", "[2001:db8::1]:15222"), ("other.example", "gw2.example")]))
    left = ctl.rows("redirect", "list", "--domain", DOMAIN)
    test.check("... those of one domain alone", [r["who"] for r in left] == [DOMAIN, f"alice@{DOMAIN}"]
               and 86000 < left[0]["seconds"] <= 86400 and 3000 < left[1]["seconds"] <= 3600)
    test.check("remove them", [ctl("redirect", "remove", who)[0] for who in (f"alice@{DOMAIN}", DOMAIN, "other.example")] == [0, 0, 0]
               and await until(lambda: ctl.rows("redirect", "list") == []))


async def knock(port):
    """What the server says to who connects, up to its stream error or its features."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='%s' version='1.0'>"
                 % DOMAIN.encode())
    said = b""
    try:
        while b"</stream:" not in said:
            more = await asyncio.wait_for(reader.read(4096), 20)
            if not more:
                break
            said += more
    except ConnectionError:
        pass
    writer.close()
    return said


async def drains(test, ctl, enter, port, metrics_port):
    """A cluster of one: nobody can be sent elsewhere, so a drain ends streams, and newcomers are turned away until it is taken back."""
    ctl.fails("drain which gateway? status 2", 2, "drain which", "drain")
    ctl.fails("a drain without end is none", 2, "--over", "drain", DOMAIN, "--over", "100000")
    alice = await enter("alice")
    drained = await asyncio.get_event_loop().run_in_executor(None, ctl, "drain", DOMAIN, "--over", "1")
    test.check("drain waits until nobody is left, and tells how far it is",
               drained[0] == 0 and "0 connections left" in drained[1].splitlines())
    test.check("alice is told system-shutdown", (await ended(alice) or ("", ""))[0] == "system-shutdown")
    rows = ctl.rows("status")
    test.check("status: draining, no client", [(r["state"], r["clients"]) for r in rows] == [("draining", 0)] * 2)
    test.check("/healthz: 503, draining", fetch(metrics_port, "/healthz") == (503, '{"state": "draining", "workers": 2, "draining": 2}\n'))
    test.check("/metrics: both workers drain", Metrics(metrics_port)["ambrosia_workers_draining"] == 2)
    test.check("the registry knows", await until(lambda: [g["draining"] for g in ctl.rows("gateways")] == [True, True]))
    test.check("newcomers are turned away", b"<system-shutdown" in await knock(port))
    rows = ctl.rows("undrain", DOMAIN)
    test.check("undrain: ready again", [r["state"] for r in rows] == ["ready", "ready"] and fetch(metrics_port, "/healthz")[0] == 200)
    bob = await enter("bob")
    first = ctl.rows("status")[0]["gateway"]
    status, out, _ = ctl("drain", first, "--over", "0", "--no-wait")
    test.check("one worker may be drained by its id", status == 0 and "draining" in out)
    test.check("the other goes on, and so does the gateway", sorted(r["state"] for r in ctl.rows("status")) == ["draining", "ready"]
               and fetch(metrics_port, "/healthz")[0] == 200)
    test.check("and back", [r["state"] for r in ctl.rows("undrain", first)] == ["ready"])
    bob.disconnect()


def log_level(test, ctl):
    ctl.fails("a level that is none", 1, "error, warn, info or debug", "log-level", "loud")
    test.check("log-level debug", ctl("log-level", "debug") == (0, "log level set at 2 workers\n", ""))
    test.check("status shows it", {r["log-level"] for r in ctl.rows("status")} == {"debug"})
    test.check("and back", ctl("log-level", "info")[0] == 0)


async def reloads(test, ctl, certs, port, metrics_port):
    """A renewed certificate is shown to newcomers, and at /metrics."""
    def served():
        context = ssl.create_default_context(cafile=f"{test.folder}/ca.pem")
        with socket.create_connection(("127.0.0.1", port), 20) as raw, context.wrap_socket(raw, server_hostname=DOMAIN) as tls:
            return tls.getpeercert()["serialNumber"]

    before = served()
    certificate(test.folder, "ca", DOMAIN, certs)
    test.check("reload: both workers", ctl("reload") == (0, "reloaded at 2 workers\n", ""))
    test.check("newcomers see the renewed certificate", served() != before)
    left = Metrics(metrics_port)[f'ambrosia_certificate_left_seconds{{name="{DOMAIN}"}}']
    test.check("/metrics tells its days", 86400 < left <= 2 * 86400)
    os.rename(f"{certs}/{DOMAIN}.key", f"{certs}/{DOMAIN}.away")
    os.rename(f"{certs}/{DOMAIN}.crt", f"{certs}/{DOMAIN}.crt-away")
    status, _, err = ctl("reload")
    test.check("reload without any certificate falls back to the self-signed one", status == 0 and not err)


def streams(test, ctl, alice):
    rows = ctl.rows("streams", "--role", "c2s")
    test.check("streams: alice, established, over TLS",
               [(r["jid"], r["state"], r["tls"], r["address"]) for r in rows] == [(str(alice.boundjid), "established", True, "127.0.0.1")])
    test.check("streams: bytes were counted", all(r["bytes-in"] > 100 and r["bytes-out"] > 100 for r in rows))
    for flag, value, number in (("--jid", f"alice@{DOMAIN}", 1), ("--jid", f"ALICE@{DOMAIN.upper()}", 1), ("--jid", f"bob@{DOMAIN}", 0),
                                ("--jid", f"alice@{DOMAIN}/elsewhere", 0), ("--domain", DOMAIN, 1), ("--domain", "other.example", 0),
                                ("--role", "s2s-out", 0)):
        test.check(f"streams {flag} {value}: {number}", len(ctl.rows("streams", flag, value)) == number)


def registry(test):
    """A registry alone shows what it is, too."""
    ports = ready(test.start("registry", [f"{BUILD}/registry/ambrosia-registry", "--state-dir", f"{test.folder}/registry", "--bind", "tcp://127.0.0.1:0",
                                          "--http", "127.0.0.1:0"]))
    port = int(ports["http"])
    m = Metrics(port)
    checked = subprocess.run(["promtool", "check", "metrics"], input=m.text, capture_output=True, text=True, timeout=60)
    test.check("promtool finds nothing wrong with a registry's /metrics", checked.returncode == 0 and not checked.stdout + checked.stderr)
    test.check("a registry without members is ready", fetch(port, "/healthz") == (200, '{"state": "ready"}\n') and m["ambrosia_registry_ready"] == 1
               and m['ambrosia_registry_entries{kind="gateway"}'] == 0)
    test.check("the registry ends with status 0 at SIGTERM", test.stop("registry") == 0)


async def story(test, ctl, state, ports, passwords):
    port, metrics_port = int(ports["c2s"]), int(ports["http"])

    async def enter(user):
        client, how = await login(f"{user}@{DOMAIN}", passwords[user], f"{test.folder}/ca.pem", ("127.0.0.1", port), "PLAIN")
        test.check(f"{user} logs in", how == "in")
        watch_end(client)
        return client

    alice = await enter("alice")
    usage(ctl)
    keys(test, ctl, state)
    views(test, ctl)
    streams(test, ctl, alice)
    before = metrics(test, metrics_port)
    bob = await enter("bob")
    alice.send_message(f"bob@{DOMAIN}", "Count this")
    test.check("a message from alice to bob", await arrives(bob, (f"alice@{DOMAIN}", "Count this")))
    await until(lambda: Metrics(metrics_port)["ambrosia_ack_delay_seconds_count"] > before["ambrosia_ack_delay_seconds_count"])
    counted(test, before, Metrics(metrics_port))
    await kicks(test, ctl, alice, bob)
    test.check("streams that ended are no longer listed", await until(lambda: ctl.rows("streams") == []))
    log_level(test, ctl)
    await long_lists(test, ctl, state, port)
    await reloads(test, ctl, f"{test.folder}/certs", int(ports["c2s-direct"]), metrics_port)
    certificate(test.folder, "ca", DOMAIN, f"{test.folder}/certs")
    test.check("reload takes it again", ctl("reload")[0] == 0)
    listed = await blocks(test, ctl, enter)
    test.check("who is blocked gets no answer", await knock(port) == b"")
    refused = Metrics(metrics_port)['ambrosia_connections_refused_total{reason="blocked"}']
    test.check("and is counted", refused >= 1)
    await redirects(test, ctl)
    test.check("unblock", all(ctl("unblock", t)[0] == 0 for t in ["127.0.0.0/8"] + [r["target"] for r in listed]) and ctl.rows("block") == [])
    test.check("and may knock again", b"<starttls" in await knock(port))
    await drains(test, ctl, enter, port, metrics_port)


def main():
    test = Test("live.admin")
    env, passwords = accounts(test, DOMAIN, ("alice", "bob"))
    authority(test.folder, "ca")
    certificate(test.folder, "ca", DOMAIN, f"{test.folder}/certs")
    state = f"{test.folder}/state"
    gateway = test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", "127.0.0.1:0", "--c2s-direct", "127.0.0.1:0",
                                     "--s2s", "127.0.0.1:0", "--s2s-direct", "none", "--svc", "tcp://127.0.0.1:0", "--registry-bind", "tcp://127.0.0.1:0",
                                     "--workers", "2", "--http", "127.0.0.1:0", "--public-host", DOMAIN, "--certs", f"{test.folder}/certs",
                                     "--resolver", "127.0.0.1:9"], env)
    ports = ready(gateway)
    ready(test.start("im", [f"{BUILD}/services/im/ambrosia-im", "--domain", DOMAIN, "--state-dir", state]))
    registry(test)
    ctl = Ctl(test, state)
    run(test, until(lambda: [s["linked"] for s in ctl.rows("services")] == [2]))
    run(test, story(test, ctl, state, ports, passwords))
    for name in ("im", "gateway"):
        test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.finish()


main()
