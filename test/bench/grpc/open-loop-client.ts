import { readFileSync } from 'node:fs';
import { openLeanConnection } from './lean-http2.ts';

/**
 * An open-loop gRPC load generator: requests leave at a fixed rate whether answers come or not, and an answer's time counts from when its
 * request was due, so that a server which falls behind cannot hide it. Each request carries its deadline as `grpc-timeout`.
 * Usage: node open-loop-client.ts <host:port> </package.Service/Method> <body file> <connections> <rate> <seconds> <answer bytes> <deadline ms>
 * Prints `{"sent","in_time","late","refused","unanswered","errors","good_per_s","p50_ms","p99_ms"}`: answers of the right size within
 * the deadline and after it, answers without a message, and requests with none; the quantiles are of all answers.
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
] = process.argv.slice(2);
const deadlineMs = Number(end);
const warmUpMs = 2_000;
const graceMs = 2 * deadlineMs + 200;

const latenciesMs: number[] = [];
const counts = { sent: 0, in_time: 0, late: 0, refused: 0, errors: 0 };
const startMs = performance.now();
const fromMs = startMs + warmUpMs;
const untilMs = fromMs + Number(seconds) * 1000;

const opened = await Promise.all(
  Array.from({ length: Number(connections) }, () =>
    openLeanConnection({
      address,
      path,
      body: readFileSync(bodyFile),
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
const everyMs = 1000 / Number(rate);
await new Promise<void>((resolve) => {
  const timer = setInterval(() => {
    const nowMs = performance.now();
    for (; due <= nowMs && due < untilMs; due += everyMs) {
      if (due >= fromMs) counts.sent++;
      opened[next++ % opened.length]?.send(due);
    }
    for (const connection of opened) connection.flush();
    if (due < untilMs) return;
    clearInterval(timer);
    resolve();
  }, 1);
});
await new Promise((resolve) => setTimeout(resolve, graceMs));
for (const connection of opened) connection.close();
const sorted = Float64Array.from(latenciesMs).sort();
const quantile = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
const { sent, in_time, late, refused } = counts;
process.stdout.write(
  `${JSON.stringify({
    ...counts,
    unanswered: sent - in_time - late - refused,
    good_per_s: in_time / Number(seconds),
    p50_ms: quantile(0.5),
    p99_ms: quantile(0.99),
  })}\n`,
);
