import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { definitions } from '@millrace/contracts';
import { compileView, rowView, type ViewDefinition } from '@millrace/features';
import { createSystemClock } from '@millrace/kernel';
import { quietTelemetry } from '@millrace/runtime';
import { expect, test } from 'vitest';
import { compilePlan } from '../domain/compile-plan.ts';
import { evaluateRow } from '../domain/evaluate.ts';
import { createMatrix, type Matrix } from '../domain/matrix.ts';
import type { PlannedView } from '../domain/plan.ts';
import type { ReadRequest } from '../domain/request.ts';
import { type ServedRows, sampled } from './served-sampler.ts';

const nowUs = Date.UTC(2024, 0, 1) * 1000;
const view: ViewDefinition = {
  name: 'clicks',
  version: 'abcdefabcdef',
  entity: 'user',
  joinKeys: [{ name: 'user', type: 'STRING', field: 'user' }],
  source: 'clicks',
  fields: [{ name: 'user', type: 'STRING', nullable: false }],
  features: [{ name: 'n', function: 'count', field: '', window: { t: 'lifetime' }, filter: '', ddof: 1 }],
};
const spec = definitions.FeatureService.fromPartial({ features: [{ view: 'clicks', feature: 'n', alias: 'clicks' }] });
const plan = compilePlan({ name: 'users', version: '1', spec }, () => view);

const compiled = compileView(view);
const state = compiled.newState();
const bound = compiled.bind({
  count: 1,
  eventTimeUs: Float64Array.of(nowUs - 10),
  columns: new Map([['user', { type: 'str', values: ['u'], nulls: null }]]),
});
compiled.apply(state, bound, 0, nowUs - 10, 77, 0);
const row = compiled.writeRow(state, { position: 77, knownTimeUs: nowUs });

/** Every other user has a row. */
function read(request: ReadRequest, metadata = true): Matrix {
  const rows = request.keys[0]?.values.length ?? 0;
  const matrix = createMatrix(plan, new Float64Array(rows).fill(nowUs), { sameAsOf: true, metadata });
  const [planned] = plan.views as [PlannedView];
  for (let at = 0; at < rows; at++)
    evaluateRow(matrix, planned, 0, at, at % 2 === 0 ? rowView(row) : null, planned.reader.newCursor());
  return matrix;
}

function request(rows: number): ReadRequest {
  const values = Array.from({ length: rows }, (_, at) => `u${at}`);
  return {
    featureService: 'users',
    version: '',
    keys: [{ name: 'user', kind: 'STRING', values, nullRow: -1 }],
    asOfUs: 0,
    asOfUsByRow: new Float64Array(),
    allowPartial: false,
    allowHistory: false,
    omitMetadata: false,
  };
}

const call = { deadlineMs: undefined, caller: 'test', signal: new AbortController().signal };

function sampler(rowsPerSecond: number, metadata = true) {
  const published: ServedRows[] = [];
  const readFeatures = sampled(async (asked) => read(asked, metadata), {
    rowsPerSecond,
    publish: (served) => published.push(served) > 0,
    clock: createSystemClock(),
    metrics: quietTelemetry().metrics,
  });
  return { published, readFeatures };
}

test('what is told is what was served, and only of rows that there are', async () => {
  const { published, readFeatures } = sampler(10);
  await readFeatures(request(4), call);
  // the answer goes first
  expect(published).toEqual([]);
  await turn();
  const [served] = published;
  expect(served).toMatchObject({ featureService: 'users', keyNames: ['user'] });
  expect(served?.rows.map(({ keys }) => keys[0]).sort()).toEqual(['u0', 'u2']);
  for (const each of served?.rows ?? [])
    expect(each).toMatchObject({ asOfUs: nowUs, position: 77, values: [1], statuses: [1] });
});

test('however much is read, about the stated number of rows a second are told', async () => {
  const { published, readFeatures } = sampler(200);
  const startedMs = performance.now();
  while (performance.now() - startedMs < 1_500) {
    for (let n = 0; n < 20; n++) await readFeatures(request(100), call);
    await sleep(1);
  }
  const rows = published.reduce((sum, served) => sum + served.rows.length, 0);
  // half of what is taken has no row; the first second's worth may come at once
  expect(rows).toBeGreaterThan(60);
  expect(rows).toBeLessThan(2.5 * 200);
});

test('nothing is told at rate 0, nor of answers without positions', async () => {
  for (const { published, readFeatures } of [sampler(0), sampler(100, false)]) {
    await readFeatures(request(10), call);
    await turn();
    expect(published).toEqual([]);
  }
});
