#!/usr/bin/env python3
"""Every way of federating with a stock Prosody and a stock ejabberd: {SRV, none} x {STARTTLS, direct TLS} x {EXTERNAL, dialback, DANE} x {we call, they call}, messages and
presence both ways, in signed zones. Each cell of the matrix is a pair of domains of its own, so that all of them are served at once. What a peer cannot do is listed in
UNSUPPORTED with its reason, and asserted to go the way that is left."""
import asyncio
import os
import re
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "live", "lib"))
from stack import BUILD, Client, Test, accounts, arrives, authority, certificate, ready, run  # noqa: E402
import namespace  # noqa: E402
import peers  # noqa: E402
import signed_dns  # noqa: E402

CELLS = [f"{find}-{tls}-{auth}" for find in ("srv", "none") for tls in ("starttls", "direct") for auth in ("external", "dialback", "dane")]
# Cells in which the other side must be refused, and how our own log puts it when we call (None: it is not dialled) and when they do: its certificate is for another name; its
# TLSA record is of another key; its zone's signatures are not of the anchor's key; and, where our domain is certificates-only, its certificate is expired, or of an
# authority that nobody trusts, which leaves dialback.
REFUSED = {
    "refused-name": ("trusted=1 named=0", "valid=0 error=remote-connection-failed"),
    "refused-tlsa": ("match=0", "valid=0 error=remote-connection-failed"),
    "refused-bogus": (None, "valid=0 error=remote-connection-failed"),
    "refused-expired": ('named=1 why="certificate has expired"', "valid=0 error=not-authorized"),
    "refused-dialback": ("trusted=0 named=1", "valid=0 error=not-authorized"),
}
STRICT = ["refused-expired", "refused-dialback"]
# The same refusal as the peer's own log puts it when it called.
THEIR_WORDS = {"prosody": "Outgoing s2s stream {theirs}->{ours} closed: dialback authentication failed",
               "ejabberd": "Failed outbound s2s dialback authentication {theirs} -> {ours}"}
# And when we called: that we went away, and nothing of having known us.
OUR_CALL = {"prosody": ("Destroying incoming session {ours}->{theirs}", "connection {ours}->{theirs} is now authenticated"),
            "ejabberd": ("Closing inbound s2s connection {ours} -> {theirs}: Connection failed: connection closed", "Accepted inbound s2s dialback authentication {ours} -> {theirs}")}
OURS, OUR_ADDRESS, DNS_ADDRESS = "ours.example", "192.0.2.1", "192.0.2.53"
PEERS = {"prosody": "192.0.2.2", "ejabberd": "192.0.2.3"}
PORTS = {"starttls": 5269, "direct": 5270}
PASSWORD = "of-a-test"
UNSUPPORTED = {
    ("prosody", "they check our TLSA when we call"): "0.12 has DANE for connections that it makes alone: our name goes by dialback",
    ("ejabberd", "they check our TLSA when we call"): "23.01 has no DANE: our name goes by dialback",
    ("any", "direct TLS without SRV"): "XEP-0368 knows it by its SRV records only: the domain's own address means STARTTLS on 5269",
}

PROSODY = """
daemonize = false; run_as_root = true; prosody_user = "root"; pidfile = "{place}/prosody.pid"; data_path = "{place}/data"
log = {{ {{ levels = {{ min = "debug" }}, to = "file", filename = "{place}/peer.log" }} }}
interfaces = {{ "{address}" }}; network_backend = "epoll"; use_ipv6 = false; s2s_direct_tls_ports = {{ 5270 }}
modules_enabled = {{ "roster", "saslauth", "tls", "dialback", "disco", "presence", "message", "iq" }}; modules_disabled = {{ "offline" }}
authentication = "internal_plain"; c2s_require_encryption = true; s2s_require_encryption = true; s2s_secure_auth = false
use_dane = true; unbound = {{ resolvconf = true, options = {{ ["trust-anchor-file:"] = "{anchors}" }} }}
certificates = "{d}/certs-prosody"; ssl = {{ cafile = "{d}/our-ca.pem"; capath = "/nonexistent" }}
"""

# Not debug: Erlang drops what it logs in a burst, and what the test looks for is in it.
EJABBERD = """
hosts: {hosts}
loglevel: info
log_rotate_count: 0
certfiles: {certs}
ca_file: "{d}/our-ca.pem"
s2s_cafile: "{d}/our-ca.pem"
s2s_use_starttls: required
auth_method: internal
auth_password_format: plain
listen:
  - {{port: 5269, ip: "{address}", module: ejabberd_s2s_in}}
  - {{port: 5270, ip: "{address}", module: ejabberd_s2s_in, tls: true}}
  - {{port: 5222, ip: "{address}", module: ejabberd_c2s, starttls_required: true}}
modules:
  mod_disco: {{}}
  mod_roster: {{}}
  mod_s2s_dialback: {{}}
"""


