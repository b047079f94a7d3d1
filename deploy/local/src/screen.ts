import type { Endpoints } from '@millrace/sdk';
import logUpdate from 'log-update';

export interface Figures {
  readonly activity: string;
  readonly eventTime: string;
  readonly eventsPerSecond: number;
  readonly published: number;
  readonly freshnessMs: { readonly p50: number; readonly p99: number };
  readonly rowsWritten: number;
  readonly predictions: number;
  readonly predictionsPerSecond: number;
  readonly auc: number;
  readonly aucRoute: number;
  readonly aucOriginHour: number;
  readonly parity: { readonly compared: number; readonly mismatched: number };
  readonly verifier: { readonly compared: number; readonly mismatched: number; readonly lag_ms: number };
}

/** One live screen on a terminal; nothing where there is none. */
export interface Screen {
  show(figures: Figures): void;
  close(): void;
}

export function createScreen(endpoints: Endpoints, live: boolean): Screen {
  if (!live) return { show() {}, close() {} };
  return {
    show: (figures) => logUpdate(render(figures, endpoints)),
    close: () => logUpdate.done(),
  };
}

function render(figures: Figures, endpoints: Endpoints): string {
  const score = (value: number) => (Number.isNaN(value) ? '  …  ' : value.toFixed(3));
  const services = Object.entries(endpoints.services).map(
    ([name, { grpc, http }]) => `  ${name.padEnd(16)} grpc ${grpc}   http http://${http}`,
  );
  const serving = endpoints.services['online-serving'];
  return [
    `Millrace  ${figures.activity}   event time ${figures.eventTime}`,
    '',
    `  events       ${whole(figures.eventsPerSecond)}/s in, ${whole(figures.published)} published`,
    `  freshness    p50 ${figures.freshnessMs.p50.toFixed(1)} ms, p99 ${figures.freshnessMs.p99.toFixed(1)} ms   (published → readable in online-serving)`,
    `  rows         ${whole(figures.rowsWritten)} written to Redis`,
    `  predictions  ${whole(figures.predictionsPerSecond)}/s, ${whole(figures.predictions)} made`,
    `  AUC          ${score(figures.auc)}   (route's rate ${score(figures.aucRoute)}, origin and hour ${score(figures.aucOriginHour)})`,
    `  parity       ${whole(figures.parity.compared)} values compared with history, ${figures.parity.mismatched} mismatched`,
    `  verifier     ${whole(figures.verifier.compared)} values of sampled reads proved, ${figures.verifier.mismatched} mismatched, ${(figures.verifier.lag_ms / 1000).toFixed(1)} s behind   (npm run millrace -- parity)`,
    '',
    ...services,
    `  ${'stores'.padEnd(16)} ${endpoints.stores.nats}   ${endpoints.stores.redis}   ${endpoints.stores.clickhouse}`,
    '',
    'Try, in another terminal:',
    `  npm run millrace -- get flight_delay origin=ATL destination=ORD hour=8 --as-of ${figures.eventTime}`,
    `  npm run millrace -- predict flight_delay origin=ATL destination=ORD hour=8 --as-of ${figures.eventTime} --data distance_miles=606 hour_sin=0.87 hour_cos=-0.5 weekday_sin=0 weekday_cos=1`,
    `  curl -s http://${serving?.http}/v1/feature-services/flight_delay/features -H 'content-type: application/json' -d '{"entities":[{"origin":"ATL","destination":"ORD","hour":8}],"as_of":"${figures.eventTime}"}'`,
    `  grpcurl -plaintext ${serving?.grpc} list`,
    '',
    'Ctrl-C stops everything.',
  ].join('\n');
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
