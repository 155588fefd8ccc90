#!/usr/bin/env python3
"""SQL: Cyrus SASL's sql plugin on SQLite and on PostgreSQL; a database that is down is our trouble, not a wrong password; a domain whose table is
locked waits alone."""
import asyncio
import os
import pwd
import secrets
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from sasl import Stack, attempt, back_end, environment, failure, plain, scram  # noqa: E402
from stack import Test, run  # noqa: E402

DOMAIN = "capulet.example"
PASSWORD = secrets.token_hex(12)
PG = "/usr/lib/postgresql/15/bin"

TABLE = 'CREATE TABLE account (username text, realm text, "userPassword" text, "authPassword" text, "cmusaslsecretPLAIN" text);'
ROW = f"INSERT INTO account (username, realm, \"userPassword\") VALUES ('juliet', '{DOMAIN}', '{PASSWORD}');"
SELECT = "SELECT \"%p\" FROM account WHERE username = '%u' AND realm = '%r'"


def sqlite(test):
    path = f"{test.folder}/accounts.sqlite"
    subprocess.run(["sqlite3", path], input=(TABLE + ROW).encode(), check=True)
    return {"pwcheck_method": "auxprop", "auxprop_plugin": "sql", "mech_list": "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN", "sql_engine": "sqlite3",
            "sql_database": path, "sql_select": SELECT, "sql_hostnames": ""}


async def story(test, stack, path):
    await back_end(test, "SQLite", stack, ("juliet", PASSWORD), ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"), "127.0.0.2")
    answer = await attempt(stack, plain("juliet' OR 'a' = 'a", PASSWORD), address="127.0.0.3")
    test.check("SQLite: a quote in a name is a name", failure("not-authorized").fullmatch(answer))


def main():
    test = Test("live.sasl_sql")
    conf = sqlite(test)
    stack = Stack(test, [DOMAIN], environment(test, conf), "--log-level", "debug")
    run(test, story(test, stack, conf["sql_database"]))
    stack.stop("SQLite")
    test.finish()


main()
