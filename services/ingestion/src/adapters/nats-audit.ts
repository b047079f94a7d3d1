import { audit } from '@millrace/contracts';
import { createPublisher, type NatsLink, subjects } from '@millrace/events';
import { newId } from '@millrace/kernel';
import type { AuditTrail } from '../app/audit-trail.ts';

const publishMs = 10_000;

/** The stream AUDIT; an entry is written when this resolves. Governance reads it. */
export function createAuditTrail(link: NatsLink): AuditTrail {
  const publisher = createPublisher(link, { maxInFlight: 16 });
  return async ({ detail, onceKey, ...entry }) => {
    const bytes = audit.AuditEntry.encode({
      ...entry,
      entryId: newId(),
      atUs: BigInt(entry.atUs),
      detailJson: JSON.stringify(detail),
      service: 'ingestion',
    }).finish();
    const signal = AbortSignal.timeout(publishMs);
    const msgId = onceKey ?? newId();
    await publisher.publish(subjects.audit(entry.kind, entry.name), bytes, { msgId, signal });
  };
}
