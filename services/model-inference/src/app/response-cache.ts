import { MeshError } from '@millrace/kernel';
import { LRUCache } from 'lru-cache';
import { rowsBetween, rowsOf, stack, type Tensors, unstack } from '../domain/batch-tensors.ts';
import { bytesOf, contentKey, copied, rowsAt, sharedKey } from '../domain/row-tensors.ts';
import type { LoadedModel, LoadRequest, RunOptions } from './model-book.ts';

/** How the rows of a request were answered. */
export interface CacheUse {
  /** From the cache. */
  readonly hits: number;
  /** With the answer to an equal row that another caller was waiting for. */
  readonly shared: number;
  /** By the model. */
  readonly misses: number;
}

export interface ResponseCache {
  /**
   * The model with its answers kept, by what it is asked. Rows of a model whose rows do not change each other's answers are kept one by
   * one; of another model, whole requests. Equal rows that come together are run once; when that run fails, each of the others is run for
   * itself. Failures are not kept. What a closed model answered is dropped.
   *
   * @param ttlMs how long an answer may be given again; 0: nothing is kept, and what was is not used. Read at each request.
   */
  wrap(model: LoadedModel, request: Pick<LoadRequest, 'name' | 'version'>, ttlMs: () => number): LoadedModel;
  /** Bytes that the kept answers take, about. */
  readonly bytes: number;
}

/** Beside an answer: its key, the list's links, the maps and the objects of its tensors, about. */
const entryBytes = 600;

export function createResponseCache(deps: {
  /** Of all answers of all models; the one that was asked for longest ago goes first. */
  readonly bytesMax: number;
  /** @param lookedMs what making keys and looking them up took */
  readonly onUse: (model: string, version: string, use: CacheUse, lookedMs: number) => void;
  /** Monotonic milliseconds. */
  readonly nowMs?: () => number;
}): ResponseCache {
  const kept = new LRUCache<string, Tensors>({
    maxSize: deps.bytesMax,
    sizeCalculation: (answer) => bytesOf(answer) + entryBytes,
    // an answer's age is checked when it is asked for
    ttl: 1,
    ttlResolution: 0,
    perf: { now: deps.nowMs ?? (() => performance.now()) },
  });
  let nextId = 0;
  return {
    wrap(model, { name, version }, ttlMs) {
      const id = nextId++;
      const answers = createAnswers(model, name, `${id}:`, kept, ttlMs);
      return {
        ...model,
        async run(inputs, outputs, options) {
          if (ttlMs() <= 0) return model.run(inputs, outputs, options);
          const startedMs = performance.now();
          const answering = answers(inputs, outputs, options);
          // all looking is done when the first wait begins
          const lookedMs = performance.now() - startedMs;
          const { answer, use } = await answering;
          deps.onUse(name, version, use, lookedMs);
          return answer;
        },
        // what is kept needs no run, and only the decoded request tells whether it is
        refusal: (options) => (ttlMs() > 0 ? undefined : model.refusal?.(options)),
        async close() {
          await model.close();
          for (const key of [...kept.keys()]) if (key.startsWith(`${id}:`)) kept.delete(key);
        },
      };
    },
    get bytes() {
      return kept.calculatedSize;
    },
  };
}

type Answered = { readonly answer: Tensors; readonly use: CacheUse };

