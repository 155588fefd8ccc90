#!/usr/bin/env python3
"""What the edge takes, by anybody's tools: TLS versions, ciphers, groups and certificates by openssl s_client; how many connections an address may hold; how long a client may take for
each phase before it is bound."""
import asyncio
import os
import re
import ssl
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, accounts, authority, certificate, ready, run  # noqa: E402
from by_hand import ByHand  # noqa: E402

DOMAIN, OTHER = "edge.example", "other.example"
NEGOTIATING_MAX = 128   # of one address, at one worker
AUTH_TIMEOUT = 2
AEAD = ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305")
HEADER = f"<stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"


def s_client(test, port, *more):
    """What openssl says of a handshake; security level 0, so that it offers what it is told to."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", f"{test.folder}/ca.pem", "-cipher", "ALL:@SECLEVEL=0", *more],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return done.stdout


def taken(text):
    """The cipher of a handshake that was done, or None."""
    found = re.search(r"^New, \S+, Cipher is ([^ (\n]+)$", text, re.M)
    return found and found.group(1)


def handshakes(test, ports):
    starttls = ("-starttls", "xmpp", "-xmpphost", DOMAIN)
    for how, port, more in (("STARTTLS", ports["c2s"], starttls), ("direct TLS", ports["c2s-direct"], ("-alpn", "xmpp-client", "-servername", DOMAIN)),
                            ("a server's STARTTLS", ports["s2s"], ("-starttls", "xmpp-server", "-xmpphost", DOMAIN))):
        text = s_client(test, port, *more)
        test.check(f"{how}: TLS 1.3 by itself, with X25519, and the certificate verifies",
                   "TLSv1.3" in text and "Server Temp Key: X25519" in text and "Verify return code: 0 (ok)" in text)
        test.check(f"{how}: TLS 1.2 is taken", "Verify return code: 0 (ok)" in s_client(test, port, *more, "-tls1_2"))
        for version in ("-tls1_1", "-tls1"):
            test.check(f"{how}: {version[1:]} is not", taken(s_client(test, port, *more, version)) is None)
    direct = ("-tls1_2", "-servername", DOMAIN)
    for cipher in AEAD:
        test.check(f"TLS 1.2 with {cipher}", taken(s_client(test, ports["c2s-direct"], *direct, "-cipher", cipher)) == cipher)
    for cipher in ("ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384", "AES128-GCM-SHA256", "aNULL"):
        test.check(f"TLS 1.2 with {cipher} alone is refused", taken(s_client(test, ports["c2s-direct"], *direct, "-cipher", f"{cipher}:@SECLEVEL=0")) is None)
    test.check("a client that offers other protocols by ALPN alone is refused",
               taken(s_client(test, ports["c2s-direct"], "-alpn", "http/1.1", "-servername", DOMAIN)) is None)


def subject(text):
    found = re.search(r"^subject=.*CN = (\S+)$", text, re.M)
    return found and found.group(1)


def certificates(test, ports):
    """By SNI where it names a certificate that there is, else by the stream's `to`; the public host's for whom nothing fits."""
    for how, port, more, whose in (("STARTTLS, to", "c2s", ("-starttls", "xmpp", "-xmpphost", OTHER, "-noservername"), OTHER),
                                   ("STARTTLS, to and the SNI of another host", "c2s", ("-starttls", "xmpp", "-xmpphost", OTHER, "-servername", "host.example"), OTHER),
                                   ("STARTTLS, SNI before to", "c2s", ("-starttls", "xmpp", "-xmpphost", OTHER, "-servername", DOMAIN), DOMAIN),
                                   ("a server's STARTTLS, to", "s2s", ("-starttls", "xmpp-server", "-xmpphost", OTHER, "-noservername"), OTHER),
                                   ("direct TLS, SNI", "c2s-direct", ("-servername", OTHER), OTHER),
                                   ("direct TLS, the SNI of nobody", "c2s-direct", ("-servername", "host.example"), DOMAIN),
                                   ("direct TLS, no SNI", "c2s-direct", ("-noservername",), DOMAIN)):
        test.check(f"{how}: the certificate of {whose}", subject(s_client(test, ports[port], *more)) == whose)


async def connect(port, address):
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))


async def answered(reader, writer):
    """Whether a stream header is answered; the other end may also have gone."""
    try:
        writer.write(HEADER.encode())
        return b"<stream:features>" in await asyncio.wait_for(reader.readuntil(b"</stream:features>"), 30)
    except (asyncio.IncompleteReadError, ConnectionError):
        return False


async def room(port, address):
    """Whether one more is answered, as soon as the one that leaves has gone."""
    for _ in range(300):
        reader, writer = await connect(port, address)
        if await answered(reader, writer):
            return True
        writer.close()
        await asyncio.sleep(0.1)
    return False


async def crowd(test, ports, password):
    """Who has logged in is not counted among those who have not."""
    bound = ByHand(DOMAIN, ("127.0.0.1", int(ports["c2s-direct"])), f"{test.folder}/ca.pem")
    await bound.open()
    await bound.login("alice", password)
    await bound.bind("home")
    port = int(ports["c2s"])
    streams = [await connect(port, "127.0.0.1") for _ in range(NEGOTIATING_MAX)]
    test.check(f"{NEGOTIATING_MAX} streams of an address that have not logged in are answered", all([await answered(*s) for s in streams]))
    test.check("one more is not", not await answered(*await connect(port, "127.0.0.1")))
    test.check("one of another address is", await answered(*await connect(port, "127.0.0.2")))
    bound.say("</stream:stream>")
    test.check("who is logged in leaves in peace", await bound.hear("</stream:stream>") is not None)
    test.check("that makes no room for one who is not", not await answered(*await connect(port, "127.0.0.1")))
    streams[0][1].write(b"</stream:stream>")
    with urllib.request.urlopen(f"http://127.0.0.1:{ports['http']}/metrics") as f:
        test.check("the metrics count who was refused", 'ambrosia_connections_refused_total{reason="limit"} 2' in f.read().decode())
    streams[0][1].write(b"</stream:stream>")
    test.check("one of them leaves", (await asyncio.wait_for(streams[0][0].read(), 30)).endswith(b"</stream:stream>"))
    streams[0][1].close()
    test.check("and there is room for one", await room(port, "127.0.0.1"))
    for _, writer in streams:
        writer.close()


async def ended(what, reader):
    """All that comes, to the connection's end."""
    return what, (await asyncio.wait_for(reader.read(), 60)).decode()


