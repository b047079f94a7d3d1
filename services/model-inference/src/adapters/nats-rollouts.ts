import { createPublisher, type NatsLink, subjects } from '@millrace/events';
import { Kvm } from '@nats-io/kv';
import type { RolloutRecord, RolloutStore } from '../app/rollout-record.ts';

/** The KV bucket `ROLLOUTS` has the newest rollout of each deployment; decisions are on the stream `ROLLOUT_DECISIONS`. */
export async function openRolloutStore(link: NatsLink, signal: AbortSignal): Promise<RolloutStore> {
  const kv = await new Kvm(link.js).create('ROLLOUTS', { history: 8 });
  const publisher = createPublisher(link, { maxInFlight: 64 });
  return {
    async load() {
      const records: RolloutRecord[] = [];
      for await (const key of await kv.keys()) {
        const entry = await kv.get(key);
        if (entry?.operation === 'PUT') records.push(entry.json<RolloutRecord>());
      }
      return records;
    },
    async put(record) {
      await kv.put(record.deployment, JSON.stringify(record));
    },
    async audit(decision) {
      await publisher.publish(subjects.rollouts(decision.deployment), Buffer.from(JSON.stringify(decision)), {
        signal,
      });
    },
  };
}
