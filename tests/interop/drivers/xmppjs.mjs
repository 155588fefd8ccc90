/* @xmpp/client, unmodified, under the commands of lib/peer.py. Its certificate authority comes by NODE_EXTRA_CA_CERTS. */
import { webcrypto } from "node:crypto";
import readline from "node:readline";
import { client, xml } from "@xmpp/client";

globalThis.crypto ??= webcrypto; // the library expects it to be global, as it is from Node 20 on

const ROSTER = "jabber:iq:roster";
const DISCO = "http://jabber.org/protocol/disco#info";
const DELAY = "urn:xmpp:delay";

const say = (...fields) => process.stdout.write(fields.map((f) => f ?? "").join("\t") + "\n");
const present = (attrs) => Object.fromEntries(Object.entries(attrs).filter(([, value]) => value));
const item = ({ attrs }) => [attrs.jid, attrs.subscription, attrs.ask, attrs.name];

let xmpp;

function condition(stanza) {
  return stanza.getChild("error")?.getChildElements()[0]?.name;
}

function onStanza(stanza) {
  const { from, type } = stanza.attrs;
  if (stanza.is("presence")) {
    say("presence", from, type, stanza.getChildText("show"), condition(stanza));
  } else if (stanza.is("message")) {
    say("message", from, type, stanza.getChildText("body"), stanza.getChild("delay", DELAY)?.attrs.stamp, condition(stanza));
  }
}

function login(jid, password, host, port, mechanism) {
  const [username, domain] = jid.split("@");
  xmpp = client({
    service: `xmpp://${host}:${port}`,
    domain,
    lang: "en",
    credentials: (authenticate) => {
      if (!xmpp.isSecure()) throw new Error("not encrypted");
      return authenticate({ username, password }, mechanism);
    },
  });
  xmpp.reconnect.stop();
  xmpp.timeout = 20000;
  xmpp.on("error", (error) => say("refused", error.message));
  xmpp.on("online", (address) => say("online", address));
  xmpp.on("disconnect", () => say("closed"));
  xmpp.on("stanza", onStanza);
  xmpp.iqCallee.set(ROSTER, "query", ({ element }) => {
    element.getChildren("item").forEach((i) => say("push", ...item(i)));
    return true;
  });
  xmpp.start().catch(() => {}); // told by "error"
}

async function ask(type, to, child, told) {
  try {
    told(await xmpp.iqCaller.request(xml("iq", present({ type, to }), child), 20000));
  } catch (error) {
    say("iq-error", to, error.condition ?? error.message);
  }
}

const commands = {
  login,
  roster: () =>
    ask("get", "", xml("query", { xmlns: ROSTER }), (iq) => {
      iq.getChild("query", ROSTER).getChildren("item").forEach((i) => say("item", ...item(i), i.getChildText("group")));
      say("roster");
    }),
  add: (jid, name, group) =>
    ask("set", "", xml("query", { xmlns: ROSTER }, xml("item", { jid, name }, xml("group", {}, group))), () => say("done", jid)),
  remove: (jid) => ask("set", "", xml("query", { xmlns: ROSTER }, xml("item", { jid, subscription: "remove" })), () => say("done", jid)),
  presence: (type, to, show, priority) =>
    xmpp.send(xml("presence", present({ type, to }), show && xml("show", {}, show), priority && xml("priority", {}, priority))),
  message: (to, type, body) => xmpp.send(xml("message", present({ to, type }), xml("body", {}, body))),
  ping: (to) => ask("get", to, xml("ping", { xmlns: "urn:xmpp:ping" }), () => say("pong", to)),
  disco: (to) =>
    ask("get", to, xml("query", { xmlns: DISCO }), (iq) => {
      const query = iq.getChild("query", DISCO);
      const identity = query.getChild("identity").attrs;
      say("disco", to, `${identity.category}/${identity.type}`, query.getChildren("feature").map((f) => f.attrs.var).join(" "));
    }),
  close: () => xmpp.stop(),
};

const input = readline.createInterface({ input: process.stdin });
input.on("line", (line) => {
  const [verb, ...fields] = line.split("\t");
  commands[verb](...fields);
});
input.on("close", () => process.exit(0));
