// The application of app.py for Node's cluster and for PM2, which run it in their workers.
const crypto = require('crypto'), fs = require('fs'), http = require('http'), https = require('https');
const directory = process.env.BENCH_DIR, release = fs.readFileSync(`${directory}/release`, 'utf8');
const tls = process.env.BENCH_TLS === '1';
let draining = false;

function block(kind, seconds) {
  const deadline = Date.now() + 1000 * seconds;
  if (kind === 'sleeping') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000 * seconds);
  else if (kind === 'spinning') while (Date.now() < deadline);
  else while (Date.now() < deadline) crypto.pbkdf2Sync('a', 'b', 20000, 64, 'sha512');
}

function answer(response, number) {
  const body = `${release} ${process.pid} ${number}`;
  const headers = { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(body) };
  if (draining) headers.connection = 'close';
  response.writeHead(200, headers);
  response.end(body);
}

function serve(request, response) {
  const url = new URL(request.url, 'http://bench'), number = url.searchParams.get('id') || '0';
  if (url.pathname === '/echo') {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => answer(response, Buffer.concat(parts).toString()));
    return;
  }
  if (url.pathname === '/slow') block('sleeping', 0.05);
  if (url.pathname === '/block') block(url.searchParams.get('kind'), +url.searchParams.get('seconds'));
  if (url.pathname === '/wait') setTimeout(() => answer(response, number), 200);
  else answer(response, number);
}

const server = tls
  ? https.createServer({ key: fs.readFileSync(`${directory}/key.pem`), cert: fs.readFileSync(`${directory}/cert.pem`) }, serve)
  : http.createServer(serve);
server.keepAliveTimeout = 60000;
server.listen({ port: +process.env.BENCH_PORT, host: '127.0.0.1', backlog: 2048 }, () => {
  fs.writeFileSync(`${directory}/ready-${process.pid}`, '');
  if (process.send) process.send('ready');
});

// What Node's and PM2's documentation advise, and answers that announce the end.
function drain() {
  draining = true;
  server.close(() => process.exit(0));
}
process.on('SIGINT', drain); // PM2
process.on('message', (message) => { if (message === 'drain') drain(); }); // cluster.js
