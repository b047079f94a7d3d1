import type { NatsLink } from '@millrace/events';
import type { ViewDefinition } from '@millrace/features';
import type { Kind } from './kinds.ts';
import { createSnapshotLoader, toRegistered } from './load-snapshot.ts';
import type { Registered, RegistrySnapshot } from './snapshot.ts';
import { type Head, headKey, openRegistryStore, parseHead } from './store.ts';

/** The registry, followed. */
export interface RegistryWatch {
  current(): RegistrySnapshot;
  /**
   * Reads what is current now, when a name is not known: a caller may be quicker than the watch. Calls at one time share a read; the
   * snapshot stays as it is while the registry does not answer.
   */
  refresh(): Promise<RegistrySnapshot>;
  /** Called after each change; returns how to stop that. */
  onChange(listener: (next: RegistrySnapshot, previous: RegistrySnapshot) => void): () => void;
  /** Any version of a definition; the current one without a version. Undefined when there is none. */
  get(kind: Kind, name: string, version?: string): Promise<Registered<unknown> | undefined>;
  /** Any version of a view that was ever applied, those that nothing current names too. */
  view(name: string, version: string): Promise<ViewDefinition | undefined>;
  close(): Promise<void>;
}

interface WatchOptions {
  readonly signal: AbortSignal;
  readonly telemetry?: {
    readonly log: { warn(entry: { readonly event: string } & Readonly<Record<string, unknown>>): void };
  };
}

/** A watch tells at once; the look every so often covers a watch that was lost with its server. */
const lookEveryMs = 2_000;

export async function watchRegistry(link: NatsLink, { signal, telemetry }: WatchOptions): Promise<RegistryWatch> {
  const store = await openRegistryStore(link);
  const loader = createSnapshotLoader(store);
  const listeners = new Set<(next: RegistrySnapshot, previous: RegistrySnapshot) => void>();
  let head = await store.head();
  let snapshot = await loader.load(head);
  let loading: Promise<void> = Promise.resolve();
  const stopped = new AbortController();
  const ended = AbortSignal.any([signal, stopped.signal]);

  function follow(next: Head): void {
    loading = loading
      .then(async () => {
        if (next.revision <= head.revision) return;
        const loaded = await loader.load(next);
        head = next;
        const previous = snapshot;
        snapshot = loaded;
        for (const listener of listeners) listener(loaded, previous);
      })
      .catch((error: unknown) => telemetry?.log.warn({ event: 'registry_unreadable', error: String(error) }));
  }

  async function watch(): Promise<void> {
    while (!ended.aborted && !link.nc.isClosed()) {
      try {
        const entries = await store.kv.watch({ key: headKey });
        const stop = () => entries.stop();
        ended.addEventListener('abort', stop, { once: true });
        for await (const entry of entries)
          if (entry.operation === 'PUT') follow(parseHead(entry.value, entry.revision));
        ended.removeEventListener('abort', stop);
      } catch {
        // NATS is away: try again
      }
      if (!ended.aborted) await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  async function look(): Promise<void> {
    await store.head().then(follow, () => undefined);
    await loading;
  }
  let looking: Promise<void> | undefined;

  const looks = setInterval(() => void look(), lookEveryMs);
  ended.addEventListener('abort', () => clearInterval(looks), { once: true });
  void watch();

  return {
    current: () => snapshot,
    async refresh() {
      looking ??= look().finally(() => {
        looking = undefined;
      });
      await looking;
      return snapshot;
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async get(kind, name, version = '') {
      const entry = head.manifest[`${kind}/${name}`];
      const wanted = version === '' ? entry?.version : version;
      if (wanted === undefined) return undefined;
      const definition = await store.object(kind, name, wanted);
      if (!definition?.spec) return undefined;
      const { owner = '', description = '', tags = new Map<string, string>() } = definition.metadata ?? {};
      const described = entry ?? {
        owner,
        description,
        tags: Object.fromEntries(tags),
        file: definition.file,
        createdUs: 0,
        previousVersions: [],
      };
      return toRegistered(name, definition.spec.value, { ...described, version: wanted });
    },
    view: (name, version) => loader.resolved(name, version),
    async close() {
      stopped.abort();
      clearInterval(looks);
    },
  };
}
