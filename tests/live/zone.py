#!/usr/bin/env python3
"""deploy/zone: the records of a running cluster, in a zone that knot signs and serves, are those that a peer needs: kdig finds every gateway by SRV, and openssl's
DANE takes the key that each of them shows. In a network namespace of its own."""
import asyncio
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import signed_dns  # noqa: E402
from cluster import CTL, Cluster, until, wait_ready  # noqa: E402
from namespace import enter, listens  # noqa: E402
from stack import HERE, Test, certificate, run  # noqa: E402

ZONE = os.path.join(HERE, "..", "..", "..", "deploy", "zone")
DOMAIN = "a.example"
WORKERS = {"g1": 2, "g2": 1}


def zone(rows, *flags):
    """(status, lines) for rows as ambrosiactl prints them."""
    text = rows if isinstance(rows, str) else json.dumps(rows)
    done = subprocess.run([ZONE, *flags], input=text, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.splitlines()


def row(host, **more):
    return {"gateway": "00", "public-host": host, "endpoint": "tcp://127.0.0.1:5320", "client-port": 5222, "draining": False, "linked": True, **more}


def on_paper(test):
    """What a running cluster shows too seldom."""
    rows = [row("gw1.example.org", draining=True), row("gw1.example.org", draining=True), row("gw2.example.org", **{"client-port": 6222})]
    status, lines = zone(rows, "--domain", "example.org", "--client-direct-port", "none", "--server-direct-port", "none")
    test.check("who drains is left out, announced ports are taken, and none is none", status == 0 and lines == [
        "_xmpp-client._tcp.example.org. 300 IN SRV 0 1 6222 gw2.example.org.", "_xmpp-server._tcp.example.org. 300 IN SRV 0 1 5269 gw2.example.org."])
    status, lines = zone(rows[:2], "--domain", "example.org")
    test.check("when all drain, all stay", status == 0 and len(lines) == 4 and " SRV 0 2 5222 gw1.example.org." in lines[0])
    status, lines = zone([row("gw1.example.org", **{"client-port": 0})], "--domain", "example.org", "--client-direct-port", "none")
    test.check("a gateway without clients has no record for them", status == 0 and not any("client" in line for line in lines))
    for text in ("", "{", "[]", "[1]", "[{}]", "7", [row("192.0.2.1")], [row("a b")], [row("x.\nevil")], [row(None)]):
        test.check(f"{text!r:.40} is no cluster: status 1, no line", zone(text, "--domain", "example.org") == (1, []))
    for flags in ([], ["--domain", "a b"], ["--domain", "example.org", "--server-port", "0"], ["--domain", "example.org", "--server-port", "many"]):
        test.check(f"{' '.join(flags)}: status 2", zone(rows, *flags)[0] == 2)
    test.check("a certificate that is none: status 1", zone(rows, "--domain", "example.org", "--certificate", "/dev/null")[0] == 1)


def lookup(name, kind):
    return sorted(subprocess.run(["kdig", "+short", name, kind], capture_output=True, text=True, check=True, timeout=30).stdout.splitlines())


def signed(name, kind):
    return " RRSIG" in subprocess.run(["kdig", "+dnssec", name, kind], capture_output=True, text=True, check=True, timeout=30).stdout.replace("\t", " ")


def shows_the_key(test, cluster, name):
    """A TLS connection to the server port that believes the zone's records and nothing else, names not even looked at (RFC 7671 section 5.1)."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{cluster.ports[name]['s2s']}", "-starttls", "xmpp-server", "-xmpphost", DOMAIN,
               "-servername", DOMAIN, "-dane_tlsa_domain", f"{name}.example", "-dane_ee_no_namechecks"]
    for record in lookup(f"_5269._tcp.{name}.example", "TLSA"):
        usage, selector, matching, *digest = record.split()
        command += ["-dane_tlsa_rrdata", f"{usage} {selector} {matching} {''.join(digest)}"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    took = "Verification: OK" in done.stdout and "DANE TLSA 3 1 1" in done.stdout
    if not took:
        print(done.stdout + done.stderr)
    test.check(f"{name} shows a key that its TLSA records name", took)


async def story(test):
    cluster = Cluster(test, [DOMAIN], ["alice"], {"gateway": "gateway", "admin": "admin", "echo": f"service {DOMAIN}:client,server"})
    cluster.authorise()
    cluster.start_registry("r1")
    for name, workers in WORKERS.items():
        cluster.start_gateway(name, "--workers", str(workers))
    await wait_ready(cluster.start_echo("echo", "echo", "--domain", DOMAIN))

    def told():
        done = subprocess.run([CTL, "--registry", cluster.known(), "--key", f"{test.folder}/admin.key", "--json", "gateways"], capture_output=True,
                              text=True, timeout=60, env=cluster.env)
        return json.loads(done.stdout) if done.returncode == 0 else []

    test.check("the registry knows both", await until(lambda: len(told()) == sum(WORKERS.values())))
    certificate(test.folder, "ca", DOMAIN, f"{test.folder}/next")
    status, lines = zone(told(), "--domain", DOMAIN, "--zone", "example", "--addresses", "--certificate", f"{test.folder}/certs/{DOMAIN}.crt",
                         "--certificate", f"{test.folder}/next/{DOMAIN}.crt", "--server-direct-port", "none")
    test.check("records come out", status == 0)
    signed_dns.start(test, {"example": lines}, ["example"])
    listens("127.0.0.1", 53)
    test.check("knot serves them", await until(lambda: lookup(f"_xmpp-server._tcp.{DOMAIN}", "SRV")))
    for service, port in (("xmpps-client", 5223), ("xmpp-server", 5269)):
        test.check(f"_{service} points at each gateway, with its share", lookup(f"_{service}._tcp.{DOMAIN}", "SRV") ==
                   [f"0 {workers} {port} {name}.example." for name, workers in sorted(WORKERS.items(), key=lambda item: item[1])])
    announced = sorted(f"0 {workers} {cluster.ports[name]['c2s']} {name}.example." for name, workers in WORKERS.items())
    test.check("_xmpp-client points at the ports that they announce", lookup(f"_xmpp-client._tcp.{DOMAIN}", "SRV") == announced)
    test.check("what is not offered has no record", not lookup(f"_xmpps-server._tcp.{DOMAIN}", "SRV"))
    for name in WORKERS:
        test.check(f"{name} has an address", lookup(f"{name}.example", "A") == ["127.0.0.1"])
        found = lookup(f"_5269._tcp.{name}.example", "TLSA")
        test.check(f"{name}: TLSA 3 1 1 for the key in use and the next, signed",
                   len(found) == 2 and all(line.startswith("3 1 1 ") for line in found) and signed(f"_5269._tcp.{name}.example", "TLSA"))
        shows_the_key(test, cluster, name)


def main():
    enter()
    test = Test("live.zone")
    on_paper(test)
    run(test, story(test))
    test.finish()


main()
