/** `node main.ts <directory> <port> <sessions>`: ClickHouse's HTTP interface on chDB, in a process of its own. */
import { startChdbServer } from './server.ts';

const [dir = '', port = '0', sessions = '8'] = process.argv.slice(2);
const server = await startChdbServer({ dir, port: Number(port), sessionsMax: Number(sessions) });

/** What is committed is on disk already, so a query that outlasts this is simply cut. */
const closeTimeoutMs = 3_000;

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), closeTimeoutMs).unref();
    void server.close().then(() => process.exit(0));
  });
}
process.stdout.write(`${JSON.stringify({ event: 'ready', service: 'chdb', port: server.port })}\n`);
