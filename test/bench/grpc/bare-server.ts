import { readFileSync } from 'node:fs';
import { Server, ServerCredentials } from '@grpc/grpc-js';

/**
 * The peer that our servers are measured against: grpc-js and nothing else, answering the bytes of a file.
 * Usage: node bare-server.ts <answer file> </package.Service/Method>. Prints `{"address"}` when it listens.
 */
const answer = readFileSync(process.argv[2] ?? '');
const path = process.argv[3] ?? '';
const server = new Server();
server.addService(
  {
    answer: {
      path,
      requestStream: false,
      responseStream: false,
      requestSerialize: (bytes: Buffer) => bytes,
      responseDeserialize: (bytes: Buffer) => bytes,
      requestDeserialize: (bytes: Buffer) => bytes,
      responseSerialize: (bytes: Buffer) => bytes,
    },
  },
  { answer: (_call: unknown, callback: (error: null, bytes: Buffer) => void) => callback(null, answer) },
);
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.stdout.write(`${JSON.stringify({ address: `127.0.0.1:${port}` })}\n`);
});
process.once('SIGTERM', () => server.forceShutdown());
