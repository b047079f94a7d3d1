import type { NatsLink } from '@millrace/events';
import { Kvm } from '@nats-io/kv';

/** How far feature-compute has come with a view version. */
export type ViewState = 'warming' | 'ready';

/** By `<view>@<version>`. */
export type ViewStateMap = Readonly<Record<string, ViewState>>;

/** What feature-compute tells of the view versions that it keeps. */
export interface ViewStates {
  /** Undefined while no feature-compute has told anything. */
  current(): ViewStateMap | undefined;
  onChange(listener: () => void): () => void;
}

const bucket = 'VIEWS';
const key = 'states';
const lookEveryMs = 2_000;
const retryMs = 200;

interface Options {
  readonly signal: AbortSignal;
}

/** Tells the states; calls overtake each other, the latest wins, and it tries until NATS has it or the signal aborts. */
export async function openViewStateTeller({ js }: NatsLink, { signal }: Options): Promise<(map: ViewStateMap) => void> {
  const kv = await new Kvm(js).create(bucket, { history: 1 });
  let wanted: string | undefined;
  let told = '';
  let telling = false;

  async function tell(): Promise<void> {
    telling = true;
    while (wanted !== undefined && wanted !== told && !signal.aborted) {
      const text: string = wanted;
      try {
        await kv.put(key, text);
        told = text;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, retryMs));
      }
    }
    telling = false;
  }

  return (map) => {
    wanted = JSON.stringify(map);
    if (!telling) void tell();
  };
}

/** A watch tells at once; the look every so often covers a watch that was lost with its server. */
export async function watchViewStates(link: NatsLink, { signal }: Options): Promise<ViewStates> {
  const kv = await new Kvm(link.js).create(bucket, { history: 1 });
  const listeners = new Set<() => void>();
  let revision = 0;
  let states: ViewStateMap | undefined;

  function take(entry: { readonly revision: number; json<T>(): T } | null): void {
    if (entry === null || entry.revision <= revision) return;
    revision = entry.revision;
    states = entry.json<ViewStateMap>();
    for (const listener of listeners) listener();
  }

  async function watch(): Promise<void> {
    while (!signal.aborted && !link.nc.isClosed()) {
      try {
        const entries = await kv.watch({ key });
        const stop = () => entries.stop();
        signal.addEventListener('abort', stop, { once: true });
        for await (const entry of entries) if (entry.operation === 'PUT') take(entry);
        signal.removeEventListener('abort', stop);
      } catch {
        // NATS is away: try again
      }
      if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }

  take(await kv.get(key));
  const looks = setInterval(() => void kv.get(key).then(take, () => undefined), lookEveryMs);
  signal.addEventListener('abort', () => clearInterval(looks), { once: true });
  void watch();
  return {
    current: () => states,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
