#!/usr/bin/env python3
"""What a newcomer's client does, inside the containers' network and with the zone's name server as resolver: client.py JID CA [HOST PORT]. Without a host it asks for the domain's SRV
records. Follows see-other-host, as the RFC has it; a message to itself comes back. The password is on standard input. Prints the address of the gateway it ended at."""
import asyncio
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "live", "lib"))
from stack import Client, arrives  # noqa: E402

REDIRECTS_MAX = 3


class Follower(Client):
    """slixmpp; a see-other-host is its outcome, since its own way of following forgets the port."""

    def __init__(self, *args):
        super().__init__(*args)
        self.add_event_handler("stream_error", self.on_error)

    def on_error(self, e):
        if e["condition"] == "see-other-host":
            self.settle(e["see_other_host"])

    def reconnect(self, *_, **__):
        """Not by itself."""


def by_srv(domain):
    """(host, port) of the first record."""
    text = subprocess.run(["kdig", "+short", f"_xmpp-client._tcp.{domain}", "SRV"], capture_output=True, text=True, check=True).stdout
    fields = text.splitlines()[0].split()
    return fields[3].rstrip("."), int(fields[2])


async def main():
    jid, ca, *address = sys.argv[1:]
    password = sys.stdin.readline().rstrip("\n")
    host, port = (address[0], int(address[1])) if address else by_srv(jid.partition("@")[2])
    hosts = []
    for _ in range(REDIRECTS_MAX):
        hosts.append(host)
        client = Follower(jid, password, ca)
        client.connect((host, port), force_starttls=True, disable_starttls=False)
        outcome = await asyncio.wait_for(client.outcome, 30)
        if outcome in ("in", "failed"):
            break
        name, _, number = outcome.rpartition(":")
        host, port = (name, int(number)) if number.isdigit() else (outcome, 5222)
    answer = {"outcome": outcome, "hosts": hosts}
    if outcome == "in":
        client.send_message(jid, "hello")
        answer["message"] = await arrives(client, (jid, "hello"))
        client.disconnect()
        await client.disconnected
    print(json.dumps(answer))


asyncio.get_event_loop().run_until_complete(asyncio.wait_for(main(), 90))
