import type { BenchCases, BenchContext } from '../bench.ts';
import { round1, round3 } from '../serving-load.ts';
import { openConnections, withMlpServer } from './mlp-server.ts';

const seconds = 6;
const deadlineMs = 50;

/**
 * B8: B4's model at twice the load that it bears (`rps`: 32 requests of a row at once over the generator's connections, after a warm-up; `rps_one_connection` over
 * one), deadline 50 ms, a tenth of the requests urgent: `goodput` is answers in time per second over `rps`, `urgent_in_time` the share of
 * the urgent ones, `rps_after` what it bears afterwards; `send_late_p99_ms` and `client_cores` tell whether the generator kept up.
 */
export async function measureOverload({ progress, number }: BenchContext): Promise<BenchCases> {
  return withMlpServer({}, async (server) => {
    const one = await server.closed('mid', seconds);
    const closed = await server.closed('mid', seconds, openConnections);
    progress(`B8: ${Math.round(closed.rps)}/s without overload, ${Math.round(one.rps)}/s over one connection`);
    const load = { rate: number('overload') * closed.rps, deadlineMs, seconds, urgent: true };
    const over = await server.open('mid', load);
    progress(`B8 under overload: ${JSON.stringify(over)}`);
    const after = await server.closed('mid', seconds / 2, openConnections);
    return {
      B8: {
        rps: round1(closed.rps),
        rps_one_connection: round1(one.rps),
        goodput: round3(over.good_per_s / closed.rps),
        good_per_s: round1(over.good_per_s),
        p99_ms: round3(over.p99_ms),
        refused: round3(over.refused / over.sent),
        reset: round3(over.reset / over.sent),
        late: round3(over.late / over.sent),
        unanswered: round3(over.unanswered / over.sent),
        urgent_in_time: round3(over.urgent_in_time),
        urgent_p99_ms: round3(over.urgent_p99_ms),
        rps_after: round1(after.rps),
        send_late_p99_ms: round3(over.send_late_p99_ms),
        client_cores: round3(over.cores[0] ?? Number.NaN),
        server_cores: round3(over.cores[1] ?? Number.NaN),
      },
    };
  });
}