function createAnswers(
  model: LoadedModel,
  name: string,
  prefix: string,
  kept: LRUCache<string, Tensors>,
  ttlMs: () => number,
) {
  /** By key: what a run that goes on will answer. */
  const flights = new Map<string, Promise<Tensors>>();

  function keep(key: string, answer: Tensors): void {
    const ttl = ttlMs();
    if (ttl > 0) kept.set(prefix + key, copied(answer), { ttl });
  }

  async function wholeRequest(inputs: Tensors, outputs: readonly string[], options?: RunOptions): Promise<Answered> {
    const key = contentKey(inputs, outputs);
    const hit = kept.get(prefix + key);
    if (hit) return { answer: copied(hit), use: { hits: 1, shared: 0, misses: 0 } };
    const flight = flights.get(key);
    if (flight) {
      const answer = await untilGone(flight, options?.signal);
      if (answer) return { answer, use: { hits: 0, shared: 1, misses: 0 } };
    }
    const run = model.run(inputs, outputs, options);
    const done = register(
      flights,
      [key],
      run.then((all) => [all]),
    );
    try {
      const answer = await run;
      keep(key, answer);
      return { answer, use: { hits: 0, shared: 0, misses: 1 } };
    } finally {
      done();
    }
  }

  async function byRow(
    inputs: Tensors,
    outputs: readonly string[],
    rows: number,
    options?: RunOptions,
  ): Promise<Answered> {
    const shared = sharedKey(inputs, outputs);
    const keys = Array.from({ length: rows }, (_, row) =>
      contentKey(rowsBetween(inputs, row, row + 1), outputs, shared),
    );
    const answers = keys.map((key) => kept.get(prefix + key));
    const hits = answers.filter((answer) => answer !== undefined).length;
    const waiting = keys.flatMap((key, row) => (!answers[row] && flights.has(key) ? [row] : []));
    const first = new Map<string, number>();
    for (const [row, key] of keys.entries())
      if (!answers[row] && !flights.has(key) && !first.has(key)) first.set(key, row);

    /** Runs these rows and keeps their answers. */
    const lead = async (wanted: readonly number[]): Promise<void> => {
      if (wanted.length === 0) return;
      const isAll = wanted.length === rows;
      const own = isAll ? inputs : rowsAt(inputs, wanted);
      const run = model.run(own, outputs, options).then((all) =>
        unstack(
          name,
          all,
          wanted.map(() => 1),
        ),
      );
      const done = register(
        flights,
        wanted.map((row) => keys[row] as string),
        run,
      );
      try {
        for (const [at, answer] of (await run).entries()) {
          const row = wanted[at] as number;
          answers[row] = answer;
          keep(keys[row] as string, answer);
        }
      } finally {
        done();
      }
    };
    const flightsOfOthers = waiting.map(
      async (row) =>
        [row, await untilGone(flights.get(keys[row] as string) as Promise<Tensors>, options?.signal)] as const,
    );
    const runs = lead([...first.values()]);
    runs.catch(() => undefined);
    const failed: number[] = [];
    for (const [row, answer] of await Promise.all(flightsOfOthers)) {
      if (answer) answers[row] = answer;
      else failed.push(row);
    }
    await runs;
    await lead(failed);
    const whole = keys.map((key, row) => answers[row] ?? answers[first.get(key) as number]) as Tensors[];
    const misses = first.size + failed.length;
    return { answer: stack(whole), use: { hits, misses, shared: rows - hits - misses } };
  }

  return (inputs: Tensors, outputs: readonly string[], options?: RunOptions): Promise<Answered> => {
    const rows = model.batching.unsafe === undefined ? rowsOf(inputs) : undefined;
    return rows === undefined || rows === 0
      ? wholeRequest(inputs, outputs, options)
      : byRow(inputs, outputs, rows, options);
  };
}

/** Lets others wait for what a run answers to these keys, unless they wait for another's already; call when it is over. */
function register(
  flights: Map<string, Promise<Tensors>>,
  keys: readonly string[],
  run: Promise<readonly Tensors[]>,
): () => void {
  const own = keys.flatMap((key, at) => {
    if (flights.has(key)) return [];
    const flight = run.then((answers) => answers[at] as Tensors);
    flight.catch(() => undefined);
    flights.set(key, flight);
    return [key];
  });
  return () => {
    for (const key of own) flights.delete(key);
  };
}

/** What the flight brings; undefined when it fails. CANCELLED when the one who waits is gone first. */
function untilGone(flight: Promise<Tensors>, signal: AbortSignal | undefined): Promise<Tensors | undefined> {
  const brought = flight.catch(() => undefined);
  if (!signal) return brought;
  return new Promise((resolve, reject) => {
    const gone = () => reject(new MeshError('CANCELLED', 'the caller is gone'));
    if (signal.aborted) return gone();
    signal.addEventListener('abort', gone, { once: true });
    void brought.then((answer) => {
      signal.removeEventListener('abort', gone);
      resolve(answer);
    });
  });
}
