import { followBucket, type NatsLink } from '@millrace/events';
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

export async function watchViewStates(link: NatsLink, { signal }: Options): Promise<ViewStates> {
  const kv = await new Kvm(link.js).create(bucket, { history: 1 });
  const listeners = new Set<() => void>();
  let states: ViewStateMap | undefined;
  await followBucket<ViewStateMap>(kv, link, { signal, lookEveryMs, key }, (_, told) => {
    states = told;
    for (const listener of listeners) listener();
  });
  return {
    current: () => states,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
