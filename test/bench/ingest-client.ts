import { parentPort, workerData } from 'node:worker_threads';
import { Client, credentials } from '@grpc/grpc-js';
import { ingestion } from '@millrace/contracts';

type Plan = {
  readonly address: string;
  readonly source: string;
  readonly batches: number;
  readonly warmUpBatches: number;
  readonly batchEvents: number;
  /** Batches that are sent and not yet acknowledged. */
  readonly inFlight: number;
};

const { PublishStreamRequest, PublishStreamResponse } = ingestion;
const plan = workerData as Plan;
const startUs = Date.UTC(2001, 0, 1) * 1000;

/** Encoded beforehand: the client should cost as little as it can, as it shares the machine with what it measures. */
function encodeBatch(index: number): Buffer {
  const events = Array.from({ length: plan.batchEvents }, (_, at) => {
    const n = index * plan.batchEvents + at;
    const fields = {
      at: startUs + n * 10_000,
      origin: `A${n % 229}`,
      destination: `B${(n * 7) % 229}`,
      delay: n % 10 === 0 ? null : (n % 97) - 12.5,
      distance: 100 + (n % 2_400),
      cancelled: n % 50 === 0,
    };
    return { id: `flight-${n}-2001`, eventTimeUs: 0n, json: Buffer.from(JSON.stringify(fields)) };
  });
  const request = { batchSequence: BigInt(index), batch: { source: plan.source, events } };
  return Buffer.from(PublishStreamRequest.encode(request).finish());
}

const identity = (bytes: Buffer): Buffer => bytes;
const client = new Client(plan.address, credentials.createInsecure());

async function publish(requests: readonly Buffer[]): Promise<{ seconds: number; latenciesMs: number[] }> {
  const stream = client.makeBidiStreamRequest(
    '/millrace.ingestion.v1.IngestionService/PublishStream',
    identity,
    identity,
  );
  const sentAtMs: number[] = [];
  const latenciesMs: number[] = [];
  const startedMs = performance.now();
  const send = () => {
    const next = requests[sentAtMs.length];
    if (next === undefined) return;
    sentAtMs.push(performance.now());
    stream.write(next);
    if (sentAtMs.length === requests.length) stream.end();
  };
  for (let at = 0; at < plan.inFlight; at++) send();
  for await (const bytes of stream) {
    const { result, reason, message } = PublishStreamResponse.decode(bytes as Buffer);
    if (result?.accepted !== plan.batchEvents) throw new Error(`batch not accepted: ${reason} ${message}`);
    latenciesMs.push(performance.now() - (sentAtMs[latenciesMs.length] ?? 0));
    send();
  }
  return { seconds: (performance.now() - startedMs) / 1000, latenciesMs };
}

const warmUp = Array.from({ length: plan.warmUpBatches }, (_, at) => encodeBatch(at));
const measured = Array.from({ length: plan.batches }, (_, at) => encodeBatch(plan.warmUpBatches + at));
await publish(warmUp);
const { seconds, latenciesMs } = await publish(measured);
latenciesMs.sort((a, b) => a - b);
const percentile = (share: number) => Math.round((latenciesMs[Math.floor(latenciesMs.length * share)] ?? 0) * 10) / 10;
client.close();
parentPort?.postMessage({
  events_per_s: Math.round((plan.batches * plan.batchEvents) / seconds),
  batch_p50_ms: percentile(0.5),
  batch_p99_ms: percentile(0.99),
});
