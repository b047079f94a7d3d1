import type { BenchCases, BenchContext } from '../bench.ts';
import { round1, round3 } from '../serving-load.ts';
import { withMlpServer } from './mlp-server.ts';

const seconds = 6;
const patientMs = 1_000;

/**
 * B4: 512-1024-512-8, 32 requests of a row at once, with batching (`rps`, `p99_ms`) and without (`bare_rps`, `bare_p99_ms`); `p99_same_load_ms`
 * is with batching at 80 % of `bare_rps`, open loop, beside `bare_p99_same_load_ms`. B7: 32-64-32-1 at 20 requests/s, `added_ms` of p50.
 */
export async function measureBatching({ progress, signal }: BenchContext): Promise<BenchCases> {
  const off = await withMlpServer({ MILLRACE_INFERENCE_BATCH_ROWS_MAX: '1' }, async (server) => {
    const closed = await server.closed('mid', seconds);
    return {
      closed,
      same: await server.open('mid', { rate: 0.8 * closed.rps, deadlineMs: patientMs, seconds }),
      slow: await server.open('small', { rate: 20, deadlineMs: patientMs, seconds }),
    };
  });
  progress(`without batching: ${JSON.stringify(off)}`);
  signal.throwIfAborted();
  const on = await withMlpServer({}, async (server) => ({
    closed: await server.closed('mid', seconds),
    same: await server.open('mid', { rate: 0.8 * off.closed.rps, deadlineMs: patientMs, seconds }),
    slow: await server.open('small', { rate: 20, deadlineMs: patientMs, seconds }),
  }));
  progress(`with batching: ${JSON.stringify(on)}`);
  return {
    B4: {
      rps: round1(on.closed.rps),
      p50_ms: round3(on.closed.p50_ms),
      p99_ms: round3(on.closed.p99_ms),
      bare_rps: round1(off.closed.rps),
      bare_p99_ms: round3(off.closed.p99_ms),
      ratio: round3(on.closed.rps / off.closed.rps),
      p99_same_load_ms: round3(on.same.p99_ms),
      bare_p99_same_load_ms: round3(off.same.p99_ms),
    },
    B7: {
      p50_ms: round3(on.slow.p50_ms),
      bare_p50_ms: round3(off.slow.p50_ms),
      added_ms: round3(on.slow.p50_ms - off.slow.p50_ms),
    },
  };
}
