#!/usr/bin/env python3
"""Pairs of clients (resuming.py), shared over processes: one event loop of Python is soon busier than the programs under test. The test holds a Herd; each process of it is
this file, told what to do by JSON, a line for each command, and answering each with a line."""
import asyncio
import json
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
SLACK = 1.0   # seconds that an acknowledgement may take from a client to its service, where nothing is in its way


class Herd:
    """Of the test's side. `answers` are lists, one item for each process."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []

    async def start(self, users, ca, nr_processes, every):
        """users: [(full JID, password)], in the order of their pairs. every: seconds between two messages of one client."""
        # Each client of slixmpp loads all certificates of the system before the ones that it is given: two thirds of what its login costs.
        env = dict(os.environ, SSL_CERT_FILE=os.devnull, SSL_CERT_DIR=os.devnull)
        share = (len(users) // nr_processes + 1) // 2 * 2
        for i in range(nr_processes):
            mine = users[i * share:] if i == nr_processes - 1 else users[i * share:(i + 1) * share]
            with open(f"{self.folder}/herd{i}.log", "ab") as log:
                self.processes.append(await asyncio.create_subprocess_exec(
                    sys.executable, os.path.abspath(__file__), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, limit=1 << 26,
                    env=env))
            self.tell_one(self.processes[-1], {"do": "have", "users": mine, "ca": ca, "every": every})

    @staticmethod
    def tell_one(process, command):
        process.stdin.write(json.dumps(command).encode() + b"\n")

    def tell(self, **command):
        for process in self.processes:
            self.tell_one(process, command)

    async def ask(self, **command):
        self.tell(**command)
        lines = await asyncio.gather(*(process.stdout.readline() for process in self.processes))
        if not all(lines):
            raise RuntimeError("a process of clients has ended")
        return [json.loads(line) for line in lines]

    async def leave(self):
        self.tell(do="leave")
        await asyncio.sleep(0.5)

    def stop(self):
        for process in self.processes:
            if process.returncode is None:
                process.kill()


class Child:
    """Of the other side: `report` says what happened since the last one."""

    def __init__(self):
        self.where_to, self.deaths, self.troubles, self.talk = [], [], [], None
        self.reset()

    def reset(self):
        self.since = time.monotonic()

    def have(self, users, ca, every):
        from resuming import Pairs, Resuming
        self.clients = [Resuming(jid, password, ca, lambda: random.choice(self.where_to)) for jid, password in users]
        self.pairs = Pairs(self.clients, every)
        self.marks = {c: self.mark(c) for c in self.clients}

    @staticmethod
    def mark(c):
        return {"sent": c.sent, "acked": len(c.acked), "inbox": len(c.inbox), "resumed": c.resumed, "sessions": c.sessions, "again": c.again_told, "aways": len(c.aways)}

    def begin(self):
        self.pairs.talking = True
        self.talk = asyncio.ensure_future(self.pairs.talk())

    async def settle(self, seconds):
        settled = await self.pairs.settle(seconds)
        await self.talk
        answer = dict(self.report(), settled=settled)
        self.marks = {c: self.mark(c) for c in self.clients}
        self.reset()
        return answer

    def known_until(self, death):
        """What a client acknowledged before this, an instance that died at `death` had heard of: links may have been down since the trouble before."""
        return max([t for t in self.troubles if t < death - 0.01] + [0]) - SLACK

    def repetitions(self):
        """(how many, those that should not be, and of these the two users and the stanza ids). One is allowed that has the id which the service gave the first, if the recipient had not acknowledged the first when it came,
        or when an instance died between the two."""
        nr, wrong, ways = 0, [], []
        for c in self.clients:
            seen = {}
            for m in c.inbox:
                first = seen.setdefault(m.what, m)
                if first is m or m.at < self.since:
                    continue
                nr += 1
                deaths = [t for t in self.deaths if first.at - 5 * SLACK < t < m.at and (first.acked_at is None or first.acked_at > self.known_until(t))]
                told = len(wrong)
                unconfirmed = self.deaths and (first.acked_at is None or first.acked_at >= m.at)
                if first.sid is None or first.sid != m.sid:
                    wrong.append(f"{c.jid} {m.number}: stanza ids {first.sid} and {m.sid}")
                elif not deaths and not unconfirmed:
                    wrong.append(f"{c.jid} {m.number}: again after {m.at - first.at:.1f} s, acknowledged after {first.acked_at and round(first.acked_at - first.at, 1)} s; "
                                 f"deaths {[round(t - first.at, 1) for t in self.deaths]}, troubles {[round(t - first.at, 1) for t in self.troubles]}")
                if len(wrong) > told:
                    ways.append(((c.bare, c.peer), (first.sid, m.sid)))
        return nr, wrong, ways

    def report(self):
        grown = {}
        for c in self.clients:
            for name, n in self.mark(c).items():
                grown[name] = grown.get(name, 0) + n - self.marks[c][name]
        nr, wrong, ways = self.repetitions()
        return {"sent": grown["sent"], "acked": grown["acked"], "resumed": grown["resumed"], "sessions": grown["sessions"], "again": grown["again"],
                "arrived": sum(len({m.number for m in c.inbox[self.marks[c]["inbox"]:]}) for c in self.clients),
                "repeated": nr, "wrong": wrong, "lost": self.pairs.lost(), "disordered": [what for what, _, _ in self.disorder()],
                "ways": ways + [(users, sids) for _, users, sids in self.disorder()],
                "nameless": sum(m.sid is None for c in self.clients for m in c.inbox),
                "aways": [t for c in self.clients for t in c.aways[self.marks[c]["aways"]:]],
                "strange": [s for c in self.clients for s in c.strange],
                "stuck": [f"{c.jid}: sent {c.sent}, acknowledged {len(c.acked)}, live {c.live}" for c in self.clients if len(c.acked) != c.sent or not c.live]}

    def disorder(self):
        """Who got a first arrival that another one had overtaken, and which; the two users; the stanza ids of both."""
        found = []
        for c in self.clients:
            highest, firsts = 0, {}
            for m in c.inbox:
                firsts.setdefault(m.number, m)
            for number, m in firsts.items():
                if number < highest:
                    other = firsts[highest]
                    found.append((f"{c.jid}: {number} after {highest}, {m.at - other.at:.2f} s later, in sessions {m.session} and {other.session}", (c.bare, c.peer), (m.sid, other.sid)))
                highest = max(highest, number)
        return found

    async def serve(self):
        reader = asyncio.StreamReader(limit=1 << 26)
        await asyncio.get_event_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            command = json.loads(line)
            do, answer = command.pop("do"), None
            if do == "have":
                self.have(**command)
            elif do == "where":
                self.where_to = [tuple(a) for a in command["to"]]
            elif do == "enter":
                answer = await self.pairs.enter(command["at_once"])
                self.marks = {c: self.mark(c) for c in self.clients}
            elif do == "talk":
                self.begin()
            elif do == "trouble":
                self.troubles.append(command["at"])
                if command["kind"] == "instance":
                    self.deaths.append(command["at"])
            elif do == "settle":
                answer = await self.settle(command["seconds"])
            elif do == "leave":
                self.pairs.leave()
            if answer is not None:
                print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.get_event_loop().run_until_complete(Child().serve())
