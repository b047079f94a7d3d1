import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { Client, credentials } from '@grpc/grpc-js';
import { ingestion, serving } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { connect } from '@millrace/rpc';
import { column, readRequest, stringKeys } from '../../support/full-mesh.ts';
import { batchOf, createEvents, pageName, visits, type World } from './world.ts';

export type LoadPlan = {
  readonly world: World;
  readonly batches: number;
  readonly warmUpBatches: number;
  /** Every so many batches one is followed until it can be read. */
  readonly followEvery: number;
  readonly ingestion: string;
  readonly serving: string;
};

/** A read while events come in: what was served, as of when, and which position its row reflects. */
export type LiveRead = {
  readonly key: number;
  readonly asOfUs: number;
  readonly position: number;
  readonly values: Readonly<Record<string, number | string | null>>;
};

export type LoadResult = {
  /** The position of each batch. */
  readonly positions: readonly number[];
  /** From when a batch was due until a read reflects it. */
  readonly readableMs: readonly number[];
  readonly acceptedMs: readonly number[];
  readonly reads: readonly LiveRead[];
  readonly seconds: number;
  readonly refused: number;
  readonly readsRefused: number;
};

const { PublishStreamRequest, PublishStreamResponse } = ingestion;
const pollMs = 4;
const plan = workerData as LoadPlan;
const { world } = plan;
const eventOf = createEvents(world);
const identity = (bytes: Buffer): Buffer => bytes;

/** Open loop: batches leave on a fixed schedule whatever came of the ones before, so a stall counts against every batch behind it. */
async function load(): Promise<LoadResult> {
  // encoded beforehand: the client shares the machine with what it measures
  const requests = Array.from({ length: plan.batches }, (_, batch) => encode(batch));
  const publisher = new Client(plan.ingestion, credentials.createInsecure());
  const stream = publisher.makeBidiStreamRequest(
    '/millrace.ingestion.v1.IngestionService/PublishStream',
    identity,
    identity,
  );
  const features = connect(serving.FeatureServiceService, plan.serving, { defaultTimeoutMs: 30_000 });
  const result = {
    positions: [] as number[],
    readableMs: [] as number[],
    acceptedMs: [] as number[],
    refused: 0,
    readsRefused: 0,
  };
  const reads: LiveRead[] = [];
  const following: Promise<void>[] = [];
  const everyMs = (1000 * world.batchEvents) / world.eventsPerSecond;
  await sleep(Math.max(0, world.startUs / 1000 - Date.now()));
  const startedMs = performance.now();
  // an event is due once its time has come: the batch's last one at the end of its interval
  const dueMs = (batch: number) => startedMs + (batch + 1) * everyMs;

  async function follow(batch: number, position: number): Promise<void> {
    const { key } = eventOf((batch + 1) * world.batchEvents - 1);
    const request = readRequest('pages', [stringKeys('page', [pageName(key)])], 0);
    for (;;) {
      const response = await features.getFeatures(request).catch((error) => {
        // asked again, and the wait counts
        if (!(error instanceof MeshError) || error.reason !== 'OVERLOADED') throw error;
        result.readsRefused++;
      });
      if (!response) {
        await sleep(pollMs);
        continue;
      }
      const reached = Number(response.views[0]?.positions[0] ?? 0n);
      if (reached >= position) {
        if (batch >= plan.warmUpBatches) result.readableMs.push(performance.now() - dueMs(batch));
        reads.push({ key, asOfUs: Number(response.asOfUs), position: reached, values: valuesOf(response) });
        return;
      }
      await sleep(pollMs);
    }
  }

  const acknowledged = (async () => {
    for await (const bytes of stream) {
      const { result: outcome, reason, message } = PublishStreamResponse.decode(bytes as Buffer);
      const batch = result.positions.length;
      if (!outcome || outcome.accepted !== world.batchEvents) {
        result.refused++;
        throw new Error(`batch ${batch} was not accepted: ${reason} ${message} ${JSON.stringify(outcome?.rejections)}`);
      }
      result.positions.push(Number(outcome.position));
      if (batch >= plan.warmUpBatches) result.acceptedMs.push(performance.now() - dueMs(batch));
      if (batch % plan.followEvery === 0) following.push(follow(batch, Number(outcome.position)));
    }
  })();
  for (let batch = 0; batch < plan.batches; batch++) {
    const waitMs = dueMs(batch) - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    stream.write(requests[batch] ?? Buffer.alloc(0));
  }
  stream.end();
  await acknowledged;
  const seconds = (performance.now() - startedMs) / 1000;
  await Promise.all(following);
  publisher.close();
  features.close();
  return { ...result, reads, seconds };
}

function encode(batch: number): Buffer {
  const request = {
    batchSequence: BigInt(batch),
    batch: { source: visits.name, events: batchOf(world, eventOf, batch) },
  };
  return Buffer.from(PublishStreamRequest.encode(request).finish());
}

function valuesOf(response: serving.GetFeaturesResponse): LiveRead['values'] {
  return Object.fromEntries(
    response.features.map(({ name }) => [name.slice(name.indexOf('__') + 2), column(response, name)[0] ?? null]),
  );
}

parentPort?.postMessage(await load());
