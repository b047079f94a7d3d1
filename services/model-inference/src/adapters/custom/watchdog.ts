/**
 * A thread beside a custom model's own: ends the process when it takes more memory than it may, or when the service is gone, also while the
 * model loops. It imports nothing else, and reads nothing but standard input, which the service never writes to.
 */
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';

/** Memory grows by some tens of MB between two looks at most. */
const lookMs = 50;

const { bytesMax, mark } = workerData as { readonly bytesMax: number; readonly mark: string };
const end = (why: string) => {
  writeSync(2, `${mark} ${why}\n`);
  process.kill(process.pid, 'SIGKILL');
};
const service = new Socket({ fd: 0, readable: true, writable: false });
for (const event of ['end', 'error'] as const) service.on(event, () => end('the service is gone'));
service.resume();
// what Node takes itself, about 100 MB, most of it shared by all processes
const ownBytes = process.memoryUsage.rss();
setInterval(() => {
  const bytes = process.memoryUsage.rss() - ownBytes;
  if (bytes > bytesMax) end(`${Math.ceil(bytes / 2 ** 20)} MiB`);
}, lookMs);
parentPort?.postMessage('watching');
