// What PM2's documentation advises for reloads: wait for 'ready', and time to finish.
module.exports = {
  apps: [{
    name: 'bench',
    script: `${__dirname}/app.js`,
    exec_mode: 'cluster',
    instances: +process.env.BENCH_WORKERS,
    wait_ready: true,
    listen_timeout: 10000,
    kill_timeout: 5000,
  }],
};
