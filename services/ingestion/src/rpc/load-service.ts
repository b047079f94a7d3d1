import { loads } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import type { createCheckEvents } from '../app/check-events.ts';
import type { LoadDesk, LoadView } from '../app/load-desk.ts';
import type { InputRecord, LoadState, LoadStore } from '../app/load-store.ts';
import type { LoadTotals } from '../app/load-totals.ts';
import { toRawEvents } from './raw-events.ts';

export type LoadServiceParts = {
  readonly desk: LoadDesk;
  readonly store: LoadStore;
  readonly check: ReturnType<typeof createCheckEvents>;
  readonly uploads: {
    keep(parts: AsyncIterable<Uint8Array>): Promise<{ readonly uploadId: string; readonly bytes: number }>;
  };
};

const inputsDefault = 100;
const inputsMax = 1_000;

/** The wire of LoadService. */
export function loadService({ desk, store, check, uploads }: LoadServiceParts): ServiceBinding {
  return bindService(loads.LoadServiceService, {
    startLoad: async (request, { signal }) => ({ load: toLoad(await desk.start(checked(request), signal)) }),
    getLoad: ({ loadId }) => ({ load: toLoad(desk.get(loadId)) }),
    listLoads: ({ source, limit }) => ({ loads: desk.list(source, limit).map(toLoad) }),
    cancelLoad: async ({ loadId }) => ({ load: toLoad(await desk.cancel(loadId)) }),
    async *uploadInput(requests) {
      const { uploadId, bytes } = await uploads.keep(partsOf(requests));
      yield { uploadId, bytes: BigInt(bytes) };
    },
    async listInputs({ source, limit }) {
      if (limit < 0 || limit > inputsMax)
        throw new MeshError('LIMIT_EXCEEDED', `limit ${limit} is more than ${inputsMax}; ask for less`, { limit });
      const ledger = await store.inputs(source);
      const newest = ledger.sort((a, b) => b.readUs - a.readUs).slice(0, limit || inputsDefault);
      return { inputs: newest.map(toInput), total: BigInt(ledger.length) };
    },
    checkEvents: async ({ source, events }) => check(source, toRawEvents(events)),
  });
}

async function* partsOf(requests: AsyncIterable<loads.UploadInputRequest>): AsyncGenerator<Uint8Array> {
  for await (const { part } of requests) yield part;
}

function checked(request: loads.StartLoadRequest): loads.StartLoadRequest {
  const { idColumns = [], nullValues = [], columns } = request.format ?? {};
  if (idColumns.length > 8 || nullValues.length > 16 || (columns?.size ?? 0) > 256)
    throw new MeshError('LIMIT_EXCEEDED', 'a format has at most 256 columns, 8 id columns and 16 null values', {});
  return { ...request, format: request.format ?? loads.StartLoadRequest.fromPartial({ format: {} }).format };
}

const states = {
  queued: loads.LoadState.QUEUED,
  running: loads.LoadState.RUNNING,
  held: loads.LoadState.HELD,
  succeeded: loads.LoadState.SUCCEEDED,
  failed: loads.LoadState.FAILED,
  cancelled: loads.LoadState.CANCELLED,
} as const satisfies Record<LoadState, loads.LoadState>;

function toLoad({ record, totals }: LoadView): loads.Load {
  const progress = totals?.progress() ?? record.progress;
  return {
    loadId: record.id,
    source: record.request.source,
    location: record.request.location,
    batchInput: record.request.batchInput,
    state: states[record.state],
    reason: record.reason,
    message: record.message,
    startedUs: BigInt(record.startedUs),
    endedUs: BigInt(record.endedUs),
    inputs: BigInt(progress.inputs),
    inputsDone: BigInt(progress.inputsDone),
    inputsSkipped: BigInt(progress.inputsSkipped),
    rows: BigInt(progress.rows),
    accepted: BigInt(progress.accepted),
    duplicates: BigInt(progress.duplicates),
    rejected: BigInt(progress.rejected),
    bytes: BigInt(progress.bytes),
    bytesTotal: BigInt(progress.bytesTotal),
    rejections: progress.rejections.map((rejection) => ({ ...rejection, row: BigInt(rejection.row) })),
    currentInput: totals?.current ?? '',
    ...rateOf(totals, progress.bytesTotal - progress.bytes),
  };
}

function rateOf(totals: LoadTotals | undefined, bytesToGo: number): { rowsPerSecond: number; etaSeconds: number } {
  if (totals === undefined) return { rowsPerSecond: 0, etaSeconds: -1 };
  const seconds = (performance.now() - totals.sinceMs) / 1000;
  const etaSeconds = totals.bytesSince > 0 && bytesToGo > 0 ? (bytesToGo * seconds) / totals.bytesSince : -1;
  return { rowsPerSecond: totals.rowsSince / seconds, etaSeconds };
}

function toInput(input: InputRecord): loads.Input {
  return {
    uri: input.uri,
    fingerprint: input.fingerprint,
    sha256: input.sha256,
    bytes: BigInt(input.bytes),
    rows: BigInt(input.rows),
    accepted: BigInt(input.accepted),
    duplicates: BigInt(input.duplicates),
    rejected: BigInt(input.rejected),
    done: input.done,
    readUs: BigInt(input.readUs),
    loadId: input.loadId,
    changes: input.changes,
  };
}
