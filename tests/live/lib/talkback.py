#!/usr/bin/env python3
"""echo.py for the stanzas of other servers, which takes a pair of domains for a session: it answers on the stream that they come by, and that goes one way. What has "acknowledged" in
it is acknowledged before.

    talkback STATE-DIR DOMAIN"""
import asyncio
import importlib.util
import os
import secrets
import sys
import time
import types

import zmq.asyncio

HERE = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location("echo", os.path.join(HERE, "..", "..", "..", "services", "echo", "echo.py"))
echo = importlib.util.module_from_spec(spec)
spec.loader.exec_module(echo)
frame = echo.frame


def for_servers(kind, /, *args, **properties):
    return frame(kind, *args, **(dict(properties, types=2) if kind == echo.ENTRY else properties))


class Pair(echo.Stream):
    def data(self, flags, sequence, body):
        """Its stanzas are small: a chunk is one."""
        self.received = sequence
        self.tell(echo.CREDIT, sequence=len(body))
        if b"acknowledged" in body:
            self.tell(echo.ACK, sequence=sequence)
        self.tell(echo.DATA, sequence=1, flags=echo.FIRST | echo.LAST, body=body)

    def settle(self):
        pass


class Link(echo.Link):
    def begin(self, kind, handle, p, s):
        super().begin(kind, handle, dict(p, **{"kind": b"\1", "bare-jid": p["from-domain"]}), s)


def main():
    state, domain = sys.argv[1:]
    public, secret = open(f"{state}/service.key", "rb").read().split()[:2]
    echo.frame, echo.Stream, echo.Link = for_servers, Pair, Link
    echo.me = types.SimpleNamespace(id=secrets.token_bytes(16), incarnation=int(time.time() * 1000), context=zmq.asyncio.Context(), public=public, secret=secret,
                                    domain=domain, failover="close")
    asyncio.run(echo.register(open(f"{state}/registry").read().strip().split("=", 1)))


main()
