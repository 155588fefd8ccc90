/* @xmpp/client, unmodified, with its own stream management and reconnection: numbered messages to a peer until told "quiet", one word a line of what happens.
 * With LATE=MS the process is kept busy for so long after each message, so that acknowledgements arrive before the library hears that it has written. */
import { webcrypto } from "node:crypto";
import readline from "node:readline";
import { client, xml } from "@xmpp/client";

globalThis.crypto ??= webcrypto; // the library expects it to be global, as it is from Node 20 on

const [username, domain, service, peer] = process.argv.slice(2);
const password = process.env.PASSWORD;
const late = Number(process.env.LATE ?? 0);
const say = (...fields) => process.stdout.write(fields.join(" ") + "\n");

const xmpp = client({ service, domain, resource: "phone", username, password });
let sent = 0;
let talking = false;

xmpp.reconnect.delay = 200;
xmpp.on("error", () => {}); // it reconnects by itself
xmpp.on("online", () => {
  say("session");
  xmpp.send(xml("presence")).catch(() => {});
});
xmpp.streamManagement.on("resumed", () => say("resumed"));
xmpp.on("nonza", (nonza) => {
  if (nonza.is("resumed")) say("counted", nonza.attrs.h); // before it acts on it
});
xmpp.on("send", (stanza) => {
  if (stanza.is("message") && stanza.getChild("delay", "urn:xmpp:delay")) say("again", stanza.getChildText("body"));
});
xmpp.streamManagement.on("ack", (stanza) => {
  if (stanza.is("message")) say("ack", stanza.getChildText("body"));
});
xmpp.streamManagement.on("fail", (stanza) => say("fail", stanza.getChildText("body")));
xmpp.on("stanza", (stanza) => {
  if (stanza.getChild("delay", "urn:xmpp:delay")) say("marked", stanza.getChildText("body")); // the library's mark when it sends again, or the service's when it stored
  if (stanza.is("message")) say(stanza.attrs.type === "error" ? "error" : "got", stanza.getChildText("body"));
});

setInterval(() => {
  if (!talking || xmpp.status !== "online") return;
  sent += 1;
  say("sent", sent);
  xmpp.send(xml("message", { to: peer, type: "chat", id: `m${sent}` }, xml("body", {}, String(sent)))).catch(() => {});
  for (const end = Date.now() + late; Date.now() < end; );
}, 200);

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  talking = line === "talk";
});
xmpp.start().catch(() => {});
