// Node's cluster as people use it: process.send to the primary, which sends to all other workers.
// node relay.js BOARD PROCESSES SIZE json|advanced all|one BATCH WINDOW
// It counts on the same board as the others (board.py), so its workers and its primary are
// measured from outside, and what says how far a consumer is takes no part in the traffic.
'use strict';
const cluster = require('cluster');
const fs = require('fs');

const [path, processes, size, serialization, mode, batch, window] = process.argv.slice(2);
const N = +processes, BATCH = +batch, WINDOW = +window, LINE = 16; // PROCESSES of board.py
const SENT = 8, READY = SENT + LINE, RECEIVED = READY + LINE, STOP = 3, END = 4;
const board = fs.openSync(path, 'r+');

function put(word, value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  fs.writeSync(board, bytes, 0, 8, word * 8);
}

const all = Buffer.alloc((RECEIVED + LINE * LINE) * 8);
function look() { fs.readSync(board, all, 0, all.length, 0); }
function word(at) { return Number(all.readBigUInt64LE(at * 8)); }

if (cluster.isPrimary) {
  cluster.setupPrimary({ serialization });
  const workers = [];
  for (let i = 0; i < N; i++) {
    const worker = cluster.fork({ NUMBER: i });
    workers.push(worker);
    worker.on('message', (message) => {
      for (const other of workers) if (other !== worker) other.send(message);
    });
  }
  console.log(workers.map((worker) => worker.process.pid).join(' '));
} else {
  const me = +process.env.NUMBER;
  const counts = new Array(N).fill(0);
  const step = Math.max(1, Math.min(16, WINDOW >> 3));
  process.on('message', (message) => {
    const count = ++counts[message.from];
    if (count % step === 0) put(RECEIVED + me * LINE + message.from, count);
  });
  // What is less than a step is told when there is time.
  setInterval(() => counts.forEach((count, from) => {
    if (from !== me) put(RECEIVED + me * LINE + from, count);
  }), 20);
  put(READY + me, 1);
  const data = 'x'.repeat(+size);
  let sent = 0, slowest = 0;
  const publish = () => {
    look();
    const phase = word(0);
    if (phase >= STOP) return;
    if (phase === 0) return setTimeout(publish, 5);
    slowest = Infinity;
    for (let c = 0; c < N; c++) {
      if (c !== me) slowest = Math.min(slowest, word(RECEIVED + c * LINE + me));
    }
    if (sent > slowest && sent + BATCH - slowest > WINDOW) return setTimeout(publish, 1);
    for (let i = 0; i < BATCH; i++) process.send({ from: me, data });
    sent += BATCH;
    put(SENT + me, sent);
    setImmediate(publish);
  };
  if (mode === 'all' || me === 0) publish();
}
