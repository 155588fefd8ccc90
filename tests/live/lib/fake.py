"""A small XMPP server and its opposite, for what no stock server does: wrong keys, wrong certificates, silence. Both speak one stream at a time and record what came."""
import asyncio
import ssl
from xml.etree.ElementTree import XMLPullParser

import namespace
from peers import OURS
from stack import Test, accounts, authority, certificate, run

NS_TLS, NS_SASL, NS_DIALBACK = "urn:ietf:params:xml:ns:xmpp-tls", "urn:ietf:params:xml:ns:xmpp-sasl", "jabber:server:dialback"
NS_STREAM_ERRORS, NS_STREAMS = "urn:ietf:params:xml:ns:xmpp-streams", "http://etherx.jabber.org/streams"
HEADER = ("<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams' "
          "version='1.0' from='{}' to='{}' id='{}'>")
STARTTLS = f"<stream:features><starttls xmlns='{NS_TLS}'><required/></starttls></stream:features>"
EXTERNAL = f"<mechanisms xmlns='{NS_SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>"
DIALBACK = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"


def name(ns, local):
    return f"{{{ns}}}{local}"


def condition(element):
    """The defined condition in a stream error or a SASL failure."""
    return element[0].tag.split("}")[1]


class Wire:
    """One connection's XML: events are ("open", attributes), ("element", element), ("close", None) and, once, ("end", None)."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.nr_signs = 0                                 # of life: white spaces between stanzas
        self.reset()

    def reset(self):
        self.parser, self.depth, self.events, self.root = XMLPullParser(events=("start", "end")), 0, [], None

    def take(self):
        for what, element in self.parser.read_events():
            self.depth += 1 if what == "start" else -1
            if what == "start" and self.depth == 1:
                self.root = element
                self.events.append(("open", dict(element.attrib)))
            elif what == "end" and self.depth == 1:
                self.events.append(("element", element))
                self.root.clear()
            elif what == "end" and self.depth == 0:
                self.events.append(("close", None))

    async def event(self):
        while not self.events:
            try:
                data = await self.reader.read(16384)
            except (ConnectionError, ssl.SSLError):
                data = b""
            if not data:
                return "end", None
            self.nr_signs += not data.strip()
            self.parser.feed(data)
            self.take()
        return self.events.pop(0)

    async def expect(self, what):
        got, value = await self.event()
        if got != what:
            raise RuntimeError(f"{got} {value} instead of {what}")
        return value

    def send(self, text):
        self.writer.write(text.encode())

    async def secure(self, context, **how):
        await self.writer.start_tls(context, **how)
        self.reset()

    def close(self):
        self.writer.close()


class Server:
    """The server of one domain on a port of its own. `context` is its TLS (None: it offers none), `features` what it offers then. What came is in `stanzas`;
    `answer_result` and `answer_verify` are coroutines over (attributes, text) and give the type of the answer; `before` may take the connection instead. `direct`: TLS
    comes first."""

    def __init__(self, domain, context, features=DIALBACK, before=None, direct=False):
        self.domain, self.context, self.features, self.before, self.direct = domain, context, features, before, direct
        self.stanzas, self.errors = asyncio.Queue(), asyncio.Queue()
        self.features_then = ""                           # behind SASL
        self.heard = []                                   # names of elements, in order
        self.nr_connections = 0
        self.answer_result = self.answer_verify = self.say_valid
        self.noise = ""                                   # sent before each answer to db:verify

    @staticmethod
    async def say_valid(_attributes, _key):
        return "valid"

    async def start(self, address, port=0):
        self.listener = await asyncio.start_server(self.serve, address, port, ssl=self.context if self.direct else None)
        self.port = self.listener.sockets[0].getsockname()[1]
        return self

    async def serve(self, reader, writer):
        wire = self.wire = Wire(reader, writer)
        self.nr_connections += 1
        try:
            if self.before is not None:
                await self.before(wire)
            elif self.direct:
                self.alpn = writer.get_extra_info("ssl_object").selected_alpn_protocol()
                if await self.reopen(wire, self.features):
                    await self.go_on(wire)
            elif await self.open(wire):
                await self.go_on(wire)
        except (ConnectionError, ssl.SSLError):
            self.heard.append("broken")
        wire.close()

    async def go_on(self, wire):
        while await self.step(wire):
            pass

    async def open(self, wire):
        """True once the stream stands, behind TLS."""
        header = await wire.expect("open")
        wire.send(HEADER.format(self.domain, header.get("from", ""), "clear") + (STARTTLS if self.context else "<stream:features/>"))
        what, element = await wire.event()
        if what != "element" or element.tag != name(NS_TLS, "starttls"):
            self.note(what, element)
            return False
        wire.send(f"<proceed xmlns='{NS_TLS}'/>")
        await wire.secure(self.context)
        return await self.reopen(wire, self.features)

    async def reopen(self, wire, features):
        what, header = await wire.event()
        if what != "open":
            return False
        wire.send(HEADER.format(self.domain, header.get("from", ""), f"id-of-{self.domain}") + f"<stream:features>{features}</stream:features>")
        return True

    def note(self, what, element):
        self.heard.append(element.tag.split("}")[1] if what == "element" else what)
        if what == "element" and element.tag == name(NS_STREAMS, "error"):
            self.errors.put_nowait(condition(element))

    async def step(self, wire):
        what, e = await wire.event()
        self.note(what, e)
        if what in ("close", "end"):
            wire.send("</stream:stream>")
            return False
        if e.tag == name(NS_SASL, "auth"):
            wire.send(f"<success xmlns='{NS_SASL}'/>")
            wire.reset()
            return await self.reopen(wire, self.features_then)
        if e.tag == name(NS_DIALBACK, "result") and e.get("type") is None:
            verdict = await self.answer_result(e.attrib, e.text)
            wire.send(f"<db:result from='{e.get('to')}' to='{e.get('from')}' type='{verdict}'/>")
        elif e.tag == name(NS_DIALBACK, "verify"):
            verdict = await self.answer_verify(e.attrib, e.text)
            wire.send(self.noise + f"<db:verify from='{e.get('to')}' to='{e.get('from')}' id='{e.get('id')}' type='{verdict}'/>")
        elif e.tag.startswith("{jabber:server}"):
            self.stanzas.put_nowait(e)
        return True


class Dialler:
    """The initiating side. After open(): `features` is the element, behind TLS."""

    def __init__(self, domain, to):
        self.domain, self.to = domain, to

    async def open(self, address, context, own_address=None):
        self.wire = Wire(*await asyncio.open_connection(*address, local_addr=own_address and (own_address, 0)))
        await self.header()
        self.wire.send(f"<starttls xmlns='{NS_TLS}'/>")
        await self.wire.expect("element")
        await self.wire.secure(context, server_hostname=self.to)
        await self.header()
        return self

    async def open_direct(self, address, context):
        """With TLS first."""
        self.wire = Wire(*await asyncio.open_connection(*address, ssl=context, server_hostname=self.to))
        await self.header()
        return self

    async def header(self):
        self.wire.send(HEADER.format(self.domain, self.to, "ignored"))
        self.id = (await self.wire.expect("open"))["id"]
        self.features = await self.wire.expect("element")

    def mechanisms(self):
        return [m.text for m in self.features.iter(name(NS_SASL, "mechanism"))]

    async def ask(self, text):
        """Sends, and gives the next element."""
        self.wire.send(text)
        return await self.wire.expect("element")

    async def external(self):
        """None after success (the stream stands anew), or the condition of the failure."""
        e = await self.ask(f"<auth xmlns='{NS_SASL}' mechanism='EXTERNAL'>=</auth>")
        if e.tag != name(NS_SASL, "success"):
            return condition(e)
        self.wire.reset()
        await self.header()
        return None

    def close(self):
        self.wire.close()


class Pki:
    """An authority that the gateway trusts, one that it doesn't, and TLS contexts with certificates of theirs."""

    def __init__(self, folder):
        self.folder = folder
        authority(folder, "our-ca")
        authority(folder, "stranger-ca")
        certificate(folder, "our-ca", OURS, f"{folder}/our-certs")

    def context(self, server, domain, ca="our-ca", **how):
        """As the domain; None: shows no certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE if server else ssl.CERT_REQUIRED
        context.load_verify_locations(f"{self.folder}/our-ca.pem")
        if domain is not None:
            into = f"{self.folder}/{domain}-{ca}-{len(how)}"
            certificate(self.folder, ca, domain, into, **how)
            context.load_cert_chain(f"{into}/{domain}.crt", f"{into}/{domain}.key")
        return context


def play(name, story):
    """A test whose story(test, env, passwords, pki) has juliet, our gateway and im beside servers of its own, and which ends there."""
    namespace.enter()
    test = Test(name)
    env, passwords = accounts(test, OURS, ("juliet",))
    run(test, story(test, env, passwords, Pki(test.folder)))
    for program in ("im", "gateway"):
        test.check(f"{program} ends with status 0 at SIGTERM", test.stop(program) == 0)
    test.finish()
