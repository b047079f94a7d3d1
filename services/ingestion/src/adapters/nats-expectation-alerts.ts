import { alerts } from '@millrace/contracts';
import { createPublisher, type NatsLink, subjects } from '@millrace/events';
import { newId } from '@millrace/kernel';
import type { ExpectationAlert } from '../app/expectation-judge.ts';
import { textOf } from '../app/source-blocks.ts';

const publishMs = 10_000;

/** Alerts go to the ALERTS stream: `critical` where a source is blocked, else `warning`; resolves once it has them. */
export function createExpectationAlerts(link: NatsLink): (alert: ExpectationAlert) => Promise<void> {
  const publisher = createPublisher(link, { maxInFlight: 16 });
  return async ({ dedupKey, occurrences, raisedUs, result, block }) => {
    const alertId = newId();
    const what = result.outcome === 'NO_DATA' ? 'has no data' : 'is not met';
    const bytes = alerts.Alert.encode({
      alertId,
      severity: block ? alerts.Severity.CRITICAL : alerts.Severity.WARNING,
      kind: block ? 'source_blocked' : 'expectation',
      dedupKey,
      message: block
        ? textOf(block)
        : `expectation "${result.expectation}" of source "${result.source}" ${what}: ${result.message}; see: millrace quality ${result.source}`,
      raisedUs: BigInt(raisedUs),
      occurrences: BigInt(occurrences),
      service: 'ingestion',
      detail: undefined,
    }).finish();
    const signal = AbortSignal.timeout(publishMs);
    await publisher.publish(subjects.alerts(block ? 'critical' : 'warning'), bytes, { msgId: alertId, signal });
  };
}
