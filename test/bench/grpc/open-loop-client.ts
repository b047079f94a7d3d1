import { readFileSync } from 'node:fs';
import { cpuMs } from './cpu.ts';
import { openLeanConnection } from './lean-http2.ts';

/**
 * An open-loop gRPC load generator: requests leave at a fixed rate whether answers come or not, and an answer's time counts from when its
 * request was due, so that a server which falls behind cannot hide it. Each request carries its deadline as `grpc-timeout`.
 * Usage: node open-loop-client.ts <host:port> </package.Service/Method> <body file> <connections> <rate> <seconds> <answer bytes> <deadline ms> <pids>
 * The body file may be several, comma between: connection i then sends the i-th of them, and there must be as many connections, or a multiple.
 * Prints `{"sent","in_time","late","refused","unanswered","errors","good_per_s","p50_ms","p99_ms","send_late_p99_ms","cores"}`: answers of the
 * right size within the deadline and after it, answers without a message, and requests with none; the quantiles are of all answers.
 * `send_late_p99_ms` is how late requests left, `cores` what this process and those of `pids` (comma between) took meanwhile.
 */
const [
  address = '',
  path = '',
  bodyFile = '',
  connections = '1',
  rate = '1',
  seconds = '1',
  answerBytes = '0',
  end = '1',
  pids = '',
] = process.argv.slice(2);
const deadlineMs = Number(end);
const bodyFiles = bodyFile.split(',');
const warmUpMs = 2_000;
const graceMs = 2 * deadlineMs + 200;

const latenciesMs: number[] = [];
const sendLateMs: number[] = [];
const watched = ['self', ...pids.split(',').filter((pid) => pid !== '')];
const counts = { sent: 0, in_time: 0, late: 0, refused: 0, errors: 0 };
const startMs = performance.now();
const fromMs = startMs + warmUpMs;
const untilMs = fromMs + Number(seconds) * 1000;

const opened = await Promise.all(
  Array.from({ length: Number(connections) }, (_, i) =>
    openLeanConnection({
      address,
      path,
      body: readFileSync(bodyFiles[i % bodyFiles.length] ?? ''),
      headers: { 'grpc-timeout': `${deadlineMs}m` },
      onAnswer(dueMs, bytes) {
        if (dueMs < fromMs || dueMs >= untilMs) return;
        const tookMs = performance.now() - dueMs;
        if (bytes !== Number(answerBytes) + 5) counts.refused++;
        else {
          latenciesMs.push(tookMs);
          if (tookMs <= deadlineMs) counts.in_time++;
          else counts.late++;
        }
      },
      onError: () => counts.errors++,
    }),
  ),
);

let due = startMs;
let next = 0;
let cpuMsBefore: readonly number[] | undefined;
const everyMs = 1000 / Number(rate);
await new Promise<void>((resolve) => {
  const timer = setInterval(() => {
    const nowMs = performance.now();
    if (nowMs >= fromMs) cpuMsBefore ??= watched.map(cpuMs);
    for (; due <= nowMs && due < untilMs; due += everyMs) {
      if (due >= fromMs) {
        counts.sent++;
        sendLateMs.push(nowMs - due);
      }
      opened[next++ % opened.length]?.send(due);
    }
    for (const connection of opened) connection.flush();
    if (due < untilMs) return;
    clearInterval(timer);
    resolve();
  }, 1);
});
const cores = watched.map((pid, i) => (cpuMs(pid) - (cpuMsBefore?.[i] ?? Number.NaN)) / (performance.now() - fromMs));
await new Promise((resolve) => setTimeout(resolve, graceMs));
for (const connection of opened) connection.close();
const quantile = (sorted: Float64Array, q: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
const sorted = Float64Array.from(latenciesMs).sort();
const { sent, in_time, late, refused } = counts;
process.stdout.write(
  `${JSON.stringify({
    ...counts,
    unanswered: sent - in_time - late - refused,
    good_per_s: in_time / Number(seconds),
    p50_ms: quantile(sorted, 0.5),
    p99_ms: quantile(sorted, 0.99),
    send_late_p99_ms: quantile(Float64Array.from(sendLateMs).sort(), 0.99),
    cores,
  })}\n`,
);
