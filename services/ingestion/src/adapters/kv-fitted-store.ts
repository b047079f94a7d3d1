import type { NatsLink } from '@millrace/events';
import { Kvm } from '@nats-io/kv';
import type { FittedState, FittedStore } from '../app/fitted-states.ts';

/** The KV bucket `FITTED`: `<source>.<field>` → state; the last 64 states of each are kept. */
export async function openFittedStore({ js }: NatsLink): Promise<FittedStore> {
  const kv = await new Kvm(js).create('FITTED', { history: 64 });
  return {
    async load() {
      const states = new Map<string, FittedState>();
      for await (const key of await kv.keys()) {
        const entry = await kv.get(key);
        if (entry?.operation === 'PUT') states.set(key, entry.json<FittedState>());
      }
      return states;
    },
    async put(key, state) {
      await kv.put(key, JSON.stringify(state));
    },
  };
}
