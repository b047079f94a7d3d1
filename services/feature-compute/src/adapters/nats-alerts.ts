import { alerts } from '@millrace/contracts';
import { createPublisher, type NatsLink, subjects } from '@millrace/events';
import { newId } from '@millrace/kernel';
import type { FeatureAlert } from '../app/expectations/feature-judge.ts';
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

/** What is expected of features and not met: `critical` where it blocks, else `warning`. */
export function createFeatureAlertPublisher(link: NatsLink): (alert: FeatureAlert) => Promise<void> {
  const publisher = createPublisher(link, { maxInFlight: 16 });
  return async ({ dedupKey, occurrences, raisedUs, result }) => {
    const alertId = newId();
    const blocks = result.severity === 'block';
    const what = result.outcome === 'NO_DATA' ? 'has no data' : 'is not met';
    const bytes = alerts.Alert.encode({
      alertId,
      severity: blocks ? alerts.Severity.CRITICAL : alerts.Severity.WARNING,
      kind: 'feature_expectation',
      dedupKey,
      message: `expectation "${result.expectation}" of feature view "${result.view}" ${what}: ${result.message}; see: millrace quality ${result.view}`,
      raisedUs: BigInt(raisedUs),
      occurrences: BigInt(occurrences),
      service: 'feature-compute',
      detail: undefined,
    }).finish();
    const signal = AbortSignal.timeout(publishMs);
    await publisher.publish(subjects.alerts(blocks ? 'critical' : 'warning'), bytes, { msgId: alertId, signal });
  };
}
