// Eight clients of Socket.IO: each says something again and again, and hears everybody once.
//
//   node crowd.mjs URL TRANSPORT[,TRANSPORT]
//
// The line "round" makes each say something and wait until all have heard all of it; "settle" makes
// each say something until it is confirmed, so that who was disconnected is connected again (the
// library does that by itself; what is said meanwhile is lost by Socket.IO's own rules). Each answer
// is a line of JSON.

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const CLIENTS = 8;
const [url, transports] = process.argv.slice(2);
const heard = Array.from({ length: CLIENTS }, () => new Map());
const sockets = heard.map((mine) => {
  const socket = io(url, {
    transports: transports.split(","),
    forceNew: true,
    reconnectionDelay: 50,
    reconnectionDelayMax: 200,
  });
  socket.on("said", (text) => mine.set(text, (mine.get(text) ?? 0) + 1));
  return socket;
});

const connected = (socket) =>
  socket.connected ? Promise.resolve() : new Promise((done) => socket.once("connect", done));

async function say(socket, text) {
  for (;;) {
    await connected(socket);
    try {
      return await socket.timeout(5000).emitWithAck("say", text);
    } catch {} // the connection ended, and nobody knows whether it was said
  }
}

async function until(isSo, what) {
  const deadline = Date.now() + 60_000;
  while (!isSo()) {
    if (Date.now() > deadline) {
      console.error(`it did not happen: ${what()}`);
      process.exit(1);
    }
    await new Promise((done) => setTimeout(done, 5));
  }
}

async function round(number) {
  await Promise.all(sockets.map(connected));
  const texts = sockets.map((_, client) => `${number}:${client}`);
  const homes = await Promise.all(sockets.map((socket, client) => say(socket, texts[client])));
  const missing = () =>
    heard.flatMap((mine, client) => texts.filter((text) => !mine.has(text)).map((text) => `${client} lacks ${text}`));
  await until(() => !missing().length, () => missing().join(", "));
  const twice = heard.flatMap((mine) => texts.filter((text) => mine.get(text) > 1));
  const over = sockets.map((socket) => socket.io.engine.transport.name);
  console.log(JSON.stringify({ round: number, homes, over, twice: twice.length }));
}

async function settle() {
  await Promise.all(sockets.map((socket, client) => say(socket, `settled ${client}`)));
  console.log("{}");
}

let number = 0;
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "end") break;
  await (line === "settle" ? settle() : round(++number));
}
for (const socket of sockets) socket.disconnect();
process.exit(0);
