import { readFileSync } from 'node:fs';
import { cpuMs } from './cpu.ts';
import { openLeanConnection } from './lean-http2.ts';

/**
 * A closed-loop gRPC load generator that does no more than HTTP/2 asks for. It runs in a process of its own, because a client library
 * would be the bound (facts: grpc-js 4–6 k calls/s).
 * Usage: node lean-client.ts <host:port> </package.Service/Method> <body file> <connections> <in flight> <seconds> <answer bytes>
 * Prints `{"rps","p50_ms","p99_ms","calls","errors","cores"}`; `cores` is what this process took. An answer of another size is an error: gRPC errors have no message.
 */
const [address = '', path = '', bodyFile = '', connections = '1', inFlight = '1', seconds = '1', answerBytes = '0'] =
  process.argv.slice(2);
const warmUpMs = 1000;
const latenciesMs: number[] = [];
let errors = 0;
let measuring = false;
let stopping = false;

const opened = await Promise.all(
  Array.from({ length: Number(connections) }, async () => {
    const connection = await openLeanConnection({
      address,
      path,
      body: readFileSync(bodyFile),
      onAnswer(sentMs, bytes) {
        const nowMs = performance.now();
        if (measuring) {
          latenciesMs.push(nowMs - sentMs);
          if (bytes !== Number(answerBytes) + 5) errors++;
        }
        if (!stopping) connection.send(nowMs);
      },
      onError: () => errors++,
    });
    for (let i = 0; i < Number(inFlight); i++) connection.send(performance.now());
    connection.flush();
    return connection;
  }),
);
await new Promise((resolve) => setTimeout(resolve, warmUpMs));
measuring = true;
const startMs = performance.now();
const startCpuMs = cpuMs('self');
await new Promise((resolve) => setTimeout(resolve, Number(seconds) * 1000));
measuring = false;
stopping = true;
const elapsedMs = performance.now() - startMs;
const cores = (cpuMs('self') - startCpuMs) / elapsedMs;
for (const connection of opened) connection.close();
const sorted = Float64Array.from(latenciesMs).sort();
const quantile = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
process.stdout.write(
  `${JSON.stringify({ rps: (sorted.length / elapsedMs) * 1000, p50_ms: quantile(0.5), p99_ms: quantile(0.99), calls: sorted.length, errors, cores })}\n`,
);
