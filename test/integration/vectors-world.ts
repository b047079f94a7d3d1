import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compute, type serving } from '@millrace/contracts';
import type { History } from '@millrace/history';
import {
  double,
  entity,
  feature,
  featureService,
  featureView,
  lifetime,
  sliding,
  source,
  string,
  vector,
  vectorValues,
} from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { type FullMesh, readRequest, stringKeys } from '../support/full-mesh.ts';

/** Items with an embedding of three numbers, in a window that ends and in one that does not. */
export const items = source('items', {
  key: 'item',
  fields: {
    item: string(),
    kind: string({ nullable: true }),
    price: double({ nullable: true }),
    embedding: vector(3, { nullable: true }),
  },
});
export const item = entity('item', { joinKeys: { item: 'STRING' } });
export const itemVectors = featureView('item_vectors', {
  entity: item,
  source: items,
  features: (of) => ({
    embedding: of.last('embedding', { window: lifetime() }),
    earliest: of.first('embedding', { window: lifetime() }),
    recent: of.last('embedding', { window: sliding('1h', { hop: '5m' }) }),
    kind: of.last('kind', { window: lifetime() }),
    price: of.last('price', { window: lifetime() }),
    embeddings: of.count({ field: 'embedding', window: lifetime() }),
  }),
});
export const names = ['embedding', 'earliest', 'recent', 'kind', 'price', 'embeddings'] as const;
export const itemService = featureService('items', {
  features: names.map((name) => feature(itemVectors, name, { as: name })),
});

export const minuteUs = 60_000_000;

export type ItemEvent = {
  readonly item: string;
  readonly timeUs: number;
  readonly fields: Readonly<Record<string, unknown>>;
};

let sequence = 0;

/** Publishes; resolves with the position and what was rejected once rows hold the rest. */
export async function publishItems(mesh: FullMesh, events: readonly ItemEvent[]) {
  const { position, rejections } = await mesh.clients.ingestion.publish({
    source: 'items',
    events: events.map(({ item: name, timeUs, fields }) => ({
      id: `item-${sequence++}`,
      eventTimeUs: BigInt(timeUs),
      json: Buffer.from(JSON.stringify({ item: name, ...fields })),
    })),
  });
  if (position > 0n) await eventually(async () => (await mesh.clients.compute.getStatus({})).rowPosition >= position);
  return { position, rejections };
}

export async function readItems(mesh: FullMesh, keys: readonly string[], asOfUs: number) {
  return mesh.clients.features.getFeatures(readRequest('items', [stringKeys('item', keys)], asOfUs));
}

/** The vectors of a feature, a row each; null where the status says so. */
export function vectorsOf(answer: serving.GetFeaturesResponse, name: string): (readonly number[] | null)[] {
  const at = answer.features.findIndex((each) => each.name === name);
  const found = answer.features[at];
  if (found?.block !== 5) throw new Error(`"${name}" is in block ${found?.block}`);
  const rows = answer.statuses.length / answer.features.length;
  return Array.from({ length: rows }, (_, row) =>
    answer.statuses[row * answer.features.length + at] === 1 ? vectorValues(answer.vectors[found.column], row) : null,
  );
}

let files = 0;

/** A training set of the service for labels of items at a time, read back from Parquet. */
export async function trainingSet(mesh: FullMesh, history: History, keys: readonly string[], asOfUs: number) {
  const labelQuery = keys
    .map((key) => `SELECT '${key}' AS item, fromUnixTimestamp64Micro(toInt64(${asOfUs}), 'UTC') AS label_time`)
    .join(' UNION ALL ');
  const request = compute.BuildTrainingSetRequest.fromPartial({ featureService: 'items', labelQuery, complete: true });
  const pieces: Buffer[] = [];
  for await (const { part } of mesh.clients.compute.buildTrainingSet(request))
    if (part?.$case === 'parquet') pieces.push(part.value);
  const file = join(mesh.dir, `items-${files++}.parquet`);
  writeFileSync(file, Buffer.concat(pieces));
  return history.query<Record<string, unknown>>(`SELECT * FROM file('${file}', Parquet) ORDER BY item`);
}
