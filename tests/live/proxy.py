#!/usr/bin/env python3
"""Behind HAProxy, with deploy/haproxy.cfg: clients log in through it, the gateway sees their addresses, and believes a header from listed addresses only.
In a network namespace of its own, so that the ports are the real ones."""
import asyncio
import os
import re
import socket
import ssl
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, HERE, Test, accounts, authority, certificate, login, ready, run  # noqa: E402
from namespace import enter, listens  # noqa: E402

DOMAIN = "example.org"
GATEWAY, BALANCER, CLIENT, STRANGER = "127.0.0.1", "127.0.0.2", "127.0.0.9", "127.0.0.5"


def haproxy_config(test):
    """The example, for the addresses here and one gateway."""
    text = open(os.path.join(HERE, "..", "..", "..", "deploy", "haproxy.cfg")).read()
    text = re.sub(r"\n\tserver gw2 .*", "", text).replace("gw1.example.org", GATEWAY)
    text = re.sub(r"bind :::(\d+) v4v6", rf"bind {BALANCER}:\1", text)
    text = text.replace("maxconn 100000", "maxconn 1000").replace("default-server ", f"default-server source {BALANCER} ")
    with open(f"{test.folder}/haproxy.cfg", "w") as f:
        f.write(text)
    return f"{test.folder}/haproxy.cfg"


def accepted_from(test, address):
    with open(f"{test.folder}/gateway.log") as f:
        return f"accept address={address} " in f.read()


def direct(test, to, source):
    """A direct-TLS handshake from that address, the certificate verified."""
    context = ssl.create_default_context(cafile=f"{test.folder}/ca.pem")
    with socket.create_connection((to, 5223), 10, source_address=(source, 0)) as raw, context.wrap_socket(raw, server_hostname=DOMAIN) as tls:
        return tls.version() is not None


def answer(source, says):
    """What the gateway's client port says to these bytes until it closes."""
    with socket.create_connection((GATEWAY, 5222), 10, source_address=(source, 0)) as s:
        s.sendall(says)
        got = b""
        while True:
            try:
                more = s.recv(4096)
            except ConnectionResetError:
                return got
            if not more:
                return got
            got += more


async def story(test, password):
    alice, how = await login(f"alice@{DOMAIN}", password, f"{test.folder}/ca.pem", (BALANCER, 5222), "SCRAM-SHA-256-PLUS")
    test.check("alice logs in through HAProxy, channel binding included", how == "in")
    alice.disconnect()
    await asyncio.sleep(0)


def main():
    enter()
    test = Test("live.proxy")
    env, passwords = accounts(test, DOMAIN, ("alice",))
    authority(test.folder, "ca")
    certificate(test.folder, "ca", DOMAIN, f"{test.folder}/certs")
    state = f"{test.folder}/state"
    ready(test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", f"{GATEWAY}:5222", "--c2s-direct",
                                 f"{GATEWAY}:5223", "--s2s", f"{GATEWAY}:5269", "--public-host", DOMAIN, "--certs", f"{test.folder}/certs",
                                 "--proxy-from", BALANCER], env))
    ready(test.start("im", [f"{BUILD}/services/im/ambrosia-im", "--domain", DOMAIN, "--state-dir", state]))
    test.start("haproxy", ["haproxy", "-db", "-f", haproxy_config(test)])
    listens(BALANCER, 5222)
    run(test, story(test, passwords["alice"]))
    test.check("direct TLS through HAProxy", direct(test, BALANCER, CLIENT))
    test.check("the gateway saw the client's own address", accepted_from(test, CLIENT))
    test.check("who is not listed needs no header", direct(test, GATEWAY, STRANGER) and accepted_from(test, STRANGER))
    got = answer(STRANGER, b"PROXY TCP4 192.0.2.1 127.0.0.1 40000 5222\r\n")
    test.check("nor is one believed", b"not-well-formed" in got and not accepted_from(test, "192.0.2.1"))
    test.check("who is listed is closed without one", answer(BALANCER, b"<?xml version='1.0'?>") == b"")
    for name in ("im", "gateway"):
        test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.stop("haproxy")
    test.finish()


main()
