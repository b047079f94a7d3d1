import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { serving } from '@millrace/contracts';
import { openServingWorld, type ServingWorld } from '../integration/serving-world.ts';
import { type BenchCases, type BenchContext, type BenchUsage, median } from './bench.ts';
import { checkAnswer, method, pin, prepare, readRequest, round1, round3, runClient } from './serving-load.ts';

const rounds = 3;
const seconds = 4;
const deadlineMs = 100;
const times = [2, 5];
const sizes = [
  { label: '100x50', rows: 100, inFlight: 8 },
  { label: '1x50', rows: 1, inFlight: 16 },
];

export const usage: BenchUsage = { cases: sizes.map(({ label }) => label) };

type Size = (typeof sizes)[number];
type Closed = { readonly rps: number; readonly errors: number };
type Open = {
  readonly sent: number;
  readonly late: number;
  readonly refused: number;
  readonly unanswered: number;
  readonly errors: number;
  readonly good_per_s: number;
  readonly p99_ms: number;
  readonly send_late_p99_ms: number;
  /** Of the generator, online-serving and Redis. */
  readonly cores: readonly number[];
};
type Round = { readonly bear: Closed; readonly loads: readonly Open[] };

/**
 * W15: two and five times the load that online-serving can bear, on one core. `max_rps` is what a closed loop gets; then requests come at a multiple
 * of that rate, whether answers come or not, each with a deadline of 100 ms. `goodput` is answers within the deadline per second over
 * `max_rps`, `p99_ms` the time of the answers from when their requests were due, `refused` the share that was shed; `*_cores` is who was
 * busy, `send_late_p99_ms` whether the generator kept up.
 */
export async function run({ only, progress, signal }: BenchContext): Promise<BenchCases> {
  const chosen = sizes.filter(({ label }) => only.length === 0 || only.includes(label));
  progress('starting Redis, NATS, governance and online-serving');
  const world = await openServingWorld({ stores: ['redis', 'nats'] });
  try {
    await prepare(world, progress);
    pin(world.online.pid, 0);
    pin(world.mesh.redis.pid, 1);
    pin(world.mesh.nats.pid, 1);
    const cases: Record<string, Record<string, number>> = {};
    for (const size of chosen) Object.assign(cases, await measureSize(world, size, progress, signal));
    return cases;
  } finally {
    await world.close();
  }
}

async function measureSize(
  world: ServingWorld,
  { label, rows, inFlight }: Size,
  progress: (text: string) => void,
  signal: AbortSignal,
): Promise<Record<string, Record<string, number>>> {
  const sent = readRequest(rows);
  const answer = await world.client.getFeatures(sent);
  checkAnswer(answer, rows);
  const body = join(world.mesh.dir, `${label}.request`);
  writeFileSync(body, serving.GetFeaturesRequest.encode(sent).finish());
  const answerBytes = serving.GetFeaturesResponse.encode(answer).finish().length;
  const address = world.online.grpc;
  const pids = `${world.online.pid},${world.mesh.redis.pid}`;
  const measured: Round[] = [];
  for (let round = 0; round < rounds; round++) {
    signal.throwIfAborted();
    const bear = await runClient<Closed>('lean-client.ts', [address, method, body, 1, inFlight, seconds, answerBytes]);
    if (bear.errors > 0) throw new Error(`${label}: ${bear.errors} calls failed without overload`);
    progress(`${label}, round ${round + 1} of ${rounds}: ${Math.round(bear.rps)}/s`);
    const loads: Open[] = [];
    for (const multiple of times) {
      const rate = Math.round(multiple * bear.rps);
      const load = await runClient<Open>('open-loop-client.ts', [
        ...[address, method, body, 8, rate, seconds, answerBytes, deadlineMs, pids],
      ]);
      if (load.errors > 0) throw new Error(`${label}: ${load.errors} streams were reset`);
      loads.push(load);
      progress(`${label} times ${multiple}: ${JSON.stringify(load)}`);
    }
    measured.push({ bear, loads });
  }
  checkAnswer(await world.client.getFeatures(sent), rows);
  return Object.fromEntries(times.map((multiple, i) => [`${label}-${multiple}x`, summaryOf(measured, i)]));
}

function summaryOf(measured: readonly Round[], i: number): Record<string, number> {
  const of = (metric: (load: Open, bear: Closed) => number) =>
    median(measured.map(({ bear, loads }) => metric(loads[i] as Open, bear)));
  return {
    max_rps: round1(of((_, bear) => bear.rps)),
    goodput: round3(of((load, bear) => load.good_per_s / bear.rps)),
    good_per_s: round1(of((load) => load.good_per_s)),
    p99_ms: round1(of((load) => load.p99_ms)),
    refused: round3(of((load) => load.refused / load.sent)),
    late: round3(of((load) => load.late / load.sent)),
    unanswered: round3(of((load) => load.unanswered / load.sent)),
    send_late_p99_ms: round1(of((load) => load.send_late_p99_ms)),
    client_cores: round3(of((load) => load.cores[0] ?? Number.NaN)),
    server_cores: round3(of((load) => load.cores[1] ?? Number.NaN)),
    redis_cores: round3(of((load) => load.cores[2] ?? Number.NaN)),
  };
}
