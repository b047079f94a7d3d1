import { readFileSync } from 'node:fs';
import { cpuMs } from './cpu.ts';
import { openLeanConnection } from './lean-http2.ts';

/**
 * A closed-loop gRPC load generator whose requests repeat as Zipf's law has it: the first four of a message's last `tail` bytes are the number of the request, a float32 from 0, and number
 * k is asked with a probability that falls as (k + 1)^-exponent. The sequence is the same each time.
 * Usage: node zipf-client.ts <host:port> </package.Service/Method> <body file> <tail bytes> <numbers> <exponent> <in flight> <seconds> <answer bytes>
 * Prints `{"rps","p50_ms","p99_ms","calls","errors","cores"}`, as lean-client does.
 */
const [
  address = '',
  path = '',
  bodyFile = '',
  tail = '4',
  numbers = '1',
  exponent = '1',
  inFlight = '1',
  seconds = '1',
  answerBytes = '0',
] = process.argv.slice(2);
const warmUpMs = 1000;
const template = readFileSync(bodyFile);
const bodies = Array.from({ length: Number(numbers) }, (_, number) => {
  const body = Buffer.from(template);
  body.writeFloatLE(number, body.length - Number(tail));
  return body;
});
const cumulative = new Float64Array(bodies.length);
let total = 0;
for (let at = 0; at < bodies.length; at++) {
  total += (at + 1) ** -Number(exponent);
  cumulative[at] = total;
}
let state = 1;

/** mulberry32 */
function uniform(): number {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}

function draw(): number {
  const wanted = uniform() * total;
  let [low, high] = [0, cumulative.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((cumulative[middle] ?? 0) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

const latenciesMs: number[] = [];
let errors = 0;
let measuring = false;
let stopping = false;
const connection = await openLeanConnection({
  address,
  path,
  body: bodies,
  onAnswer(sentMs, bytes) {
    const nowMs = performance.now();
    if (measuring) {
      latenciesMs.push(nowMs - sentMs);
      if (bytes !== Number(answerBytes) + 5) errors++;
    }
    if (!stopping) connection.send(nowMs, draw());
  },
  onError: () => errors++,
});
for (let at = 0; at < Number(inFlight); at++) connection.send(performance.now(), draw());
connection.flush();
await new Promise((resolve) => setTimeout(resolve, warmUpMs));
measuring = true;
const startMs = performance.now();
const startCpuMs = cpuMs('self');
await new Promise((resolve) => setTimeout(resolve, Number(seconds) * 1000));
measuring = false;
stopping = true;
const elapsedMs = performance.now() - startMs;
const cores = (cpuMs('self') - startCpuMs) / elapsedMs;
connection.close();
const sorted = Float64Array.from(latenciesMs).sort();
const quantile = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
process.stdout.write(
  `${JSON.stringify({ rps: (sorted.length / elapsedMs) * 1000, p50_ms: quantile(0.5), p99_ms: quantile(0.99), calls: sorted.length, errors, cores })}\n`,
);
