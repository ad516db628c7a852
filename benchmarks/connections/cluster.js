// Node's cluster, by the book: node cluster.js WORKERS rr|none. SIGUSR2 rolls a reload, worker by
// worker: the new one listens before the old one is asked to finish; after 5 s it is killed.
const cluster = require('cluster');
const [, , workers, policy] = process.argv;
cluster.schedulingPolicy = policy === 'none' ? cluster.SCHED_NONE : cluster.SCHED_RR;
cluster.setupPrimary({ exec: `${__dirname}/app.js` });
const leaving = new Set();
for (let i = 0; i < +workers; i++) cluster.fork();
cluster.on('exit', (worker) => { if (!leaving.delete(worker.id)) cluster.fork(); });

process.on('SIGUSR2', () => {
  const old = Object.values(cluster.workers).filter((worker) => !leaving.has(worker.id));
  (function next() {
    const worker = old.shift();
    if (!worker) return;
    cluster.fork().once('listening', () => {
      if (worker.isDead()) return next();
      leaving.add(worker.id);
      worker.send('drain');
      const timer = setTimeout(() => worker.process.kill('SIGKILL'), 5000);
      worker.once('exit', () => { clearTimeout(timer); next(); });
    });
  })();
});
process.on('SIGTERM', () => process.exit(0));