def zone_of(peer):
    return f"{peer}.example"


def kind(cell):
    """(found by, TLS, authentication); refused cells are found by SRV, with STARTTLS."""
    return ("srv", "starttls", cell) if cell in REFUSED else tuple(cell.split("-"))


def make_certificates(d, zone, ca, into):
    """`ca` is trusted by the other side; dialback and DANE cells have theirs from an authority that nobody trusts."""
    for cell in CELLS + list(REFUSED):
        auth = kind(cell)[2]
        domain, of_theirs = f"{cell}.{zone}", zone != OURS
        certificate(d, "stranger-ca" if auth in ("dialback", "dane") or (of_theirs and auth == "refused-dialback") else ca, domain, into,
                    san=f"elsewhere.{zone}" if auth == "refused-name" else None, days=-1 if of_theirs and auth == "refused-expired" else 2)


def records(zone, address, certs):
    """Of all cells of one side. Only those by SRV with direct TLS have its records, and none of the other service."""
    lines = []
    for cell in CELLS + list(REFUSED):
        find, tls, auth = kind(cell)
        if auth == "refused-bogus" and zone != OURS:   # in a zone of its own
            continue
        lines.append(f"{cell} A {address}")
        if find == "srv":
            service = "_xmpps-server" if tls == "direct" else "_xmpp-server"
            lines.append(f"{service}._tcp.{cell} SRV 1 1 {PORTS[tls]} {cell}")
        port = PORTS[tls] if find == "srv" else 5269
        if auth in ("dane", "refused-tlsa"):
            of = cell if auth == "dane" else "srv-starttls-external"
            lines.append(signed_dns.tlsa(f"{certs}/{of}.{zone}.crt", port, cell))
    return lines


def start_prosody(test, place, anchors):
    d, zone = test.folder, zone_of("prosody")
    with open(f"{place}/prosody.cfg.lua", "w") as f:
        f.write(PROSODY.format(d=d, place=place, address=PEERS["prosody"], anchors=anchors))
        f.writelines(f'VirtualHost "{cell}.{zone}"\n' for cell in CELLS + list(REFUSED))
    for cell in CELLS + list(REFUSED):
        folder = re.sub(r"[^a-z0-9]", lambda m: f"%{ord(m.group()):02x}", f"{cell}.{zone}")
        os.makedirs(f"{place}/data/{folder}/accounts")
        with open(f"{place}/data/{folder}/accounts/romeo.dat", "w") as f:
            f.write(f'return {{ ["password"] = "{PASSWORD}"; }};\n')
    test.start("prosody", ["prosody", "--root", "--config", f"{place}/prosody.cfg.lua"])
    namespace.listens(PEERS["prosody"], 5222)


def start_ejabberd(test, place, _anchors):
    zone, certs = zone_of("ejabberd"), f"{test.folder}/certs-ejabberd"
    domains = [f"{cell}.{zone}" for cell in CELLS + list(REFUSED)]
    for domain in domains:
        with open(f"{place}/{domain}.pem", "w") as f:
            f.write(open(f"{certs}/{domain}.crt").read() + open(f"{certs}/{domain}.key").read())
    with open(f"{place}/ejabberd.yml", "w") as f:
        f.write(EJABBERD.format(d=test.folder, address=PEERS["ejabberd"], hosts=str(domains).replace("'", '"'),
                                certs=str([f"{place}/{domain}.pem" for domain in domains]).replace("'", '"')))
    peers.run_ejabberd(test, place, domains, PASSWORD)


def start_ours(test, env, anchors):
    d = test.folder
    env = dict(env, SSL_CERT_FILE=f"{d}/their-ca.pem", SSL_CERT_DIR=f"{d}/none")
    domains = [f"{cell}.{OURS}" for cell in CELLS + list(REFUSED)]
    for domain in domains:
        for peer in PEERS:   # a user for each, so that nothing of one peer is waiting in another's test
            subprocess.run(["saslpasswd2", "-p", "-c", "-f", f"{d}/sasldb2", "-u", domain, f"juliet-{peer}"], input=PASSWORD.encode(), check=True, env=env)
    ready(test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", f"{d}/state", "--workers", "1", "--c2s", f"{OUR_ADDRESS}:5222",
                                 "--c2s-direct", "none", "--s2s", f"{OUR_ADDRESS}:5269", "--s2s-direct", f"{OUR_ADDRESS}:5270", "--public-host", OURS,
                                 "--certs", f"{d}/certs-ours", "--trust-anchor", anchors], env))
    for name, strict in (("im", False), ("strict", True)):
        served = [f"{cell}.{OURS}" for cell in CELLS + list(REFUSED) if (cell in STRICT) == strict]
        ready(test.start(name, [f"{BUILD}/services/im/ambrosia-im", "--state-dir", f"{d}/state", "--database", f"{d}/{name}.sqlite",
                                *(("--s2s-auth", "certificates-only") if strict else ()), *(w for domain in served for w in ("--domain", domain))]))


