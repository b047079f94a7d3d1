import { alerts } from '@millrace/contracts';
import { createPublisher, type NatsLink, subjects } from '@millrace/events';
import { newId } from '@millrace/kernel';
import type { MismatchAlert } from '../app/mismatch-alerts.ts';
import { toServedMismatch } from '../rpc/sample-values.ts';

const publishMs = 10_000;

/** Alerts go to the ALERTS stream; resolves once it has them. */
export function createAlertPublisher(link: NatsLink): (alert: MismatchAlert) => Promise<void> {
  const publisher = createPublisher(link, { maxInFlight: 16 });
  return async ({ dedupKey, occurrences, first }) => {
    const alertId = newId();
    const keys = [...first.keys].map(([name, value]) => `${name}=${value}`).join(', ');
    const bytes = alerts.Alert.encode({
      alertId,
      severity: alerts.Severity.CRITICAL,
      kind: 'parity_mismatch',
      dedupKey,
      message:
        `feature "${first.view}__${first.feature}" of ${keys} was served as ${String(first.served)} where history says ` +
        `${String(first.expected)}; millrace parity lists what differs`,
      raisedUs: BigInt(first.foundUs),
      occurrences: BigInt(occurrences),
      service: 'feature-compute',
      detail: { $case: 'parityMismatch', value: toServedMismatch(first) },
    }).finish();
    const signal = AbortSignal.timeout(publishMs);
    await publisher.publish(subjects.alerts('critical'), bytes, { msgId: alertId, signal });
  };
}
