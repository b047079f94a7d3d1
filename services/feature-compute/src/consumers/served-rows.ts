import { parity, serving } from '@millrace/contracts';
import { type NatsLink, subjects } from '@millrace/events';
import type { ViewDefinition } from '@millrace/features';
import { toMeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { Verifier } from '../app/verifier.ts';
import { fromSampleValue, toAsOfSamples } from '../rpc/sample-values.ts';

const { PRESENT, NULL } = serving.ValueStatus;

/** Hands what online-serving tells of its answers to the verifier of one compute process. Ends when the signal aborts. */
export async function followServedRows(deps: {
  readonly link: NatsLink;
  readonly verifier: Pick<Verifier, 'offer'>;
  readonly view: (name: string, version: string) => Promise<ViewDefinition>;
  readonly telemetry: Telemetry;
  readonly signal: AbortSignal;
}): Promise<void> {
  const subscription = deps.link.nc.subscribe(subjects.served('*'), { queue: 'feature-compute' });
  deps.signal.addEventListener('abort', () => subscription.unsubscribe(), { once: true });
  for await (const { data } of subscription) {
    try {
      const message = parity.ServedRows.decode(data);
      const view = await deps.view(message.view, message.version);
      deps.verifier.offer({ view, features: message.features, samples: samplesOf(message, view) });
    } catch (thrown) {
      // a view that is gone by now, or a message of another release
      deps.telemetry.log.debug({ event: 'served_rows_skipped', error: toMeshError(thrown).message });
    }
  }
}

function samplesOf({ rows, features, featureService, servedUs }: parity.ServedRows, view: ViewDefinition) {
  const samples = toAsOfSamples(
    rows.flatMap(({ sample }) => sample ?? []),
    view,
  );
  return samples.map((sample, row) => {
    const { sample: wire, statuses } = rows[row] ?? {};
    const served = features.map((_, at) => {
      const status = statuses?.[at];
      const value = wire?.served[at];
      return value !== undefined && (status === PRESENT || status === NULL) ? fromSampleValue(value) : undefined;
    });
    return { ...sample, served, featureService, servedUs: Number(servedUs) };
  });
}
