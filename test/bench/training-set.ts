import { createWriteStream, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { compute, definitions } from '@millrace/contracts';
import { type History, openHistory } from '@millrace/history';
import { createSystemClock } from '@millrace/kernel';
import { createTestMesh, type TestMesh } from '@millrace/testkit';
import { createTrainingSetBook } from '../../services/feature-compute/src/adapters/clickhouse-training-sets.ts';
import { createBuildTrainingSet } from '../../services/feature-compute/src/app/training/training-set.ts';
import type { BenchCases, BenchContext, BenchUsage } from './bench.ts';
import { countLeaks } from './training/brute-force.ts';
import { joinByHand, rangesByHand, setByHand } from './training/by-hand.ts';
import { features, fill, type Key, keys, labelTable, viewOf } from './training/world.ts';

const names = Object.keys(keys) as Key[];
const leakRows = 60;
/** The join is measured on every so many labels and its time taken times that: whole it would take minutes. */
const joinShare = 20;

export const usage: BenchUsage = {
  options: {
    events: { default: 10_000_000, says: 'events in history' },
    labels: { default: 100_000, says: 'rows of the training set' },
  },
};

/**
 * W9: labels × 3 views × 10 windowed features over events of which 5 % become known late, as a Parquet file in one command, against the best SQL by hand
 * for the same answer. `--events` (10,000,000) and `--labels` (100,000) make it smaller. `leaks` counts values that differ from a brute force over single
 * events; `differ` those that differ from the SQL by hand.
 */
export async function run({ number, progress, signal }: BenchContext): Promise<BenchCases> {
  const events = number('events');
  const labels = number('labels');
  const mesh = await createTestMesh({ stores: ['clickhouse'] });
  const history = await openHistory({ url: mesh.clickhouse.url });
  try {
    progress(`${events} events, ${labels} labels`);
    await fill(history, events, labels);
    progress('a training set');
    const ours = await measured(mesh, () => build(mesh, history, signal));
    progress(`${ours.seconds} s; by hand: ranges`);
    const byHand = await measured(mesh, () => exportByHand(mesh, history));
    progress(`${byHand.seconds} s; by hand: a join of every ${joinShare}th label`);
    const few = `(SELECT * FROM ${labelTable} WHERE label % ${joinShare} = 0)`;
    const join = await measured(mesh, async () => {
      for (const key of names)
        await history.command(`CREATE TABLE joined_${key} ENGINE = Memory AS ${joinByHand(key, few)}`);
    });
    const joinSeconds = round(join.seconds * joinShare);
    progress(`${joinSeconds} s for all; comparing`);
    await history.command(
      `CREATE TABLE ours ENGINE = MergeTree ORDER BY label AS SELECT * FROM file('${fileOf(mesh, 'ours')}', Parquet)`,
    );
    await history.command(
      `CREATE TABLE hand ENGINE = MergeTree ORDER BY label AS SELECT * FROM file('${fileOf(mesh, 'hand')}', Parquet)`,
    );
    const differ = await countDifferences(history, progress);
    const { compared, leaks } = await countLeaks(history, 'ours', leakRows);
    const sqlSeconds = Math.min(byHand.seconds, joinSeconds);
    return {
      'training-set': {
        seconds: ours.seconds,
        sql_seconds: sqlSeconds,
        ratio: round(ours.seconds / sqlSeconds),
        leaks,
        leak_values_compared: compared,
        differ,
        cpu_seconds: ours.cpuSeconds,
        sql_cpu_seconds: byHand.cpuSeconds,
        peak_mb: ours.peakMb,
        sql_peak_mb: byHand.peakMb,
        sql_join_seconds: joinSeconds,
        events,
        labels,
      },
    };
  } finally {
    await history.close();
    await mesh.close();
  }
}

async function build(mesh: TestMesh, history: History, signal: AbortSignal): Promise<void> {
  const references = names.flatMap((view) =>
    features.map(({ name }) => definitions.FeatureReference.fromPartial({ view, feature: name })),
  );
  const trainingSet = createBuildTrainingSet({
    check: async () => [],
    history,
    book: createTrainingSetBook(history),
    clock: createSystemClock(),
    view: async (name) => viewOf(name as Key),
    service: async () => ({ version: '1', spec: definitions.FeatureService.fromPartial({ features: references }) }),
  });
  const request = compute.BuildTrainingSetRequest.fromPartial({
    featureService: 'bench',
    labelQuery: `SELECT * FROM ${labelTable}`,
  });
  const file = createWriteStream(fileOf(mesh, 'ours'));
  for await (const part of trainingSet(request, signal)) if (part.t === 'bytes') file.write(part.bytes);
  await new Promise<void>((done) => file.end(done));
}

async function exportByHand(mesh: TestMesh, history: History): Promise<void> {
  for (const key of names)
    await history.command(
      `CREATE TABLE hand_${key} ENGINE = MergeTree ORDER BY label AS ${rangesByHand(key)} SETTINGS max_threads = 2`,
    );
  const tables = { user: 'hand_user', merchant: 'hand_merchant', airport: 'hand_airport' };
  const { stream } = await history.client.exec({
    query: `${setByHand(tables)} FORMAT Parquet`,
    clickhouse_settings: { output_format_parquet_string_as_string: 1 },
  });
  await pipeline(stream, createWriteStream(fileOf(mesh, 'hand')));
}

async function countDifferences(history: History, progress: (text: string) => void): Promise<number> {
  const columns = names.flatMap((key) => features.map(({ name }) => `${key}__${name}`));
  const differs = columns.map((column) => {
    const [x, y] = [`o.${column}`, `h.${column}`];
    return `countIf(isNull(${x}) != isNull(${y}) OR abs(${x} - ${y}) > 1e-9 * greatest(1, abs(${y}))) AS ${column}`;
  });
  const [row] = await history.query<Record<string, string>>(
    `SELECT count() AS rows, ${differs.join(', ')} FROM ours AS o INNER JOIN hand AS h ON o.label = h.label`,
  );
  const [all] = await history.query<{ rows: string }>(`SELECT count() AS rows FROM ${labelTable}`);
  if (row?.rows !== all?.rows) throw new Error(`${row?.rows} of ${all?.rows} rows are in both answers`);
  const wrong = columns.filter((column) => Number(row?.[column]) > 0);
  if (wrong.length > 0) progress(`differ: ${wrong.map((column) => `${column} ${row?.[column]}`).join(', ')}`);
  return wrong.reduce((sum, column) => sum + Number(row?.[column]), 0);
}

function fileOf(mesh: TestMesh, name: string): string {
  return join(mesh.dir, `${name}.parquet`);
}

/** Wall time, and of ClickHouse's process the CPU time and the largest resident set meanwhile. */
async function measured(mesh: TestMesh, work: () => Promise<void>) {
  const { pid } = mesh.clickhouse;
  const cpu = () => {
    const [, rest = ''] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ');
    const parts = rest.split(' ');
    return (Number(parts[11]) + Number(parts[12])) / 100;
  };
  // 5 resets the peak
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
  const [cpuBefore, before] = [cpu(), performance.now()];
  await work();
  const seconds = round((performance.now() - before) / 1000);
  const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return { seconds, cpuSeconds: round(cpu() - cpuBefore), peakMb: Math.round(Number(peak) / 1024) };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
