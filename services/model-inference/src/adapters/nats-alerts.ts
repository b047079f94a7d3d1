import { alerts } from '@millrace/contracts';
import { createPublisher, type NatsLink, subjects } from '@millrace/events';
import { newId } from '@millrace/kernel';
import type { RaiseAlert } from '../app/raise-alert.ts';

const publishMs = 10_000;

/** Alerts go to the ALERTS stream, what begins as a warning and what ends as information; resolves once it has them. */
export function createModelAlerts(link: NatsLink, nowUs: () => number): RaiseAlert {
  const publisher = createPublisher(link, { maxInFlight: 16 });
  return async ({ kind, dedupKey, message, isOver }) => {
    const alertId = newId();
    const bytes = alerts.Alert.encode({
      alertId,
      severity: isOver ? alerts.Severity.INFO : alerts.Severity.WARNING,
      kind: isOver ? `${kind}_resolved` : kind,
      dedupKey,
      message,
      raisedUs: BigInt(nowUs()),
      occurrences: 1n,
      service: 'model-inference',
      detail: undefined,
    }).finish();
    const signal = AbortSignal.timeout(publishMs);
    await publisher.publish(subjects.alerts(isOver ? 'info' : 'warning'), bytes, { msgId: alertId, signal });
  };
}
