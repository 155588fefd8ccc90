#!/usr/bin/env python3
"""The main job: a message from a client of ours to a user of a stock Prosody, and an answer back; by SASL EXTERNAL, by dialback, and a domain that isn't there.
In a network and mount namespace of its own, with its own DNS server, so that every port is the real one and nothing leaves the machine."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, accounts, arrives, authority, certificate, login, ready, run  # noqa: E402

OURS, THEIRS = "capulet.example", "montague.example"

PROSODY = """
daemonize = false; run_as_root = true; prosody_user = "root"; pidfile = "{d}/prosody.pid"; data_path = "{d}/prosody"
log = {{ {{ levels = {{ min = "debug" }}, to = "file", filename = "{d}/prosody-own.log" }} }}
interfaces = {{ "127.0.0.2" }}; network_backend = "epoll"; use_ipv6 = false
modules_enabled = {{ "roster", "saslauth", "tls", "dialback", "disco", "presence", "message", "iq" }}
modules_disabled = {{ "s2s_auth_dane_in", "offline" }}
authentication = "internal_plain"; c2s_require_encryption = true; s2s_require_encryption = true; s2s_secure_auth = {secure}
ssl = {{ cafile = "{d}/{ca}.pem"; capath = "/nonexistent" }}
VirtualHost "{theirs}"
  ssl = {{ key = "{d}/their-certs/{theirs}.key"; certificate = "{d}/their-certs/{theirs}.crt"; cafile = "{d}/{ca}.pem"; capath = "/nonexistent" }}
"""


def into_namespace():
    """Starts itself again where loopback is all there is."""
    if os.environ.get("AMBROSIA_TEST_NAMESPACE") != "1":
        os.execvpe("unshare", ["unshare", "-n", "-m", sys.executable, os.path.abspath(__file__)], dict(os.environ, AMBROSIA_TEST_NAMESPACE="1"))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def start_dns(test):
    with open(f"{test.folder}/resolv.conf", "w") as f:
        f.write("nameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", f"{test.folder}/resolv.conf", "/etc/resolv.conf"], check=True)
    records = ["--host-record=gw.capulet.example,127.0.0.1", "--host-record=xmpp.montague.example,127.0.0.2",
               f"--srv-host=_xmpp-server._tcp.{OURS},gw.capulet.example,5269", f"--srv-host=_xmpp-server._tcp.{THEIRS},xmpp.montague.example,5269",
               "--address=/nobody.example/"]
    test.start("dns", ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--listen-address=127.0.0.1", "--bind-interfaces",
                       "--local=/example/", "--user=root", "--pid-file=", "--conf-file=/dev/null", *records])


def start_prosody(test, password, ca, secure):
    config = f"{test.folder}/prosody.cfg.lua"
    with open(config, "w") as f:
        f.write(PROSODY.format(d=test.folder, ca=ca, secure="true" if secure else "false", theirs=THEIRS))
    os.makedirs(f"{test.folder}/prosody", exist_ok=True)
    subprocess.run(["prosodyctl", "--root", "--config", config, "register", "romeo", THEIRS, password], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    test.start("prosody", ["prosody", "--root", "--config", config])


def start_ours(test, env, ca, certs):
    state = f"{test.folder}/state"
    env = dict(env, SSL_CERT_FILE=f"{test.folder}/{ca}.pem", SSL_CERT_DIR=f"{test.folder}/none")
    ready(test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", "127.0.0.1:5222", "--c2s-direct", "none",
                                 "--s2s", "127.0.0.1:5269", "--public-host", OURS, "--certs", certs], env))
    ready(test.start("im", [f"{BUILD}/services/im/ambrosia-im", "--domain", OURS, "--state-dir", state]))


def wait_for_port(address, port):
    import socket
    import time
    for _ in range(300):
        try:
            socket.create_connection((address, port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"nobody listens on {address} port {port}")


async def story(test, how, passwords, romeo_password, our_ca):
    juliet, _ = await login(f"juliet@{OURS}", passwords["juliet"], our_ca, ("127.0.0.1", 5222), "PLAIN")
    romeo, _ = await login(f"romeo@{THEIRS}", romeo_password, f"{test.folder}/their-ca.pem", ("127.0.0.2", 5222), "PLAIN")
    juliet.send_message(f"romeo@{THEIRS}", "Good night, good night!")
    test.check(f"{how}: juliet's message reaches romeo at Prosody", await arrives(romeo, (f"juliet@{OURS}", "Good night, good night!")))
    romeo.send_message(f"juliet@{OURS}", "Sleep dwell upon thine eyes.")
    test.check(f"{how}: romeo's answer reaches juliet", await arrives(juliet, (f"romeo@{THEIRS}", "Sleep dwell upon thine eyes.")))
    juliet.send_message("nurse@nobody.example", "Anybody there?")
    test.check(f"{how}: a domain that is not there comes back as remote-server-not-found",
               await arrives(juliet, ("nurse@nobody.example", "remote-server-not-found")))
    for client in (juliet, romeo):
        client.disconnect()


def logged(test, name, text):
    with open(f"{test.folder}/{name}.log", errors="replace") as f:
        return text in f.read()


def play(test, how, env, passwords, our_trust, certs, their_trust, secure):
    start_prosody(test, "montague-password", their_trust, secure)
    start_ours(test, env, our_trust, certs)
    wait_for_port("127.0.0.2", 5222)
    own = certs if os.path.isdir(certs) else None
    ca = f"{test.folder}/our-ca.pem" if own else f"{test.folder}/state/self-signed.crt"
    run(test, story(test, how, passwords, "montague-password", ca))
    for name in ("im", "gateway"):
        test.check(f"{how}: {name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.stop("prosody")


def main():
    into_namespace()
    test = Test("live.federation")
    d = test.folder
    env, passwords = accounts(test, OURS, ("juliet",))
    authority(d, "our-ca")
    authority(d, "their-ca")
    with open(f"{d}/both.pem", "w") as f:
        f.write(open(f"{d}/our-ca.pem").read() + open(f"{d}/their-ca.pem").read())
    certificate(d, "our-ca", OURS, f"{d}/our-certs")
    certificate(d, "their-ca", THEIRS, f"{d}/their-certs")
    start_dns(test)
    play(test, "EXTERNAL", env, passwords, "both", f"{d}/our-certs", "both", True)
    test.check("EXTERNAL: the gateway took Prosody's certificate", logged(test, "gateway", f"auth domain={THEIRS} mechanism=EXTERNAL"))
    os.rename(f"{d}/gateway.log", f"{d}/gateway-external.log")
    play(test, "dialback", env, passwords, "our-ca", f"{d}/our-certs", "their-ca", False)
    test.check("dialback: the gateway verified Prosody's key", logged(test, "gateway", f"dialback domain={THEIRS} to={OURS} valid=1"))
    test.check("dialback: no certificate was taken instead", not logged(test, "gateway", "mechanism=EXTERNAL"))
    test.finish()


main()
