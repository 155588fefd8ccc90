"""SASL as the live tests see it: a gateway with an xmpp.conf of its own, and a client of few words whose every answer can be looked at."""
import asyncio
import base64
import contextlib
import hashlib
import hmac
import os
import re
import secrets
import ssl

from stack import BUILD, Client, Test, openssl, ready

NS_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"


@contextlib.contextmanager
def stage(name):
    """A test whose programs are stopped whatever happens, and that counts an exception as a failure. Ends the process."""
    test = Test(name)
    try:
        yield test
    except Exception as e:
        test.check(f"no exception ({type(e).__name__}: {e})", False)
    test.finish()


def write(path, text, mode=0o600):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as f:
        f.write(text)
    return path


def environment(test, conf, **more):
    """The gateway's environment: a configuration folder with this xmpp.conf in it, and what else is given."""
    os.makedirs(f"{test.folder}/sasl", exist_ok=True)
    write(f"{test.folder}/sasl/xmpp.conf", "".join(f"{name}: {value}\n" for name, value in conf.items()))
    return dict(os.environ, SASL_CONF_PATH=f"{test.folder}/sasl", **more)


class Stack:
    """A gateway and an IM service for some domains on free ports."""

    def __init__(self, test, domains, env, *more):
        self.test, self.domain = test, domains[0]
        state = f"{test.folder}/state"
        self.gateway = test.start("gateway", [
            f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", "127.0.0.1:0", "--c2s-direct", "127.0.0.1:0", "--s2s", "none",
            "--svc", "tcp://127.0.0.1:0", "--registry-bind", "tcp://127.0.0.1:0", "--public-host", domains[0], "--certs", f"{test.folder}/none",
            "--resolver", "127.0.0.1:9", *more], env)
        ports = ready(self.gateway)
        self.ca = f"{state}/self-signed.crt"
        self.starttls, self.direct = ("127.0.0.1", int(ports["c2s"])), int(ports["c2s-direct"])
        names = [word for domain in domains for word in ("--domain", domain)]
        ready(test.start("im", [f"{BUILD}/services/im/ambrosia-im", *names, "--state-dir", state]))

    def log(self):
        with open(f"{self.test.folder}/gateway.log", errors="replace") as f:
            return f.read()

    def stop(self, what):
        for name in ("im", "gateway"):
            self.test.check(f"{what}: {name} ends with status 0 at SIGTERM", self.test.stop(name) == 0)

    async def login(self, user, password, mech, certificate=None):
        """A stock client's whole login, to the roster and out again: "in" or "failed"."""
        client = Client(f"{user}@{self.domain}", password, self.ca, mech)
        client.credentials["service-name"] = self.domain  # GSSAPI's; it would be found in the DNS, and we give an address
        if certificate:
            client.certfile, client.keyfile = certificate
        client.connect(self.starttls, force_starttls=True, disable_starttls=False)
        how = await asyncio.wait_for(client.outcome, 30)
        client.disconnect()
        return how

    async def raw(self, domain=None, address="127.0.0.1", certificate=None):
        return await Raw().open(self, domain or self.domain, address, certificate)


class Mechanism:
    """One exchange's client side: `first` (None: no initial response), then `respond(challenge)` for each challenge."""

    def __init__(self, name, first, respond=None):
        self.name, self.first, self.respond = name, first, respond


def plain(user, password, authzid=""):
    return Mechanism("PLAIN", f"{authzid}\0{user}\0{password}".encode())


