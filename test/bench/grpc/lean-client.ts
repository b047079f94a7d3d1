import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';

/**
 * A closed-loop gRPC load generator that does no more than HTTP/2 asks for: the request's frames are made once, answers are only
 * counted and timed. It runs in a process of its own, because a client library would be the bound (facts: grpc-js 4–6 k calls/s).
 * Usage: node lean-client.ts <host:port> </package.Service/Method> <body file> <connections> <in flight> <seconds> <answer bytes>
 * Prints `{"rps","p50_ms","p99_ms","calls","errors"}`. An answer of another size is an error: gRPC errors have no message.
 */
const [address = '', path = '', bodyFile = '', connections = '1', inFlight = '1', seconds = '1', answerBytes = '0'] =
  process.argv.slice(2);
const [host = '', port = ''] = address.split(':');
const body = readFileSync(bodyFile);
const warmUpMs = 1000;

const HEADERS = 1;
const DATA = 0;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;

const latenciesMs: number[] = [];
let errors = 0;
let measuring = false;
let stopping = false;

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** HPACK: literal fields without indexing and without Huffman, so that the block never changes. */
function headerBlock(): Buffer {
  const text = (value: string) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
  const literal = (name: string, value: string) => Buffer.concat([Buffer.from([0]), text(name), text(value)]);
  return Buffer.concat([
    Buffer.from([0x83, 0x86]),
    literal(':path', path),
    literal(':authority', address),
    literal('content-type', 'application/grpc'),
    literal('te', 'trailers'),
  ]);
}

function requestFrames(): { bytes: Buffer; streamAt: readonly number[] } {
  const message = Buffer.concat([Buffer.from([0, 0, 0, 0, 0]), body]);
  message.writeUInt32BE(body.length, 1);
  const headers = frame(HEADERS, 0x4, 1, headerBlock());
  return { bytes: Buffer.concat([headers, frame(DATA, 0x1, 1, message)]), streamAt: [5, headers.length + 5] };
}

const template = requestFrames();

function openConnection(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), noDelay: true });
    socket.once('error', reject);
    socket.once('connect', () => {
      const settings = Buffer.alloc(12);
      settings.writeUInt16BE(4, 0);
      settings.writeUInt32BE(0x7fff_ffff, 2);
      settings.writeUInt16BE(1, 6);
      settings.writeUInt32BE(0, 8);
      const window = Buffer.alloc(4);
      window.writeUInt32BE(0x7fff_0000 - 65_535);
      socket.write(
        Buffer.concat([
          Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
          frame(SETTINGS, 0, 0, settings),
          frame(8, 0, 0, window),
        ]),
      );
      drive(socket);
      resolve(socket);
    });
  });
}

function drive(socket: Socket): void {
  const startedMs = new Map<number, number>();
  const received = new Map<number, number>();
  let nextStream = 1;
  let unacknowledged = 0;
  let rest: Buffer = Buffer.alloc(0);
  let out: Buffer[] = [];

  const send = () => {
    const bytes = Buffer.from(template.bytes);
    for (const at of template.streamAt) bytes.writeUInt32BE(nextStream, at);
    startedMs.set(nextStream, performance.now());
    nextStream += 2;
    out.push(bytes);
  };
  const flush = () => {
    if (out.length > 0) socket.write(out.length === 1 ? (out[0] as Buffer) : Buffer.concat(out));
    out = [];
  };
  const finish = (stream: number) => {
    const sentMs = startedMs.get(stream);
    if (sentMs === undefined) return;
    startedMs.delete(stream);
    if (measuring) {
      latenciesMs.push(performance.now() - sentMs);
      if (received.get(stream) !== Number(answerBytes) + 5) errors++;
    }
    received.delete(stream);
    if (!stopping) send();
  };
  const onFrame = (type: number, flags: number, stream: number, payload: Buffer) => {
    if (type === DATA) {
      received.set(stream, (received.get(stream) ?? 0) + payload.length);
      unacknowledged += payload.length;
    } else if (type === SETTINGS && (flags & 1) === 0) out.push(frame(SETTINGS, 1, 0, Buffer.alloc(0)));
    else if (type === PING && (flags & 1) === 0) out.push(frame(PING, 1, 0, Buffer.from(payload)));
    else if (type === GOAWAY || type === 3) errors++;
    if ((type === DATA || type === HEADERS) && (flags & 1) !== 0) finish(stream);
  };
  socket.on('data', (chunk: Buffer) => {
    let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (bytes.length - at >= 9) {
      const length = bytes.readUIntBE(at, 3);
      if (bytes.length - at < 9 + length) break;
      const stream = bytes.readUInt32BE(at + 5) & 0x7fff_ffff;
      onFrame(bytes[at + 3] as number, bytes[at + 4] as number, stream, bytes.subarray(at + 9, at + 9 + length));
      at += 9 + length;
    }
    bytes = bytes.subarray(at);
    rest = bytes;
    if (unacknowledged > 0x0100_0000) {
      const window = Buffer.alloc(4);
      window.writeUInt32BE(unacknowledged);
      out.push(frame(8, 0, 0, window));
      unacknowledged = 0;
    }
    flush();
  });
  for (let i = 0; i < Number(inFlight); i++) send();
  flush();
}

const sockets = await Promise.all(Array.from({ length: Number(connections) }, openConnection));
await new Promise((resolve) => setTimeout(resolve, warmUpMs));
measuring = true;
const startMs = performance.now();
await new Promise((resolve) => setTimeout(resolve, Number(seconds) * 1000));
measuring = false;
stopping = true;
const elapsedMs = performance.now() - startMs;
for (const socket of sockets) socket.destroy();
const sorted = Float64Array.from(latenciesMs).sort();
const quantile = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
process.stdout.write(
  `${JSON.stringify({ rps: (sorted.length / elapsedMs) * 1000, p50_ms: quantile(0.5), p99_ms: quantile(0.99), calls: sorted.length, errors })}\n`,
);
