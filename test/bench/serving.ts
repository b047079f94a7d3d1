import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { serving } from '@millrace/contracts';
import { openServingWorld, type ServingWorld } from '../integration/serving-world.ts';
import { type BenchCases, type BenchContext, median } from './bench.ts';
import { cpuMs } from './grpc/cpu.ts';
import { startBareServer } from './grpc/start-bare-server.ts';
import { checkAnswer, method, pin, prepare, readRequest, round1, round3, runClient } from './serving-load.ts';

const rounds = 3;
const secondsPerRun = 5;

type Measured = { rps: number; p50_ms: number; p99_ms: number; calls: number; errors: number };
/** What a call costs the server, which a noisy machine alters less than its rate. */
type Costed = Measured & { cpu_ms: number };

/**
 * Requests per second of online-serving on one core, over real Redis: 1 and 100 entities × 50 features, of 5 views with 10 windowed
 * features each, for 10,000 entities. `ratio` is to a bare grpc-js server that answers the same bytes, on the same core, to the same
 * client, in turns; the client and Redis have the other core.
 */
export async function run({ progress, signal }: BenchContext): Promise<BenchCases> {
  progress('starting Redis, NATS, governance and online-serving');
  const world = await openServingWorld({ stores: ['redis', 'nats'] });
  try {
    await prepare(world, progress);
    pin(world.online.pid, 0);
    pin(world.mesh.redis.pid, 1);
    pin(world.mesh.nats.pid, 1);
    const cases: Record<string, Record<string, number>> = {};
    for (const { label, rows, inFlight } of [
      { label: '1x50', rows: 1, inFlight: 16 },
      { label: '100x50', rows: 100, inFlight: 8 },
    ]) {
      cases[label] = await measureCase(world, { label, rows, inFlight }, progress, signal);
    }
    return cases;
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
  const requestFile = join(world.mesh.dir, `${label}.request`);
  const answerFile = join(world.mesh.dir, `${label}.answer`);
  const answerBytes = Buffer.from(serving.GetFeaturesResponse.encode(answer).finish());
  writeFileSync(requestFile, serving.GetFeaturesRequest.encode(sent).finish());
  writeFileSync(answerFile, answerBytes);
  const bare = await startBareServer(answerFile, method);
  const load = (address: string) =>
    runClient<Measured>('lean-client.ts', [
      address,
      method,
      requestFile,
      1,
      inFlight,
      secondsPerRun,
      answerBytes.length,
    ]);
  const ours: Costed[] = [];
  const theirs: Measured[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      signal.throwIfAborted();
      theirs.push(await load(bare.address));
      const beforeMs = cpuMs(world.online.pid);
      const measured = await load(world.online.grpc);
      ours.push({ ...measured, cpu_ms: (cpuMs(world.online.pid) - beforeMs) / measured.calls });
      progress(
        `${label}, round ${round + 1} of ${rounds}: ${Math.round(ours.at(-1)?.rps ?? 0)} requests/s, bare ${Math.round(theirs.at(-1)?.rps ?? 0)}`,
      );
    }
  } finally {
    bare.child.kill('SIGTERM');
  }
  const failed = [...ours, ...theirs].reduce((sum, one) => sum + one.errors, 0);
  if (failed > 0) throw new Error(`${label}: ${failed} calls failed or answered with another size`);
  checkAnswer(await world.client.getFeatures(sent), rows);
  const of = (runs: readonly Measured[], metric: keyof Measured) => median(runs.map((one) => one[metric]));
  const rps = of(ours, 'rps');
  const bareRps = of(theirs, 'rps');
  return {
    rps: round1(rps),
    p50_ms: round3(of(ours, 'p50_ms')),
    p99_ms: round3(of(ours, 'p99_ms')),
    bare_rps: round1(bareRps),
    ratio: round3(rps / bareRps),
    cpu_ms: round3(median(ours.map((one) => one.cpu_ms))),
  };
}
