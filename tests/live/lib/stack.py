"""What the live tests share: programs in a temporary folder, accounts, certificates of a test authority, clients, and counted checks."""
import asyncio
import atexit
import ctypes
import glob
import os
import secrets
import shutil
import subprocess
import sys
import tempfile

import slixmpp

BUILD = os.environ.get("BUILD", "build/asan")
HERE = os.path.dirname(os.path.abspath(__file__))
# Several gateways may run at a time.
os.environ["AMBROSIA_HTTP"] = "127.0.0.1:0"
# Cyrus SASL's own plugins lose a few bytes for each exchange; ours are held to account.
os.environ["AMBROSIA_S2S_DIRECT"] = "none"   # a listener that a test doesn't name takes no port that others may use
os.environ["LSAN_OPTIONS"] = "suppressions=" + os.path.join(HERE, "..", "..", "lsan.supp")


class Test:
    """A temporary folder, the programs started in it, and the checks counted."""

    def __init__(self, name):
        self.name, self.folder = name, tempfile.mkdtemp()
        self.passed = self.failed = 0
        self.programs = {}
        atexit.register(self.sweep)

    def sweep(self):
        """What is left of a test that an exception ended."""
        for name in list(self.programs):
            self.stop(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def check(self, what, ok):
        self.passed, self.failed = self.passed + bool(ok), self.failed + (not ok)
        print(("ok " if ok else "FAIL ") + what, flush=True)

    def start(self, name, args, env=None, stdin=None):
        with open(f"{self.folder}/{name}.log", "ab") as log:
            process = subprocess.Popen(args, stdin=stdin, stdout=subprocess.PIPE, stderr=log, env=env or os.environ)
        self.programs[name] = process
        return process

    def stop(self, name, seconds=30):
        process = self.programs.pop(name)
        process.terminate()
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return None

    def finish(self):
        for name in list(self.programs):
            self.stop(name)
        if self.failed:
            for log in sorted(glob.glob(f"{self.folder}/**/*.log", recursive=True)):
                print(f"--- {log}\n" + open(log, errors="replace").read()[-6000:])
        shutil.rmtree(self.folder)
        print(f"{self.name}: {self.passed} passed, {self.failed} failed")
        sys.exit(self.failed != 0)


def ready(process):
    """The ready line's key=value pairs."""
    line = process.stdout.readline().decode()
    if not line.startswith("ready"):
        raise RuntimeError("a program did not get ready")
    return dict(word.split("=", 1) for word in line.split()[1:])


def accounts(test, domain, users, mech_list="SCRAM-SHA-256 SCRAM-SHA-1 PLAIN", passwords=None):
    """A sasldb, with random passwords unless some are given: (environment for the gateway, {user: password})."""
    folder = test.folder
    os.mkdir(f"{folder}/sasl")
    with open(f"{folder}/sasl/xmpp.conf", "w") as f:
        f.write(f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {folder}/sasldb2\nmech_list: {mech_list}\n")
    env = dict(os.environ, SASL_CONF_PATH=f"{folder}/sasl")
    passwords = passwords or {user: secrets.token_hex(12) for user in users}
    for user, password in passwords.items():
        subprocess.run(["saslpasswd2", "-p", "-c", "-f", f"{folder}/sasldb2", "-u", domain, user], input=password.encode(), check=True, env=env)
    return env, passwords


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def authority(folder, name):
    """A certificate authority: NAME.pem and NAME.key in folder."""
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{folder}/{name}.key",
            "-out", f"{folder}/{name}.pem", "-days", "2", "-subj", f"/CN={name}")


def certificate(folder, ca, domain, into, san=None, days=2):
    """DOMAIN.crt and DOMAIN.key in the folder `into`, signed by the authority, for the name `san` (the domain, unless given); -1 day: expired yesterday."""
    os.makedirs(into, exist_ok=True)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{into}/{domain}.key",
            "-out", f"{folder}/request", "-subj", f"/CN={domain}")
    with open(f"{folder}/extensions", "w") as f:
        f.write(f"subjectAltName=DNS:{san or domain}\n")
    openssl("x509", "-req", "-in", f"{folder}/request", "-CA", f"{folder}/{ca}.pem", "-CAkey", f"{folder}/{ca}.key", "-CAcreateserial",
            "-days", str(days), "-extfile", f"{folder}/extensions", "-out", f"{into}/{domain}.crt")


def condition(stanza):
    """Of an error; slixmpp knows none of policy-violation."""
    names = [c.tag.rsplit("}")[-1] for c in stanza.xml.find("{jabber:client}error") if c.tag.startswith("{urn:ietf:params:xml:ns:xmpp-stanzas}")]
    return next((name for name in names if name != "text"), "")


class Client(slixmpp.ClientXMPP):
    """slixmpp, unmodified in what it sends; `outcome` says "in" or "failed", `inbox` takes (from, body, type)."""

    def __init__(self, jid, password, ca, mech=None):
        super().__init__(jid, password, sasl_mech=mech)
        self.ca_certs = ca
        self.outcome = asyncio.get_event_loop().create_future()
        self.inbox = asyncio.Queue()
        self.add_event_handler("session_start", self.on_start)
        self.add_event_handler("failed_all_auth", lambda _: self.settle("failed"))
        for event in ("message", "message_error"):
            self.add_event_handler(event, self.on_message)

    def on_message(self, m):
        self.inbox.put_nowait((m["from"].bare, condition(m) if m["type"] == "error" else m["body"]))

    def settle(self, value):
        if not self.outcome.done():
            self.outcome.set_result(value)

    async def on_start(self, _):
        self.send_presence()
        await self.get_roster()
        self.settle("in")


async def login(jid, password, ca, address, mech=None):
    client = Client(jid, password, ca, mech)
    client.connect(address, force_starttls=True, disable_starttls=False)
    return client, await asyncio.wait_for(client.outcome, 30)


async def arrives(client, what, seconds=30):
    """True once exactly this is the next message."""
    try:
        got = await asyncio.wait_for(client.inbox.get(), seconds)
    except asyncio.TimeoutError:
        got = None
    if got != what:
        print(f"   got {got}, not {what}", flush=True)
    return got == what


def run(test, story, seconds=120):
    """Plays an async story; whatever it raises is a failed check."""
    try:
        asyncio.get_event_loop().run_until_complete(asyncio.wait_for(story, seconds))
    except Exception as e:
        test.check(f"no exception ({type(e).__name__}: {e})", False)


def curve_key(path):
    """A fresh CURVE key pair in a file, 0600; the public key."""
    zmq = ctypes.CDLL("libzmq.so.5")
    public, secret = ctypes.create_string_buffer(41), ctypes.create_string_buffer(41)
    if zmq.zmq_curve_keypair(public, secret) != 0:
        raise RuntimeError("libzmq makes no key pair")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
        f.write(f"{public.value.decode()}\n{secret.value.decode()}\n")
    return public.value.decode()


def replace_file(path, text, mode=0o600):
    """The file appears whole, as an operator's editor or a deployment puts it there."""
    with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


async def word_in(path, text, seconds=30, start=0):
    """Waits until a log says it, behind its first `start` bytes."""
    for _ in range(seconds * 20):
        if text in open(path, errors="replace").read()[start:]:
            return True
        await asyncio.sleep(0.05)
    return False
