import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { Client, type ClientDuplexStream, credentials, type StatusObject } from '@grpc/grpc-js';
import { oipDir } from './oip-world.ts';

/** What a client and a model server said to each other, message by message; bytes are base64. No file here is a test. */
export const exchangesFile = join(oipDir, 'exchanges.json.gz');

export interface GrpcExchange {
  readonly kind: 'grpc';
  readonly path: string;
  readonly requests: string[];
  readonly responses: string[];
  code: number;
  details: string;
}

export interface HttpMessage {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface HttpExchange {
  readonly kind: 'http';
  readonly method: string;
  readonly path: string;
  readonly request: HttpMessage;
  status: number;
  response: HttpMessage;
}

export type Exchange = GrpcExchange | HttpExchange;

export const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
export const bytesOf = (text: string) => Buffer.from(text, 'base64');
export const asIs = (bytes: Buffer) => bytes;

/** On the wire a unary call is a stream of one message: every method is called as a stream, its messages left as bytes. */
export function callRaw(client: Client, path: string): ClientDuplexStream<Buffer, Buffer> {
  return client.makeBidiStreamRequest(path, asIs, asIs, { deadline: Date.now() + 20_000 });
}

export const rawClient = (address: string) => new Client(address, credentials.createInsecure());

export async function sendGrpc(client: Client, path: string, requests: readonly string[]): Promise<GrpcExchange> {
  const call = callRaw(client, path);
  const responses: string[] = [];
  call.on('data', (bytes: Buffer) => responses.push(base64(bytes)));
  call.on('error', () => undefined);
  const ended = new Promise<StatusObject>((resolve) => call.on('status', resolve));
  for (const request of requests) call.write(bytesOf(request));
  call.end();
  const { code, details } = await ended;
  return { kind: 'grpc', path, requests: [...requests], responses, code, details };
}

export function sendHttp(address: string, method: string, path: string, message: HttpMessage): Promise<HttpExchange> {
  const [hostname, port] = address.replace(/^http:\/\//, '').split(':');
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ hostname, port, method, path, headers: message.headers, agent: false }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        const response = { headers: headersThatMatter(answer.headers), body: base64(Buffer.concat(chunks)) };
        resolve({ kind: 'http', method, path, request: message, status: answer.statusCode ?? 0, response });
      });
    });
    sent.on('error', reject);
    sent.end(bytesOf(message.body));
  });
}

const telling = [
  'accept',
  'accept-encoding',
  'content-encoding',
  'content-length',
  'content-type',
  'inference-header-content-length',
];

export function headersThatMatter(headers: IncomingHttpHeaders): Readonly<Record<string, string>> {
  return Object.fromEntries(
    telling.flatMap((name) => (typeof headers[name] === 'string' ? [[name, headers[name]]] : [])),
  );
}