async def phases(test, ports, password):
    """Nobody keeps a connection for not going on, wherever he stops. All at once: each waits for the same deadline."""
    context = ssl.create_default_context(cafile=f"{test.folder}/ca.pem")
    port, direct = int(ports["c2s"]), int(ports["c2s-direct"])
    silent = await connect(port, "127.0.0.3")
    begun = await connect(port, "127.0.0.3")
    begun[1].write(HEADER.encode())
    dribble = await connect(port, "127.0.0.3")
    dribble[1].write(b"<stream:str")
    hello = await connect(direct, "127.0.0.3")
    hello[1].write(b"\x16\x03\x01\x02\x00\x01")
    secured = await asyncio.open_connection("127.0.0.1", direct, ssl=context, server_hostname=DOMAIN)
    secured[1].write(HEADER.encode())
    unbound = ByHand(DOMAIN, ("127.0.0.1", direct), f"{test.folder}/ca.pem")
    await unbound.open()
    await unbound.login("alice", password)
    late = [("nothing was said", silent[0]), ("the stream was begun", begun[0]), ("a header was begun", dribble[0]), ("there is TLS", secured[0]),
            ("there is no resource", unbound.reader)]
    for what, text in await asyncio.gather(*(ended(*one) for one in late)):
        test.check(f"{what}, and no more: connection-timeout, and the stream and the connection end",
                   "<connection-timeout " in text and text.endswith("</stream:error></stream:stream>"))
    what, text = await ended("a TLS handshake was begun", hello[0])
    test.check(f"{what}, and no more: the connection ends", "stream" not in text)


def gateway(test, env, *more):
    return ready(test.start("gateway", [
        f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", f"{test.folder}/state", "--c2s", "127.0.0.1:0", "--c2s-direct", "127.0.0.1:0", "--s2s",
        "127.0.0.1:0", "--svc", "tcp://127.0.0.1:0", "--registry-bind", "tcp://127.0.0.1:0", "--public-host", DOMAIN, "--certs", f"{test.folder}/certs",
        "--workers", "1", *more], env))


def service(test):
    ready(test.start("echo", [f"{BUILD}/services/echo/ambrosia-echo", "--domain", DOMAIN, "--domain", OTHER, "--state-dir", f"{test.folder}/state"]))


def stop(test, how):
    for name in ("echo", "gateway"):
        test.check(f"{how}: {name} ends with status 0 at SIGTERM", test.stop(name) == 0)


def main():
    test = Test("live.edge")
    env, passwords = accounts(test, DOMAIN, ("alice",))
    authority(test.folder, "ca")
    for domain in (DOMAIN, OTHER):
        certificate(test.folder, "ca", domain, f"{test.folder}/certs")
    ports = gateway(test, env)
    service(test)
    handshakes(test, ports)
    certificates(test, ports)
    run(test, crowd(test, ports, passwords["alice"]))
    stop(test, "no timeout")
    ports = gateway(test, env, "--auth-timeout", str(AUTH_TIMEOUT))
    service(test)
    run(test, phases(test, ports, passwords["alice"]))
    stop(test, "with a timeout")
    test.finish()


main()
