#!/usr/bin/env python3
"""sasldb: plaintext secrets and stored keys (authPassword), each mechanism; what a client may not do, and how often."""
import asyncio
import base64
import hashlib
import os
import re
import secrets
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from sasl import NS_SASL, Exporting, Mechanism, Stack, attempt, back_end, by_stored_key, environment, failure, plain, scram, stage, stored_key  # noqa: E402
from stack import run  # noqa: E402

DOMAIN = "capulet.example"
PASSWORD = secrets.token_hex(12)
FAILURES_MAX = 30  # of one address in a minute


def add(test, env, user, password, *more):
    subprocess.run(["saslpasswd2", "-p", "-c", *more, "-f", f"{test.folder}/sasldb2", "-u", DOMAIN, user], input=password.encode(), check=True, env=env)


def set_property(test, user, name, value):
    """sasldb is a Berkeley database of "user NUL realm NUL property"; db_load takes it as text."""
    text = lambda s: "".join(f"{byte:02x}" for byte in s)  # noqa: E731
    lines = ["VERSION=3", "format=bytevalue", "type=hash", "HEADER=END", " " + text(f"{user}\0{DOMAIN}\0{name}".encode()), " " + text(value.encode()),
             "DATA=END", ""]
    subprocess.run(["db5.3_load", f"{test.folder}/sasldb2"], input="\n".join(lines).encode(), check=True)


def plus(binding_type, data):
    return scram("SCRAM-SHA-256-PLUS", "juliet", PASSWORD, binding=(binding_type, data))


async def channel_bindings(test, stack, address):
    """RFC 5929, RFC 9266 and XEP-0440, with data of TLS libraries that are not ours."""
    client = await stack.raw(address=address)
    test.check("the types of channel binding are announced (XEP-0440)", {"tls-exporter", "tls-server-end-point"} <=
               set(re.findall(r"<channel-binding type='([^']+)'/>", client.features)) and "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>" in client.features)
    with open(stack.ca) as f:
        end_point = hashlib.sha256(ssl.PEM_cert_to_DER_cert(f.read())).digest()
    for mechanism in (plus("tls-server-end-point", bytes(32)), plus("tls-no-such", end_point), scram("SCRAM-SHA-256", "juliet", PASSWORD, flag="y")):
        answer = await attempt(stack, mechanism, address=address)
        test.check(f"{mechanism.name} with a false {mechanism.first.split(b',')[0].decode()} is not-authorized", "<failure" in answer and "<not-authorized/>" in answer)
    test.check("SCRAM-SHA-256-PLUS with tls-server-end-point", (await client.auth(plus("tls-server-end-point", end_point))).startswith("<success"))
    client.close()
    client = await Exporting().open(stack, address)
    test.check("SCRAM-SHA-256-PLUS with tls-exporter", (await client.auth(plus("tls-exporter", client.exported))).startswith("<success"))
    await client.end()


async def abort(test, stack):
    client = await stack.raw()
    client.begin(Mechanism("PLAIN", None))
    test.check("without an initial response the client is asked for one", (await client.answer()).startswith("<challenge"))
    client.send(f"<abort xmlns='{NS_SASL}'/>")
    test.check("an abort is answered aborted", failure("aborted").fullmatch(await client.answer()))
    test.check("and the stream may try again", (await client.auth(plain("juliet", PASSWORD))).startswith("<success"))
    client.close()


def element(name, text="", mechanism=""):
    return f"<{name} xmlns='{NS_SASL}'" + (mechanism and f" mechanism='{mechanism}'") + f">{text}</{name}>"


async def pipelined(test, stack, address):
    """What a client sends behind the end of an exchange without having heard of it; all of it arrives, and is read, in one piece."""
    spoiled, ended = element("response", "!"), element("abort")
    right = element("auth", base64.b64encode(f"\0juliet\0{PASSWORD}".encode()).decode(), "PLAIN")

    async def behind_challenge(text):
        client = await stack.raw(address=address)
        client.begin(Mechanism("PLAIN", None))
        await client.answer()
        client.send(text)
        return client

    for what, end in (("spoiled", spoiled), ("aborted", ended)):
        client = await behind_challenge(end + right)
        test.check(f"behind an exchange that was {what} the next one is taken",
                   (await client.answer()).startswith("<failure") and (await client.answer()).startswith("<success"))
        client.close()
        for name, again in (("none", element("auth", mechanism="X")), ("one", element("auth", mechanism="PLAIN")), ("a right one", right)):
            client = await behind_challenge(end + again + "</stream:stream>")
            test.check(f"behind one that was {what}, {name} and the stream's end: an answer and an end", (await client.next("<failure.*</stream:stream>")).endswith("</stream:stream>"))
            client.close()
    # While a job thread has it: the password of a SCRAM login without a key at hand, or of PLAIN.
    for again in (spoiled, ended, right):
        client = await stack.raw(address=address)
        client.send(right + again + "</stream:stream>")
        test.check("an exchange that a job thread has is answered before anything behind it", (await client.answer()).startswith("<success"))
        client.close()
    await asyncio.sleep(0.5)   # whatever was left armed has its time
    test.check("the gateway lives, and lets in", stack.gateway.poll() is None and await stack.login("juliet", PASSWORD, "PLAIN") == "in")


async def attempts_of_a_stream(test, stack, address):
    client = await stack.raw(address=address)
    answers = [await client.auth(plain("juliet", "wrong")) for _ in range(3)]
    test.check("three failures are answered", all(failure("not-authorized").fullmatch(a) for a in answers))
    end = await client.next("<stream:error>.*</stream:stream>")
    test.check("then the stream ends with policy-violation", "<policy-violation" in end)
    client.close()


async def failures_of_an_address(test, stack, address):
    """As many streams as it takes, all at once; then the right password is not even looked at, from there."""
    async def three():
        client = await stack.raw(address=address)
        for _ in range(3):
            await client.auth(plain("juliet", "wrong"))
        client.close()

    await asyncio.gather(*(three() for _ in range(FAILURES_MAX // 3)))
    answer = await attempt(stack, plain("juliet", PASSWORD), address=address)
    test.check("an address with too many failures is put off, whatever the password", "<temporary-auth-failure/>" in answer)
    answer = await attempt(stack, plain("juliet", PASSWORD), address="127.0.0.77")
    test.check("another address is not", answer.startswith("<success"))


async def story(test, stack):
    await back_end(test, "plaintext secret", stack, ("juliet", PASSWORD), ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"), "127.0.0.2")
    await by_stored_key(test, "stored key", stack, ("tybalt", PASSWORD), "127.0.0.3")
    await channel_bindings(test, stack, "127.0.0.6")
    await abort(test, stack)
    await pipelined(test, stack, "127.0.0.7")
    await attempts_of_a_stream(test, stack, "127.0.0.4")
    await failures_of_an_address(test, stack, "127.0.0.5")


def main():
    with stage("live.sasl_sasldb") as test:
        env = environment(test, {"pwcheck_method": "auxprop", "auxprop_plugin": "sasldb", "sasldb_path": f"{test.folder}/sasldb2",
                                 "mech_list": "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN"})
        add(test, env, "juliet", PASSWORD)
        set_property(test, "tybalt", "authPassword", stored_key("SCRAM-SHA-256", PASSWORD))
        stack = Stack(test, [DOMAIN], env)
        run(test, story(test, stack))
        stack.stop("sasldb")


main()
