import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { cpuMs } from '../grpc/cpu.ts';

/**
 * A closed-loop HTTP load generator that does no more than HTTP/1.1 asks for: the bytes of every request are made once, and of an answer
 * only the status and the length are read. It runs in a process of its own, on another core than the server.
 * Usage: node http-client.ts <host:port> <path> <file with a body a line> <connections> <seconds> <answers at least> [<bytes of JSON>]
 * With the bytes of JSON the file is one body, JSON and behind it the binary tensors of the Open Inference Protocol.
 * Goes on beyond the seconds, up to three times as long, until so many answers have come. Prints
 * `{"rps","p50_ms","p99_ms","calls","errors","bytes","cores"}`; `cores` is what this process took, and an answer that is not 200 is an error.
 */
const [address = '', path = '', bodyFile = '', connections = '1', seconds = '1', answersMin = '1', jsonBytes = ''] =
  process.argv.slice(2);
const [host = '', port = ''] = address.split(':');
const file = readFileSync(bodyFile);
const lines = () =>
  file
    .toString()
    .split('\n')
    .filter((line) => line !== '');
const type =
  jsonBytes === '' ? 'application/json' : `application/octet-stream\r\ninference-header-content-length: ${jsonBytes}`;
const requests = (jsonBytes === '' ? lines().map((line) => Buffer.from(line)) : [file]).map((body) =>
  Buffer.concat([
    Buffer.from(
      `POST ${path} HTTP/1.1\r\nhost: ${address}\r\ncontent-type: ${type}\r\ncontent-length: ${body.length}\r\n\r\n`,
    ),
    body,
  ]),
);
const warmUpMs = 1000;
const headEnd = Buffer.from('\r\n\r\n');

const latenciesMs: number[] = [];
let errors = 0;
let bytes = 0;
let measuring = false;
let stopping = false;
let next = 0;

function drive(): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), noDelay: true });
    let sentMs = 0;
    let status = 0;
    let head: Buffer | undefined = Buffer.alloc(0);
    let left = 0;
    let size = 0;
    const send = () => {
      sentMs = performance.now();
      socket.write(requests[next++ % requests.length] as Buffer);
    };
    const finish = () => {
      if (measuring) {
        latenciesMs.push(performance.now() - sentMs);
        bytes += size;
        if (status !== 200) errors++;
      }
      if (stopping) socket.destroy();
      else send();
    };
    const onData = (chunk: Buffer) => {
      if (head !== undefined) {
        head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
        const end = head.indexOf(headEnd);
        if (end < 0) return;
        const text = head.toString('latin1', 0, end);
        status = Number(text.slice(9, 12));
        const length = /\r\ncontent-length: (\d+)/i.exec(text)?.[1];
        if (length === undefined) throw new Error(`the answer has no length: ${text}`);
        size = Number(length);
        left = size - (head.length - end - headEnd.length);
        head = undefined;
      } else left -= chunk.length;
      if (left > 0) return;
      head = Buffer.alloc(0);
      finish();
    };
    socket.on('connect', () => {
      resolve();
      send();
    });
    socket.on('data', onData);
    socket.on('error', (error) => {
      if (!stopping) errors++;
      reject(error);
    });
  });
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

await Promise.all(Array.from({ length: Number(connections) }, drive));
await wait(warmUpMs);
measuring = true;
const startMs = performance.now();
const startCpuMs = cpuMs('self');
const untilMs = startMs + Number(seconds) * 1000;
while (
  performance.now() < untilMs ||
  (latenciesMs.length < Number(answersMin) && performance.now() < startMs + Number(seconds) * 3000)
)
  await wait(Math.min(100, Math.max(1, untilMs - performance.now())));
measuring = false;
stopping = true;
const elapsedMs = performance.now() - startMs;
const cores = (cpuMs('self') - startCpuMs) / elapsedMs;
const sorted = Float64Array.from(latenciesMs).sort();
const quantile = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
process.stdout.write(
  `${JSON.stringify({ rps: (sorted.length / elapsedMs) * 1000, p50_ms: quantile(0.5), p99_ms: quantile(0.99), calls: sorted.length, errors, bytes, cores })}\n`,
  () => process.exit(0),
);