def scram(name, user, password, authzid="", binding=None, flag="n"):
    """`binding`: (type, data) of a channel binding, for a -PLUS mechanism; without one, `flag` is "n" or "y"."""
    digest = name.replace("-PLUS", "").replace("SCRAM-", "").replace("-", "").lower()
    header = f"{'p=' + binding[0] if binding else flag},{'a=' + authzid if authzid else ''},"
    bound = header.encode() + (binding[1] if binding else b"")
    bare = f"n={user},r={secrets.token_hex(12)}"

    def mac(key, text):
        return hmac.new(key, text.encode(), digest).digest()

    def respond(challenge):
        nonce, salt, rounds = re.fullmatch(r"r=([^,]+),s=([^,]+),i=(\d+)", challenge.decode()).groups()
        salted = hashlib.pbkdf2_hmac(digest, password.encode(), base64.b64decode(salt), int(rounds))
        final = f"c={base64.b64encode(bound).decode()},r={nonce}"
        key = mac(salted, "Client Key")
        signature = mac(hashlib.new(digest, key).digest(), f"{bare},{challenge.decode()},{final}")
        proof = bytes(a ^ b for a, b in zip(key, signature))
        return f"{final},p={base64.b64encode(proof).decode()}".encode()

    return Mechanism(name, (header + bare).encode(), respond)


def by_password(name, user, password, authzid=""):
    return plain(user, password, authzid) if name == "PLAIN" else scram(name, user, password, authzid)


def stored_key(mech, password):
    """RFC 5803: what a database keeps that never sees the password again."""
    digest, salt, rounds = mech.replace("SCRAM-", "").replace("-", "").lower(), secrets.token_bytes(16), 4096
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, rounds)
    stored = hashlib.new(digest, hmac.new(salted, b"Client Key", digest).digest()).digest()
    server = hmac.new(salted, b"Server Key", digest).digest()
    text = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"{mech}${rounds}:{text[0]}${text[1]}:{text[2]}"


def encoded(data):
    return (base64.b64encode(data).decode() or "=") if data is not None else ""


