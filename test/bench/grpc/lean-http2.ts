import { connect, type Socket } from 'node:net';

/** No more of HTTP/2 than a load generator needs: the request's frames are made once, answers are only counted. */
export type LeanConnection = {
  /** Sends the request, of several bodies the one at `body`; `token` comes back with its answer. Waits in line while the server's flow control holds it back. */
  send(token: number, body?: number): void;
  /** Writes what `send` has gathered. */
  flush(): void;
  close(): void;
};

export type LeanOptions = {
  /** `host:port`. */
  readonly address: string;
  /** `/package.Service/Method` */
  readonly path: string;
  readonly body: Buffer | readonly Buffer[];
  /** More headers, as `grpc-timeout`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** An answer has ended; gRPC errors have no bytes, REFUSED_STREAM has -1. */
  readonly onAnswer: (token: number, bytes: number) => void;
  /** The server has reset a stream or goes away. */
  readonly onError: () => void;
};

const HEADERS = 1;
const DATA = 0;
const RESET = 3;
const REFUSED_STREAM = 7;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;
const WINDOW_UPDATE = 8;
const emptyAnswer: Buffer = Buffer.alloc(0);

export function openLeanConnection(options: LeanOptions): Promise<LeanConnection> {
  const [host = '', port = ''] = options.address.split(':');
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), noDelay: true });
    socket.once('error', reject);
    socket.once('connect', () => {
      const settings = Buffer.alloc(12);
      settings.writeUInt16BE(4, 0);
      settings.writeUInt32BE(0x7fff_ffff, 2);
      settings.writeUInt16BE(1, 6);
      settings.writeUInt32BE(0, 8);
      const hello = [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(SETTINGS, 0, 0, settings)];
      socket.write(Buffer.concat([...hello, frame(WINDOW_UPDATE, 0, 0, uint32(0x7fff_0000 - 65_535))]));
      resolve(drive(socket, options));
    });
  });
}

function drive(socket: Socket, options: LeanOptions): LeanConnection {
  const { body } = options;
  const templates = (Buffer.isBuffer(body) ? [body] : body).map((one: Buffer) => requestFrames(options, one));
  const tokens = new Map<number, number>();
  const received = new Map<number, number>();
  const waiting: [token: number, body: number][] = [];
  let sendWindow = 65_535;
  let nextStream = 1;
  let unacknowledged = 0;
  let rest: Buffer = Buffer.alloc(0);
  let out: Buffer[] = [];

  const flush = () => {
    if (out.length > 0) socket.write(out.length === 1 ? (out[0] as Buffer) : Buffer.concat(out));
    out = [];
  };
  const send = (token: number, body = 0) => {
    const template = templates[body] as Template;
    if (sendWindow < template.dataBytes) {
      waiting.push([token, body]);
      return;
    }
    sendWindow -= template.dataBytes;
    const bytes = Buffer.from(template.bytes);
    for (const at of template.streamAt) bytes.writeUInt32BE(nextStream, at);
    tokens.set(nextStream, token);
    nextStream += 2;
    out.push(bytes);
  };
  const finish = (stream: number, bytes = received.get(stream) ?? 0) => {
    const token = tokens.get(stream);
    if (token === undefined) return;
    tokens.delete(stream);
    received.delete(stream);
    options.onAnswer(token, bytes);
  };
  const onFrame = (type: number, flags: number, stream: number, payload: Buffer) => {
    if (type === DATA) {
      received.set(stream, (received.get(stream) ?? 0) + payload.length);
      unacknowledged += payload.length;
    } else if (type === WINDOW_UPDATE && stream === 0) {
      sendWindow += payload.readUInt32BE(0);
      for (const [token, which] of waiting.splice(0)) send(token, which);
    } else if (type === SETTINGS && (flags & 1) === 0) out.push(frame(SETTINGS, 1, 0, emptyAnswer));
    else if (type === PING && (flags & 1) === 0) out.push(frame(PING, 1, 0, Buffer.from(payload)));
    else if (type === RESET && payload.readUInt32BE(0) === REFUSED_STREAM) finish(stream, -1);
    else if (type === GOAWAY || type === RESET) {
      tokens.delete(stream);
      options.onError();
    }
    if ((type === DATA || type === HEADERS) && (flags & 1) !== 0) finish(stream);
  };
  socket.on('data', (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (bytes.length - at >= 9) {
      const length = bytes.readUIntBE(at, 3);
      if (bytes.length - at < 9 + length) break;
      const stream = bytes.readUInt32BE(at + 5) & 0x7fff_ffff;
      onFrame(bytes[at + 3] as number, bytes[at + 4] as number, stream, bytes.subarray(at + 9, at + 9 + length));
      at += 9 + length;
    }
    rest = bytes.subarray(at);
    if (unacknowledged > 0x0100_0000) {
      out.push(frame(WINDOW_UPDATE, 0, 0, uint32(unacknowledged)));
      unacknowledged = 0;
    }
    flush();
  });
  return { send, flush, close: () => socket.destroy() };
}

type Template = ReturnType<typeof requestFrames>;

function requestFrames({ path, address, headers = {} }: LeanOptions, body: Buffer) {
  // HPACK: literal fields without indexing and without Huffman, so that the block never changes
  const text = (value: string) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
  const literal = (name: string, value: string) => Buffer.concat([Buffer.from([0]), text(name), text(value)]);
  const all = { ':path': path, ':authority': address, 'content-type': 'application/grpc', te: 'trailers', ...headers };
  const block = Buffer.concat([
    Buffer.from([0x83, 0x86]),
    ...Object.entries(all).map(([name, value]) => literal(name, value)),
  ]);
  const message = Buffer.concat([Buffer.from([0, 0, 0, 0, 0]), body]);
  message.writeUInt32BE(body.length, 1);
  const head = frame(HEADERS, 0x4, 1, block);
  return {
    bytes: Buffer.concat([head, frame(DATA, 0x1, 1, message)]),
    streamAt: [5, head.length + 5],
    dataBytes: message.length,
  };
}

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
