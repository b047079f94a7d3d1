import { readFileSync } from 'node:fs';
import { type LeanConnection, openLeanConnection } from './lean-http2.ts';

/**
 * A closed loop of calls that follow one another: a turn is one call of each server, in their order, and is timed as a whole. What the first answers is not
 * put into the second's request, which is made beforehand.
 * Usage: node chain-client.ts <in flight> <seconds> (<host:port> </package.Service/Method> <body file> <answer bytes>)...
 * Prints `{"rps","p50_ms","p99_ms","calls","errors"}` of turns. An answer of another size is an error.
 */
const [inFlight = '1', seconds = '1', ...hops] = process.argv.slice(2);
const warmUpMs = 1000;
const latenciesMs: number[] = [];
let errors = 0;
let measuring = false;
let stopping = false;

const connections: LeanConnection[] = [];
for (let at = 0; at < hops.length; at += 4) {
  const [address = '', path = '', bodyFile = '', answerBytes = '0'] = hops.slice(at, at + 4);
  const hop = at / 4;
  connections[hop] = await openLeanConnection({
    address,
    path,
    body: readFileSync(bodyFile),
    onAnswer(startedMs, bytes) {
      if (measuring && bytes !== Number(answerBytes) + 5) errors++;
      const next = connections[hop + 1];
      if (next) return sendNow(next, startedMs);
      const nowMs = performance.now();
      if (measuring) latenciesMs.push(nowMs - startedMs);
      if (!stopping) sendNow(connections[0] as LeanConnection, nowMs);
    },
    onError: () => errors++,
  });
}

function sendNow(connection: LeanConnection, startedMs: number): void {
  connection.send(startedMs);
  connection.flush();
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
for (let i = 0; i < Number(inFlight); i++) sendNow(connections[0] as LeanConnection, performance.now());
await wait(warmUpMs);
measuring = true;
const startMs = performance.now();
await wait(Number(seconds) * 1000);
measuring = false;
stopping = true;
const elapsedMs = performance.now() - startMs;
for (const connection of connections) connection.close();
const sorted = Float64Array.from(latenciesMs).sort();
const quantile = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
process.stdout.write(
  `${JSON.stringify({ rps: (sorted.length / elapsedMs) * 1000, p50_ms: quantile(0.5), p99_ms: quantile(0.99), calls: sorted.length, errors })}\n`,
);
