"""Signed zones for the tests: knot, which signs by itself, and the anchor file that a resolver needs to prove what it says."""
import hashlib
import os
import subprocess
import time

from peers import use_resolver

HEAD = "$ORIGIN {zone}.\n$TTL 60\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"
CONF = """server:
    rundir: "{d}/run"
    listen: {address}@53
database:
    storage: "{d}"
    journal-db: "{d}/journal"
    kasp-db: "{d}/keys"
    timer-db: "{d}/timers"
    journal-db-max-size: 8M
    kasp-db-max-size: 8M
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: "{d}/zones"
    file: "%s.zone"
    zonefile-sync: -1
    zonefile-load: whole
zone:
"""


def digest_of(conf, zone):
    """The zone's DS record, once knot has made its key."""
    for _ in range(100):
        done = subprocess.run(["/usr/sbin/keymgr", "-c", conf, f"{zone}.", "ds"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in done.stdout.splitlines():
            if " 13 2 " in line:
                return line
        time.sleep(0.1)
    raise RuntimeError(f"knot made no key for {zone}")


def start(test, zones, signed, bogus=(), address="127.0.0.1"):
    """zones: {zone: [records]}. Gives the path of the anchor file, in which the `signed` ones stand, and the `bogus` ones with a key that isn't theirs."""
    use_resolver(test, address)
    d = f"{test.folder}/dns"
    for folder in ("zones", "run", "journal", "keys", "timers"):
        os.makedirs(f"{d}/{folder}")
    conf = CONF.format(d=d, address=address)
    for zone, records in zones.items():
        with open(f"{d}/zones/{zone}.zone", "w") as f:
            f.write(HEAD.format(zone=zone) + "\n".join(records) + "\n")
        conf += f"  - domain: {zone}\n" + ("    dnssec-signing: on\n" if zone in signed or zone in bogus else "")
    with open(f"{d}/knot.conf", "w") as f:
        f.write(conf)
    test.start("knot", ["/usr/sbin/knotd", "-c", f"{d}/knot.conf"])
    anchors = [digest_of(f"{d}/knot.conf", zone) for zone in signed]
    # The other zone's digest: nothing that this one signs can be proven.
    anchors += [f"{zone}." + anchors[0][anchors[0].index(" "):] for zone in bogus]
    with open(f"{test.folder}/anchors", "w") as f:
        f.write("\n".join(anchors) + "\n")
    return f"{test.folder}/anchors"


def tlsa(path, port, host, usage=3, selector=1):
    """A record over the SHA-256 of a certificate (selector 0) or of its key (1)."""
    form = ["-outform", "DER"]
    command = ["openssl", "x509", "-in", path, *(form if selector == 0 else ["-noout", "-pubkey"])]
    der = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    if selector == 1:
        der = subprocess.run(["openssl", "pkey", "-pubin", *form], input=der, check=True, stdout=subprocess.PIPE).stdout
    return f"_{port}._tcp.{host} TLSA {usage} {selector} 1 {hashlib.sha256(der).hexdigest()}"