class Raw:
    """A stream on the direct TLS port, up to the end of SASL. What the gateway answers is kept as it came."""

    async def open(self, stack, domain, address, certificate):
        context = ssl.create_default_context(cafile=stack.ca)
        context.check_hostname = False  # one certificate for all the domains of a test
        context.set_alpn_protocols(["xmpp-client"])
        if certificate:
            context.load_cert_chain(*certificate)
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", stack.direct, ssl=context, server_hostname=domain,
                                                                 local_addr=(address, 0))
        self.text = ""
        await self.begin_stream(domain)
        return self

    async def begin_stream(self, domain):
        self.send(f"<stream:stream to='{domain}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
        self.features = await self.next(r"<stream:features>.*?</stream:features>")

    def send(self, text):
        self.writer.write(text.encode())

    async def next(self, pattern, seconds=40):
        """What matches next; what came before it is passed over. At the stream's end: all that is left."""
        while not (found := re.search(pattern, self.text, re.S)):
            more = await asyncio.wait_for(self.reader.read(65536), seconds)
            if not more:
                rest, self.text = self.text, ""
                return rest
            self.text += more.decode()
        self.text = self.text[found.end():]
        return found.group(0)

    async def answer(self):
        return await self.next(r"<challenge.*?(/>|</challenge>)|<success.*?(/>|</success>)|<failure.*?</failure>")

    def begin(self, mechanism):
        self.send(f"<auth xmlns='{NS_SASL}' mechanism='{mechanism.name}'>{encoded(mechanism.first)}</auth>")

    async def go_on(self, mechanism):
        """The rest of an exchange that has begun, to its <success/> or <failure/>; counts the challenges on the way."""
        self.challenges = 0
        while (answer := await self.answer()).startswith("<challenge"):
            self.challenges += 1
            data = re.sub("<.*?>", "", answer)
            reply = mechanism.respond(base64.b64decode("" if data == "=" else data))
            self.send(f"<response xmlns='{NS_SASL}'>{encoded(reply)}</response>")
        return answer

    async def auth(self, mechanism):
        self.begin(mechanism)
        return await self.go_on(mechanism)

    def close(self):
        self.writer.close()


class Exporting(Raw):
    """The same over openssl s_client, which also tells what RFC 9266 binds to; by TLS 1.3, where no context is the same as an empty one."""

    async def open(self, stack, address):
        self.process = await asyncio.create_subprocess_exec(
            "openssl", "s_client", "-connect", f"127.0.0.1:{stack.direct}", "-bind", f"{address}:0", "-CAfile", stack.ca, "-verify_return_error", "-alpn",
            "xmpp-client", "-servername", stack.domain, "-tls1_3", "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
        self.reader, self.writer, self.text = self.process.stdout, self.process.stdin, ""
        self.exported = bytes.fromhex((await self.next(r"Keying material: [0-9A-F]{64}")).split()[-1])
        await self.begin_stream(stack.domain)
        return self

    async def end(self):
        self.process.kill()
        await self.process.wait()


def failure(condition):
    """A bare <failure/>: the condition, no text."""
    return re.compile(rf"<failure xmlns=['\"]{NS_SASL}['\"]><{condition}/></failure>")


class Answer(str):
    """An exchange's last answer; `challenges`: how many came before it."""


async def attempt(stack, mechanism, domain=None, address="127.0.0.1", certificate=None):
    """One exchange on a stream of its own."""
    client = await stack.raw(domain, address, certificate)
    answer = Answer(await client.auth(mechanism))
    answer.challenges = client.challenges
    client.close()
    return answer


async def refusals(test, what, stack, make, right, address):
    """Wrong password, unknown user: the same answer to the letter; and with the right password nobody is somebody else.
    `make(user, password, authzid)` gives a mechanism."""
    user, password = right
    wrong, unknown, foreign, own = await asyncio.gather(
        attempt(stack, make(user, "not " + password, ""), address=address), attempt(stack, make("nobody", password, ""), address=address),
        attempt(stack, make(user, password, f"bob@{stack.domain}"), address=address),
        attempt(stack, make(user, password, f"{user}@{stack.domain}"), address=address))
    test.check(f"{what}: a wrong password is not-authorized", failure("not-authorized").fullmatch(wrong))
    test.check(f"{what}: an unknown user gets the same answer to the letter",
               (wrong, wrong.challenges) == (unknown, unknown.challenges))
    test.check(f"{what}: somebody else's authzid is invalid-authzid", failure("invalid-authzid").fullmatch(foreign))
    test.check(f"{what}: one's own authzid is taken", own.startswith("<success"))


async def back_end(test, what, stack, right, mechanisms, address):
    """What every back end must do with passwords: right ones by a stock client (which takes -PLUS where it can), wrong ones by ours."""
    for mech in mechanisms:
        stock = mech if mech == "PLAIN" else mech + "-PLUS"
        test.check(f"{what}: {right[0]} logs in with {stock}", await stack.login(*right, stock) == "in")
        await refusals(test, f"{what}, {mech}", stack, lambda *a, mech=mech: by_password(mech, *a), right, address)


async def by_stored_key(test, what, stack, right, address):
    """An account that has a stored key for SCRAM-SHA-256 and nothing else: what needs the password itself is refused like a wrong one."""
    await back_end(test, what, stack, right, ("SCRAM-SHA-256",), address)
    for mech in ("SCRAM-SHA-1", "PLAIN"):
        answer = await attempt(stack, by_password(mech, *right), address=address)
        test.check(f"{what}: {mech} is refused as a wrong password", failure("not-authorized").fullmatch(answer))


def client_certificate(folder, ca, name, jid):
    """(certificate, key) with `jid` as XmppAddr, signed by the authority."""
    key, crt = f"{folder}/{name}.key", f"{folder}/{name}.crt"
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", f"{folder}/request", "-subj", f"/CN={name}")
    write(f"{folder}/extensions", f"subjectAltName=otherName:1.3.6.1.5.5.7.8.5;UTF8:{jid}\n")
    openssl("x509", "-req", "-in", f"{folder}/request", "-CA", f"{folder}/{ca}.pem", "-CAkey", f"{folder}/{ca}.key", "-CAcreateserial", "-days", "2",
            "-extfile", f"{folder}/extensions", "-out", crt)
    return crt, key
