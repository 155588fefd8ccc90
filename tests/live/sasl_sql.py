#!/usr/bin/env python3
"""SQL: Cyrus SASL's sql plugin on SQLite and on PostgreSQL. A database that is down is our trouble and no wrong password; one that hangs for a domain
(its rows are locked) holds up that domain's logins and no others, nor the gateway's end."""
import asyncio
import os
import secrets
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from postgres import Postgres  # noqa: E402
from sasl import Stack, attempt, back_end, by_password, by_stored_key, environment, failure, plain, scram, stage, stored_key  # noqa: E402
from stack import run  # noqa: E402

OURS, OTHER = "capulet.example", "montague.example"
PASSWORD = secrets.token_hex(12)
HUNG = 6  # logins: more than the job threads that one domain may occupy (4)

COLUMNS = '(username text, realm text, "userPassword" text, "authPassword" text, "cmusaslsecretPLAIN" text)'
CONF = {"pwcheck_method": "auxprop", "auxprop_plugin": "sql", "mech_list": "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN",
        "sql_select": "SELECT \"%p\" FROM account WHERE username = '%u' AND realm = '%r'"}


def row(user, realm, column="userPassword", value=PASSWORD):
    return f"INSERT INTO account (username, realm, \"{column}\") VALUES ('{user}', '{realm}', '{value}');"


def people():
    return row("juliet", OURS) + row("tybalt", OURS, "authPassword", stored_key("SCRAM-SHA-256", PASSWORD))


async def passwords(test, what, stack):
    await back_end(test, what, stack, ("juliet", PASSWORD), ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"), "127.0.0.2")
    await by_stored_key(test, f"{what}, stored key", stack, ("tybalt", PASSWORD), "127.0.0.7")
    for nothing in ("", "NULL"):  # what the plugin makes of it
        for mech in ("PLAIN", "SCRAM-SHA-1"):
            answer = await attempt(stack, by_password(mech, "tybalt", nothing), address="127.0.0.3")
            test.check(f"{what}, {mech}: NULL is not the password '{nothing}'", failure("not-authorized").fullmatch(answer))
    answer = await attempt(stack, plain("juliet' OR 'a' = 'a", PASSWORD), address="127.0.0.3")
    test.check(f"{what}: a quote in a name is a name", failure("not-authorized").fullmatch(answer))


def both(user):
    return plain(user, PASSWORD), scram("SCRAM-SHA-256", user, PASSWORD)


async def down(test, stack, database):
    database.stop()
    for mechanism in both("nurse"):
        answer = await attempt(stack, mechanism, address="127.0.0.4")
        test.check(f"PostgreSQL is down: {mechanism.name} is put off", failure("temporary-auth-failure").fullmatch(answer))
    database.start()
    for mechanism in both("nurse"):
        answer = await attempt(stack, mechanism, address="127.0.0.4")
        test.check(f"PostgreSQL is back: {mechanism.name} is let in", answer.startswith("<success"))


class Lock:
    """Nobody reads the rows of a domain until it is let go."""

    def __init__(self, database, table):
        self.database, self.session = database, database.session()
        self.session.stdin.write(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n")
        self.session.stdin.flush()
        assert self.session.stdout.readline() == "locked\n"

    async def waiters(self, nr):
        """Until so many look-ups stand before the lock."""
        while int(self.database.psql("SELECT count(*) FROM pg_locks WHERE NOT granted;")) < nr:
            await asyncio.sleep(0.05)

    def let_go(self):
        self.session.communicate("COMMIT;\n")


async def hang(test, stack, database):
    lock = Lock(database, "montague")
    began = time.monotonic()
    hung = [asyncio.create_task(attempt(stack, mechanism, OTHER, "127.0.0.5")) for _ in range(HUNG // 2) for mechanism in both("romeo")]
    await lock.waiters(4)
    others = [await stack.login("juliet", PASSWORD, "PLAIN")]
    others += await asyncio.gather(*(attempt(stack, mechanism, address="127.0.0.6") for user in ("nurse", "peter") for mechanism in both(user)))
    test.check("a domain hangs: the other's logins go through", others[0] == "in" and all(a.startswith("<success") for a in others[1:]))
    test.check("a domain hangs: its own are still open by then", not any(task.done() for task in hung))
    answers = await asyncio.gather(*hung)
    test.check("a domain hangs: its own are put off", all(failure("temporary-auth-failure").fullmatch(a) for a in answers))
    test.check("a domain hangs: that takes 10 seconds, not less", time.monotonic() - began >= 10)
    lock.let_go()
    answers = [await attempt(stack, mechanism, OTHER, "127.0.0.5") for mechanism in both("romeo")]
    test.check("a domain hangs no more: its users log in", all(a.startswith("<success") for a in answers))


async def end_in_hang(test, stack, database):
    """The gateway is told to stop while a job thread is inside the database, for as long as the database likes."""
    lock = Lock(database, "montague")
    hung = asyncio.create_task(attempt(stack, plain("romeo", PASSWORD), OTHER, "127.0.0.5"))
    await lock.waiters(1)
    stack.stop("PostgreSQL hangs")
    test.check("PostgreSQL hangs: the lock outlived the gateway", lock.session.poll() is None)
    lock.let_go()
    await asyncio.wait([hung])


async def postgres_story(test, stack, database):
    await passwords(test, "PostgreSQL", stack)
    await down(test, stack, database)
    await hang(test, stack, database)
    await end_in_hang(test, stack, database)


def sqlite(test):
    path = f"{test.folder}/accounts.sqlite"
    subprocess.run(["sqlite3", path], input=f"CREATE TABLE account {COLUMNS}; {people()}", text=True, check=True)
    stack = Stack(test, [OURS], environment(test, dict(CONF, sql_engine="sqlite3", sql_database=path)))
    run(test, passwords(test, "SQLite", stack))
    stack.stop("SQLite")


def postgres(test):
    database = Postgres(test)
    database.start()
    database.psql(f"CREATE TABLE account {COLUMNS} PARTITION BY LIST (realm);"
                  f"CREATE TABLE capulet PARTITION OF account FOR VALUES IN ('{OURS}');"
                  f"CREATE TABLE montague PARTITION OF account FOR VALUES IN ('{OTHER}');"
                  + people() + row("nurse", OURS) + row("peter", OURS) + row("romeo", OTHER))
    conf = dict(CONF, sql_engine="pgsql", sql_hostnames=database.folder, sql_user="gateway", sql_passwd=database.password, sql_database="postgres")
    stack = Stack(test, [OURS, OTHER], environment(test, conf))
    run(test, postgres_story(test, stack, database))
    database.stop()


def main():
    with stage("live.sasl_sql") as test:
        sqlite(test)
        postgres(test)


main()
