import { audit } from '@millrace/contracts';
import { type NatsLink, readBackwards, subjects } from '@millrace/events';
import type { AuditEntry, AuditLog } from '../app/audit.ts';

/** A name that cannot be part of a subject is nobody's. */
const token = (text: string) => (/^[A-Za-z0-9_-]+$/.test(text) ? text : text === '' ? '*' : '_');

/** The stream AUDIT. */
export function createAuditLog(link: NatsLink): AuditLog {
  return async function* ({ kind, name }, signal) {
    const filter = subjects.audit(token(kind), token(name));
    for await (const { data } of readBackwards(link, { stream: 'AUDIT', filter, signal }))
      yield audit.AuditEntry.decode(data);
  };
}

/** What model-inference writes on ROLLOUT_DECISIONS; the fields that an entry is made of. */
type RolloutDecision = Readonly<Record<'deployment' | 'by' | 'action' | 'reason', string>> & {
  readonly decidedUs: number;
};

/** Decisions of rollouts, on their own stream. */
export function createRolloutLog(link: NatsLink): AuditLog {
  return async function* ({ kind, name }, signal) {
    if (kind !== '' && kind !== 'rollout') return;
    const filter = subjects.rollouts(token(name));
    for await (const { data, seq } of readBackwards(link, { stream: 'ROLLOUT_DECISIONS', filter, signal }))
      yield toEntry(JSON.parse(Buffer.from(data).toString()) as RolloutDecision, seq);
  };
}

function toEntry({ deployment, by, action, reason, decidedUs, ...detail }: RolloutDecision, seq: number): AuditEntry {
  return {
    entryId: `rollout-${seq}`,
    atUs: BigInt(decidedUs),
    kind: 'rollout',
    name: deployment,
    action,
    by,
    reason,
    detailJson: JSON.stringify(detail),
    service: 'model-inference',
  };
}
