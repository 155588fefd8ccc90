"""slixmpp, unmodified, under the commands of lib/peer.py; what it has a call for goes by that call."""
import asyncio
import os
import sys

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout

TIMEOUT = 20


def say(*fields):
    print("\t".join(str(field or "") for field in fields), flush=True)


def condition(stanza):
    return stanza["error"]["condition"] if stanza["type"] == "error" else ""


class Client:
    def __init__(self, jid, password, host, port, mechanism):
        self.xmpp = slixmpp.ClientXMPP(jid, password, sasl_mech=mechanism, lang="en")
        self.xmpp.ca_certs = os.environ["INTEROP_CA"]
        self.xmpp.auto_authorize, self.xmpp.auto_subscribe = None, False  # the test decides
        for plugin in ("xep_0030", "xep_0199", "xep_0203"):
            self.xmpp.register_plugin(plugin)
        for event, handler in (("session_start", lambda _: say("online", self.xmpp.boundjid)), ("disconnected", lambda _: say("closed")),
                               ("failed_all_auth", lambda _: self.refused("not authorized")),
                               ("ssl_invalid_chain", self.refused), ("ssl_invalid_cert", self.refused),
                               ("connection_failed", self.refused), ("roster_update", self.on_roster),
                               ("message", self.on_message), ("message_error", self.on_message), ("presence_error", self.on_presence)):
            self.xmpp.add_event_handler(event, handler)
        self.xmpp.add_filter("in", self.on_stanza)
        self.xmpp.connect((host, int(port)), force_starttls=True)

    def refused(self, reason):
        say("refused", reason)
        self.xmpp.abort()

    def on_stanza(self, stanza):
        if isinstance(stanza, slixmpp.Presence) and stanza["type"] != "error":
            self.on_presence(stanza)
        return stanza

    def on_presence(self, p):
        kind = p.xml.get("type")  # slixmpp's own "type" mixes it with show
        say("presence", p["from"], kind, p["show"], condition(p))

    def on_message(self, m):
        stamp = m["delay"]["stamp"] if m.xml.find("{urn:xmpp:delay}delay") is not None else ""
        say("message", m["from"], m.xml.get("type"), m["body"], stamp, condition(m))

    def on_roster(self, iq):
        if iq["type"] == "set":
            for jid, item in iq["roster"]["items"].items():
                say("push", jid, item["subscription"], item["ask"], item["name"])

    async def told(self, to, request, tell):
        try:
            tell(await request)
        except (IqError, IqTimeout) as e:
            say("iq-error", to, e.condition)

    def roster(self):
        def tell(iq):
            for jid, item in iq["roster"]["items"].items():
                say("item", jid, item["subscription"], item["ask"], item["name"], " ".join(item["groups"]))
            say("roster")
        return self.told("", self.xmpp.get_roster(timeout=TIMEOUT), tell)

    def add(self, jid, name, group):
        return self.told(jid, self.xmpp.update_roster(jid, name=name, groups=[group], timeout=TIMEOUT), lambda _: say("done", jid))

    def remove(self, jid):
        return self.told(jid, self.xmpp.del_roster_item(jid), lambda _: say("done", jid))

    async def presence(self, kind, to, show, priority):
        self.xmpp.send_presence(ptype=kind or None, pto=to or None, pshow=show or None, ppriority=int(priority) if priority else None)

    async def message(self, to, kind, body):
        self.xmpp.send_message(to, body, mtype=kind)

    def ping(self, to):
        return self.told(to, self.xmpp["xep_0199"].send_ping(to, timeout=TIMEOUT), lambda _: say("pong", to))

    def disco(self, to):
        def tell(iq):
            info = iq["disco_info"]
            category, kind = sorted(info["identities"])[0][:2]
            say("disco", to, f"{category}/{kind}", " ".join(sorted(info["features"])))
        return self.told(to, self.xmpp["xep_0030"].get_info(to, timeout=TIMEOUT), tell)

    async def close(self):
        self.xmpp.disconnect()


async def main():
    reader = asyncio.StreamReader()
    await asyncio.get_event_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    client, tasks = None, set()
    while line := await reader.readline():
        verb, *fields = line.decode().rstrip("\n").split("\t")
        if verb == "login":
            client = Client(*fields)
            continue
        task = asyncio.ensure_future(getattr(client, verb)(*fields))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.get_event_loop().run_until_complete(main())
