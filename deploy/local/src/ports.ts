import { createServer } from 'node:net';

/** What listens, in the order of the ports from the base port on. */
const listeners = [
  'redis',
  'nats',
  'clickhouse',
  'governance/grpc',
  'governance/http',
  'ingestion/grpc',
  'ingestion/http',
  'feature-compute/grpc',
  'feature-compute/http',
  'online-serving/grpc',
  'online-serving/http',
  'model-inference/grpc',
  'model-inference/http',
] as const;

export type Listener = (typeof listeners)[number];
export type Ports = ReadonlyMap<Listener, number>;

/** A port for each listener: its own when free, else any free one, which `say` is told. Base 0: 0 for all, the listener chooses. */
export async function choosePorts(basePort: number, say: (text: string) => void): Promise<Ports> {
  const ports = new Map<Listener, number>();
  for (const [index, listener] of listeners.entries()) {
    const wanted = basePort === 0 ? 0 : basePort + index;
    const free = wanted === 0 || (await isFree(wanted));
    if (!free) say(`port ${wanted} of ${listener} is busy: a free one is taken in its place`);
    ports.set(listener, free ? wanted : 0);
  }
  return ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}