class Log:
    """The gateway's log: lines by the number of their connection."""

    def __init__(self, path):
        self.lines = {}
        for line in open(path, errors="replace"):
            words = line.split()
            if len(words) > 5 and words[3] in ("s2s-in", "s2s-out"):
                self.lines.setdefault((words[3], words[4]), []).append(" ".join(words[5:]))

    def about(self, text):
        """Lines of our connections that say this, and all others of those that have a number."""
        numbered = [line for key, lines in self.lines.items() if key[0] == "s2s-out" and key[1] != "-" and any(text in line for line in lines) for line in lines]
        return numbered + [line for line in self.lines.get(("s2s-out", "-"), []) if text in line]

    def all_of(self, role, text):
        """Everything said of each connection of which this was said."""
        return [" | ".join(lines) for (r, _), lines in self.lines.items() if r == role and any(text in line for line in lines)]


def check_paths(test, log, peer, cell):
    """By which way the two directions of a cell went."""
    find, tls, auth = kind(cell)
    ours, theirs = f"{cell}.{OURS}", f"{cell}.{zone_of(peer)}"
    out = " ".join(log.all_of("s2s-out", f"established from={ours} to={theirs} tls="))
    by = {"external": "EXTERNAL by=pkix", "dane": "EXTERNAL by=dane"}.get(auth)
    inward = log.all_of("s2s-in", f"auth domain={theirs} mechanism={by}" if by else f"dialback domain={theirs} to={ours} valid=1")
    tls = tls if find == "srv" else "starttls"   # UNSUPPORTED: direct TLS without SRV
    test.check(f"{peer}, {cell}: we called by {tls}", f"tls={tls}" in out and "tls=" + ("direct" if tls == "starttls" else "starttls") not in out)
    test.check(f"{peer}, {cell}: they called by {tls}", len(inward) > 0 and all(f"tls={'direct' if tls == 'direct' else 'later'}" in line for line in inward))
    seen = {"external": "trusted=1 named=1", "dialback": "trusted=0", "dane": f"dane to={theirs} host={theirs} match=1"}[auth]
    test.check(f"{peer}, {cell}: we took their certificate as meant ({seen})", seen in out)
    # UNSUPPORTED: a peer without DANE for what it accepts asks us about our key.
    asked = log.all_of("s2s-in", f"dialback-asked domain={ours} by={theirs} valid=1")
    test.check(f"{peer}, {cell}: they took us by {'our certificate' if auth == 'external' else 'dialback'}", (len(asked) > 0) == (auth != "external"))


async def enter(test, domain, user, address, minds=True):
    """`minds`: the server's certificate has to be good."""
    client = Client(f"{user}@{domain}", PASSWORD, f"{test.folder}/all.pem" if minds else None, "PLAIN")
    if not minds:
        client.ssl_context.check_hostname, client.ssl_context.verify_mode = False, ssl.CERT_NONE
    client.connect((address, 5222), force_starttls=True, disable_starttls=False)
    how = await asyncio.wait_for(client.outcome, 30)
    if how != "in":
        raise RuntimeError(f"{user}@{domain} cannot log in")
    client.seen = asyncio.Queue()
    client.add_event_handler("presence_available", lambda p: client.seen.put_nowait(p["from"].bare))
    return client


async def sees(client, whom):
    """True once presence of that bare JID comes (one's own comes too)."""
    while (got := await asyncio.wait_for(client.seen.get(), 30)) != whom:
        print(f"   sees {got}")
    return True


async def cell_of(test, peer, cell):
    ours, theirs = f"{cell}.{OURS}", f"{cell}.{zone_of(peer)}"
    juliet, romeo = await enter(test, ours, f"juliet-{peer}", OUR_ADDRESS), await enter(test, theirs, "romeo", PEERS[peer])
    juliet.send_message(f"romeo@{theirs}", "Good night")
    juliet.send_presence(pto=romeo.boundjid.full)
    test.check(f"{peer}, {cell}: a message and presence reach them",
               await arrives(romeo, (f"juliet-{peer}@{ours}", "Good night")) and await sees(romeo, f"juliet-{peer}@{ours}"))
    romeo.send_message(f"juliet-{peer}@{ours}", "Sweet sorrow")
    romeo.send_presence(pto=juliet.boundjid.full)
    test.check(f"{peer}, {cell}: a message and presence reach us",
               await arrives(juliet, (f"romeo@{theirs}", "Sweet sorrow")) and await sees(juliet, f"romeo@{theirs}"))
    for client in (juliet, romeo):
        client.disconnect()


