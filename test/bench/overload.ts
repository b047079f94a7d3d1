import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { serving } from '@millrace/contracts';
import { openServingWorld, type ServingWorld } from '../integration/serving-world.ts';
import { type BenchCases, type BenchContext, median } from './bench.ts';
import { checkAnswer, method, pin, prepare, readRequest, round1, round3, runClient } from './serving-load.ts';

const rounds = 3;
const seconds = 6;
const deadlineMs = 100;

type Closed = { readonly rps: number; readonly errors: number };
type Open = {
  readonly sent: number;
  readonly late: number;
  readonly refused: number;
  readonly unanswered: number;
  readonly errors: number;
  readonly good_per_s: number;
  readonly p99_ms: number;
};

/**
 * W15: twice the load that online-serving can bear, on one core. `max_rps` is what a closed loop gets; then requests come at twice that rate,
 * whether answers come or not, each with a deadline of 100 ms. `goodput` is answers within the deadline per second over `max_rps`,
 * `p99_ms` the time of the answers from when their requests were due, `refused` the share that was shed.
 */
export async function run({ progress, signal }: BenchContext): Promise<BenchCases> {
  progress('starting Redis, NATS, governance and online-serving');
  const world = await openServingWorld({ stores: ['redis', 'nats'] });
  try {
    await prepare(world, progress);
    pin(world.online.pid, 0);
    pin(world.mesh.redis.pid, 1);
    pin(world.mesh.nats.pid, 1);
    const many = await measureCase(world, { label: 'overload', rows: 100, inFlight: 8 }, progress, signal);
    const single = await measureCase(world, { label: 'overload-1x50', rows: 1, inFlight: 16 }, progress, signal);
    return { overload: many, 'overload-1x50': single };
  } finally {
    await world.close();
  }
}

async function measureCase(
  world: ServingWorld,
  { label, rows, inFlight }: { label: string; rows: number; inFlight: number },
  progress: (text: string) => void,
  signal: AbortSignal,
): Promise<Record<string, number>> {
  const sent = readRequest(rows);
  const answer = await world.client.getFeatures(sent);
  checkAnswer(answer, rows);
  const body = join(world.mesh.dir, `${label}.request`);
  writeFileSync(body, serving.GetFeaturesRequest.encode(sent).finish());
  const answerBytes = serving.GetFeaturesResponse.encode(answer).finish().length;
  const address = world.online.grpc;
  const closed: Closed[] = [];
  const open: Open[] = [];
  for (let round = 0; round < rounds; round++) {
    signal.throwIfAborted();
    const bear = await runClient<Closed>('lean-client.ts', [address, method, body, 1, inFlight, seconds, answerBytes]);
    if (bear.errors > 0) throw new Error(`${label}: ${bear.errors} calls failed without overload`);
    closed.push(bear);
    const rate = Math.round(2 * bear.rps);
    const args = [address, method, body, 8, rate, seconds, answerBytes, deadlineMs];
    const load = await runClient<Open>('open-loop-client.ts', args);
    if (load.errors > 0) throw new Error(`${label}: ${load.errors} streams were reset`);
    open.push(load);
    progress(`${label}, round ${round + 1} of ${rounds}: ${Math.round(bear.rps)}/s; ${JSON.stringify(load)}`);
  }
  checkAnswer(await world.client.getFeatures(sent), rows);
  const share = (count: keyof Open) => median(open.map((one) => one[count] / one.sent));
  return {
    max_rps: round1(median(closed.map(({ rps }) => rps))),
    goodput: round3(median(open.map((one, round) => one.good_per_s / (closed[round]?.rps ?? Number.NaN)))),
    p99_ms: round1(median(open.map((one) => one.p99_ms))),
    refused: round3(share('refused')),
    late: round3(share('late')),
    unanswered: round3(share('unanswered')),
  };
}
