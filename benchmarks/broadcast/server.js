// The same on Node: cluster, ws and redis. node server.js WORKERS PORT REDIS_PORT
const cluster = require('cluster');
const [, , workers, port, redisPort] = process.argv;
if (cluster.isPrimary) {
  for (let i = 0; i < +workers; i++) cluster.fork();
} else {
  const { WebSocketServer } = require('ws');
  const { createClient } = require('redis');
  const url = `redis://127.0.0.1:${redisPort}`;
  (async () => {
    const publisher = createClient({ url });
    const subscriber = createClient({ url });
    await publisher.connect();
    await subscriber.connect();
    const server = new WebSocketServer({ port: +port, host: '127.0.0.1', perMessageDeflate: false });
    await subscriber.subscribe('all', (text) => {
      for (const client of server.clients) client.send(text);
    });
    server.on('connection', (client) => {
      client.on('message', (data) => publisher.publish('all', data.toString()));
    });
  })();
}