async def refused_cell(test, peer, cell):
    ours, theirs = f"{cell}.{OURS}", f"{cell}.{zone_of(peer)}"
    juliet, romeo = await enter(test, ours, f"juliet-{peer}", OUR_ADDRESS), await enter(test, theirs, "romeo", PEERS[peer], minds=False)
    juliet.send_message(f"romeo@{theirs}", "Good night")
    test.check(f"{peer}, {cell}: our message comes back", await arrives(juliet, (f"romeo@{theirs}", "remote-server-timeout")))
    romeo.send_message(f"juliet-{peer}@{ours}", "Sweet sorrow")
    sender, error = await asyncio.wait_for(romeo.inbox.get(), 60)
    test.check(f"{peer}, {cell}: theirs comes back to them ({error})", sender == f"juliet-{peer}@{ours}" and error.startswith("remote-server-"))
    test.check(f"{peer}, {cell}: nothing reached us", juliet.inbox.empty())
    for client in (juliet, romeo):
        client.disconnect()


def check_refusals(test, log, peer):
    """For the right reason, both ways, and at both ends."""
    theirs_log = open(f"{test.folder}/{peer}/peer.log", errors="replace").read()
    for cell, (when_we_call, when_they_do) in REFUSED.items():
        ours, theirs = f"{cell}.{OURS}", f"{cell}.{zone_of(peer)}"
        out = " | ".join(log.about(f"to={theirs} "))
        test.check(f"{peer}, {cell}: we refused them when we called ({when_we_call or 'without dialling'})",
                   "established from" not in out and ("certificate" not in out if when_we_call is None else when_we_call in out))
        left, taken = (words.format(ours=ours, theirs=theirs) in theirs_log for words in OUR_CALL[peer])
        test.check(f"{peer}, {cell}: they saw us leave at once, or not at all", (left, taken) == (when_we_call is not None, False))
        inward = " ".join(log.all_of("s2s-in", f"dialback domain={theirs} to={ours}"))
        test.check(f"{peer}, {cell}: we refused them when they called ({when_they_do})", when_they_do in inward and "valid=1" not in inward)
        test.check(f"{peer}, {cell}: they say so, too", THEIR_WORDS[peer].format(ours=ours, theirs=theirs) in theirs_log)


async def story(test, peer):
    await asyncio.gather(*(cell_of(test, peer, cell) for cell in CELLS), *(refused_cell(test, peer, cell) for cell in REFUSED))


def prepare(test):
    """Certificates and zones: the anchor file."""
    d = test.folder
    for ca in ("our-ca", "their-ca", "stranger-ca"):
        authority(d, ca)
    with open(f"{d}/all.pem", "w") as f:
        f.writelines(open(f"{d}/{ca}.pem").read() for ca in ("our-ca", "their-ca", "stranger-ca"))
    for address in (OUR_ADDRESS, DNS_ADDRESS, *PEERS.values()):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    make_certificates(d, OURS, "our-ca", f"{d}/certs-ours")
    zones = {OURS: records(OURS, OUR_ADDRESS, f"{d}/certs-ours")}
    for peer, address in PEERS.items():
        make_certificates(d, zone_of(peer), "their-ca", f"{d}/certs-{peer}")
        zones[zone_of(peer)] = records(zone_of(peer), address, f"{d}/certs-{peer}")
    signed, bogus = list(zones), [f"refused-bogus.{zone_of(peer)}" for peer in PEERS]
    zones |= {zone: [f"@ A {address}", "_xmpp-server._tcp SRV 1 1 5269 @"] for zone, address in zip(bogus, PEERS.values())}
    return signed_dns.start(test, zones, signed, bogus, address=DNS_ADDRESS)


def main():
    namespace.enter()
    test = Test("interop.federation")
    env, _ = accounts(test, OURS, ())
    anchors = prepare(test)
    start_ours(test, env, anchors)
    for peer, start in (("prosody", start_prosody), ("ejabberd", start_ejabberd)):
        place = f"{test.folder}/{peer}"
        os.mkdir(place)
        start(test, place, anchors)
        run(test, story(test, peer))
        test.stop(peer)
    test.check("prosody checked our TLSA records when it called", peers.logged(f"{test.folder}/prosody/peer.log", "Enabling DANE with 1 TLSA records"))
    for name in ("im", "strict", "gateway"):
        test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    log = Log(f"{test.folder}/gateway.log")
    for peer in PEERS:
        for cell in CELLS:
            check_paths(test, log, peer, cell)
        check_refusals(test, log, peer)
    for (who, what), why in UNSUPPORTED.items():
        print(f"unsupported, {who}: {what}: {why}")
    test.finish()


main()
