import { alerts } from '@millrace/contracts';
import { createPublisher, type NatsLink, subjects } from '@millrace/events';
import { newId } from '@millrace/kernel';
import type { ExpectationAlert } from '../app/expectation-judge.ts';

const publishMs = 10_000;

/** Alerts go to the ALERTS stream, as `millrace.alerts.warning`; resolves once it has them. */
export function createExpectationAlerts(link: NatsLink): (alert: ExpectationAlert) => Promise<void> {
  const publisher = createPublisher(link, { maxInFlight: 16 });
  return async ({ dedupKey, occurrences, raisedUs, result }) => {
    const alertId = newId();
    const what = result.outcome === 'NO_DATA' ? 'has no data' : 'is not met';
    const bytes = alerts.Alert.encode({
      alertId,
      severity: alerts.Severity.WARNING,
      kind: 'expectation',
      dedupKey,
      message: `expectation "${result.expectation}" of source "${result.source}" ${what}: ${result.message}; see: millrace quality ${result.source}`,
      raisedUs: BigInt(raisedUs),
      occurrences: BigInt(occurrences),
      service: 'ingestion',
      detail: undefined,
    }).finish();
    const signal = AbortSignal.timeout(publishMs);
    await publisher.publish(subjects.alerts('warning'), bytes, { msgId: alertId, signal });
  };
}
