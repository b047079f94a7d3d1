import { createHash } from 'node:crypto';
import { loads } from '@millrace/contracts';
import type { NatsLink } from '@millrace/events';
import { MeshError } from '@millrace/kernel';
import { type KV, Kvm } from '@nats-io/kv';
import type { InputRecord, LoadRecord, LoadStore } from '../app/load-store.ts';

/** Ended loads are forgotten after this time; the ledger is not. */
const loadsKeptMs = 30 * 86_400_000;

/** Two buckets: LOADS, what was asked for and how it went; INPUTS, the ledger of what was read for each source. */
export async function openNatsLoadStore({ js }: NatsLink): Promise<LoadStore> {
  const kvm = new Kvm(js);
  const loadBucket = await kvm.create('LOADS', { history: 1, ttl: loadsKeptMs });
  const inputBucket = await kvm.create('INPUTS', { history: 1 });
  const ledgers = new Map<string, Promise<Map<string, InputRecord>>>();

  /** A source's ledger is read once: this process alone writes it. */
  function ledger(source: string): Promise<Map<string, InputRecord>> {
    const known = ledgers.get(source) ?? readLedger(source);
    ledgers.set(source, known);
    known.catch(() => ledgers.delete(source));
    return known;
  }

  async function readLedger(source: string): Promise<Map<string, InputRecord>> {
    const lines = await readAll(inputBucket, `${source}.*`);
    return new Map(lines.map((text) => JSON.parse(text) as InputRecord).map((input) => [input.uri, input]));
  }

  return {
    async loads() {
      const found = (await readAll(loadBucket, '>')).map(toLoad);
      return found.sort((a, b) => a.startedUs - b.startedUs);
    },
    putLoad: (load) => put(loadBucket, load.id, fromLoad(load)),
    input: async (source, uri) => (await ledger(source)).get(uri),
    async putInput(source, input) {
      (await ledger(source)).set(input.uri, input);
      await put(inputBucket, `${source}.${digest(input.uri)}`, JSON.stringify(input));
    },
    inputs: async (source) => [...(await ledger(source)).values()],
  };
}

const getsInFlight = 64;

async function readAll(kv: KV, filter: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of await kv.keys(filter)) keys.push(key);
  const values: string[] = [];
  for (let from = 0; from < keys.length; from += getsInFlight) {
    const entries = await Promise.all(keys.slice(from, from + getsInFlight).map((key) => kv.get(key)));
    for (const entry of entries) if (entry?.operation === 'PUT') values.push(entry.string());
  }
  return values;
}

async function put(kv: KV, key: string, text: string): Promise<void> {
  try {
    await kv.put(key, Buffer.from(text));
  } catch (cause) {
    throw new MeshError(
      'STORE_UNAVAILABLE',
      `the state of a load could not be written: ${(cause as Error).message}`,
      { key },
      { cause },
    );
  }
}

function digest(uri: string): string {
  return createHash('sha256').update(uri).digest('hex').slice(0, 32);
}

function fromLoad(load: LoadRecord): string {
  const request = Buffer.from(loads.StartLoadRequest.encode(load.request).finish()).toString('base64');
  return JSON.stringify({ ...load, request });
}

function toLoad(text: string): LoadRecord {
  const kept = JSON.parse(text) as Omit<LoadRecord, 'request'> & { readonly request: string };
  return { ...kept, request: loads.StartLoadRequest.decode(Buffer.from(kept.request, 'base64')) };
}
