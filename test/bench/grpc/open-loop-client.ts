import { readFileSync } from 'node:fs';
import { cpuMs } from './cpu.ts';
import { openLeanConnection } from './lean-http2.ts';

/**
 * An open-loop gRPC load generator: requests leave at a fixed rate whether answers come or not, and an answer's time counts from when its
 * request was due, so that a server which falls behind cannot hide it. Each request carries its deadline as `grpc-timeout`.
 * Usage: node open-loop-client.ts <host:port> </package.Service/Method> <body file> <connections> <rate> <seconds> <answer bytes> <deadline ms> <pids>
 * The body file may be several, comma between: connection i then sends the i-th of them, and there must be as many connections, or a multiple.
 * [<urgent body file> <every>]; the last two: each so manieth request has the other body.
 * Prints `{"sent","in_time","late","refused","reset","unanswered","errors","good_per_s","p50_ms","p99_ms","urgent_in_time","urgent_p99_ms",
 * "send_late_p99_ms","cores"}`: answers of the right size within the deadline and after it, answers without a message (`reset`: those of them that are
 * REFUSED_STREAM), and requests with none; the quantiles are of all answers; `urgent_in_time` is a share. `send_late_p99_ms` is how late
 * requests left, `cores` what this process and those of `pids` (comma between) took meanwhile.
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
  urgentFile = '',
  urgentEvery = 'Infinity',
] = process.argv.slice(2);
const deadlineMs = Number(end);
const bodyFiles = bodyFile.split(',');
const warmUpMs = 2_000;
const graceMs = 2 * deadlineMs + 200;

const latenciesMs: number[] = [];
const urgentMs: number[] = [];
const sendLateMs: number[] = [];
const watched = ['self', ...pids.split(',').filter((pid) => pid !== '')];
const counts = { sent: 0, in_time: 0, late: 0, refused: 0, reset: 0, errors: 0 };
const urgent = { sent: 0, inTime: 0 };
const everyMs = 1000 / Number(rate);
const startMs = performance.now();
const fromMs = startMs + warmUpMs;
const untilMs = fromMs + Number(seconds) * 1000;
const dueMsOf = (request: number) => startMs + request * everyMs;
const isUrgent = (request: number) => request % Number(urgentEvery) === 0 && urgentFile !== '';

function onAnswer(request: number, bytes: number): void {
  const dueMs = dueMsOf(request);
  if (dueMs < fromMs || dueMs >= untilMs) return;
  const tookMs = performance.now() - dueMs;
  if (bytes !== Number(answerBytes) + 5) {
    counts.refused++;
    if (bytes === -1) counts.reset++;
    return;
  }
  latenciesMs.push(tookMs);
  if (tookMs <= deadlineMs) counts.in_time++;
  else counts.late++;
  if (!isUrgent(request)) return;
  urgentMs.push(tookMs);
  if (tookMs <= deadlineMs) urgent.inTime++;
}

const opened = await Promise.all(
  Array.from({ length: Number(connections) }, (_, i) =>
    openLeanConnection({
      address,
      path,
      body: [bodyFiles[i % bodyFiles.length] ?? '', ...(urgentFile === '' ? [] : [urgentFile])].map((file) =>
        readFileSync(file),
      ),
      headers: { 'grpc-timeout': `${deadlineMs}m` },
      onAnswer,
      onError: () => counts.errors++,
    }),
  ),
);

let next = 0;
let cpuMsBefore: readonly number[] | undefined;
await new Promise<void>((resolve) => {
  const timer = setInterval(() => {
    const nowMs = performance.now();
    if (nowMs >= fromMs) cpuMsBefore ??= watched.map(cpuMs);
    let dueMs = dueMsOf(next);
    for (; dueMs <= nowMs && dueMs < untilMs; dueMs = dueMsOf(++next)) {
      if (dueMs >= fromMs) {
        counts.sent++;
        if (isUrgent(next)) urgent.sent++;
        sendLateMs.push(nowMs - dueMs);
      }
      opened[next % opened.length]?.send(next, isUrgent(next) ? 1 : 0);
    }
    for (const connection of opened) connection.flush();
    if (dueMs < untilMs) return;
    clearInterval(timer);
    resolve();
  }, 1);
});
const cores = watched.map((pid, i) => (cpuMs(pid) - (cpuMsBefore?.[i] ?? Number.NaN)) / (performance.now() - fromMs));
await new Promise((resolve) => setTimeout(resolve, graceMs));
for (const connection of opened) connection.close();
const sorted = (values: readonly number[]) => Float64Array.from(values).sort();
const quantile = (values: Float64Array, q: number) =>
  values[Math.min(values.length - 1, Math.floor(q * values.length))] ?? Number.NaN;
const latencies = sorted(latenciesMs);
const { sent, in_time, late, refused } = counts;
process.stdout.write(
  `${JSON.stringify({
    ...counts,
    unanswered: sent - in_time - late - refused,
    good_per_s: in_time / Number(seconds),
    p50_ms: quantile(latencies, 0.5),
    p99_ms: quantile(latencies, 0.99),
    urgent_in_time: urgent.inTime / urgent.sent,
    urgent_p99_ms: quantile(sorted(urgentMs), 0.99),
    send_late_p99_ms: quantile(sorted(sendLateMs), 0.99),
    cores,
  })}\n`,
);
