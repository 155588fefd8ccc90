"""A client by hand, for what no library says: text in, text out, on direct TLS."""
import asyncio
import base64
import re
import ssl

SM = "urn:xmpp:sm:3"


class ByHand:
    def __init__(self, domain, address, ca):
        self.domain, self.address, self.ca, self.text = domain, address, ca, ""

    async def open(self):
        tls = ssl.create_default_context(cafile=self.ca)
        self.reader, self.writer = await asyncio.open_connection(*self.address, ssl=tls, server_hostname=self.domain)
        return self

    def say(self, text):
        self.writer.write(text.encode())

    async def hear(self, pattern, seconds=20):
        """The next text that matches, and what came before it is forgotten; None if it doesn't come in time or the connection ends before."""
        end = asyncio.get_event_loop().time() + seconds
        while not (found := re.search(pattern, self.text, re.S)):
            try:
                more = await asyncio.wait_for(self.reader.read(65536), max(0.01, end - asyncio.get_event_loop().time()))
            except (asyncio.TimeoutError, OSError):
                more = b""
            if not more:
                print(f"   no {pattern!r} in {self.text[-500:]!r}", flush=True)
                return None
            self.text += more.decode()
        self.text = self.text[found.end():]
        return found

    async def login(self, user, password):
        header = f"<stream:stream to='{self.domain}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        self.say(f"{header}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>")
        if await self.hear("<success[^>]*>"):
            self.say(header)
        return await self.hear("</stream:features>")

    async def bind(self, resource):
        self.say(f"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind></iq>")
        return await self.hear("<jid>([^<]*)</jid>.*?</iq>")

    async def enable(self, attributes="resume='true'"):
        """The id."""
        self.say(f"<enable xmlns='{SM}' {attributes}/>")
        found = await self.hear(f"<enabled xmlns='{SM}'(?: id='([^']*)' resume='true' max='([0-9]*)')?/>")
        return found.group(1) if found else None

    def resume(self, previd, h):
        self.say(f"<resume xmlns='{SM}' previd='{previd}' h='{h}'/>")

    async def resumed(self, previd, h):
        """The h of the answer."""
        self.resume(previd, h)
        found = await self.hear(f"<resumed xmlns='{SM}' h='([0-9]*)' previd='{re.escape(previd)}'/>")
        return int(found.group(1)) if found else None

    def acknowledge(self, h):
        self.say(f"<a xmlns='{SM}' h='{h}'/>")

    async def acknowledged(self, h):
        return await self.hear(f"<a xmlns='{SM}' h='{h}'/>") is not None

    def close(self):
        """Without a word."""
        self.writer.transport.abort()
