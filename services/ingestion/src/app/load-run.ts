import { definitions } from '@millrace/contracts';
import { compileMapping, type InputObject, type LocalInput } from '@millrace/inputs';
import { contentVersion, MeshError } from '@millrace/kernel';
import type { Registered } from '@millrace/registry';
import { isCorrectable } from '@millrace/sources';
import { registeredSource } from './definitions.ts';
import type { LoadRunDeps } from './load-deps.ts';
import { publishInput } from './load-input.ts';
import { runQuery } from './load-query.ts';
import type { InputRecord, LoadRecord } from './load-store.ts';
import type { LoadTotals } from './load-totals.ts';

/** How often what is durable is written to the ledger: what a crash makes a load publish again, as duplicates. */
const commitEveryMs = 1_000;

/** Reads every input of a load to its end. What this load has done before a restart counts and is not read again. */
export async function runLoad(
  deps: LoadRunDeps,
  load: LoadRecord,
  totals: LoadTotals,
  signal: AbortSignal,
): Promise<void> {
  const { source, whenChanged } = load.request;
  const registered = await registeredSource(deps.definitions, source);
  const input = registered.spec.batchInputs.find(({ name }) => name !== '' && name === load.request.batchInput);
  if (input !== undefined && input.query !== '') return runQuery(deps, load, input, registered, totals, signal);
  const found = await deps.inputs.locate(load.request, signal);
  totals.found(found);
  for (const object of found) {
    signal.throwIfAborted();
    totals.current = object.uri;
    const known = await deps.store.input(source, object.uri);
    if (known?.done && known.loadId === load.id) totals.finish(known);
    else if (known?.done && isIncremental(load) && isKnown(known, object, whenChanged)) totals.skip(object.bytes);
    else await readInput({ deps, load, registered, object, known, totals, signal });
  }
  totals.current = '';
}

/** A batch input reads what is new; a load of a location reads what it is told to. */
function isIncremental({ request }: LoadRecord): boolean {
  return request.batchInput !== '';
}

function isKnown(known: InputRecord, { fingerprint }: InputObject, whenChanged: definitions.WhenChanged): boolean {
  return whenChanged === definitions.WhenChanged.IGNORE || (fingerprint !== '' && fingerprint === known.fingerprint);
}

type InputTask = {
  readonly deps: LoadRunDeps;
  readonly load: LoadRecord;
  readonly registered: Registered<definitions.Source>;
  readonly object: InputObject;
  readonly known: InputRecord | undefined;
  readonly totals: LoadTotals;
  readonly signal: AbortSignal;
};

async function readInput(task: InputTask): Promise<void> {
  const { deps, load, object, known, totals, signal } = task;
  const local = await deps.inputs.fetch(object, load, signal);
  totals.sized(object.bytes, local.bytes);
  try {
    if (known?.done && isIncremental(load) && known.sha256 === local.sha256) {
      // touched, or moved under a new time: its rows are there
      await deps.store.putInput(load.request.source, { ...known, fingerprint: object.fingerprint });
      return totals.skip(local.bytes);
    }
    await publish(task, local, beginning(task, local));
  } finally {
    await deps.inputs.discard(local);
  }
}

/** The ledger's line as the reading begins: from the first row, or where a reading of the same bytes broke off. */
function beginning({ deps, load, object, known }: InputTask, local: LocalInput): InputRecord {
  const { whenChanged, format } = load.request;
  const sameBytes = known?.sha256 === local.sha256;
  const formatKey = contentVersion({
    ...format,
    columns: [...(format?.columns ?? [])],
    rowTimeUs: String(format?.rowTimeUs ?? 0n),
  });
  const goesOn = known !== undefined && sameBytes && !known.done && known.formatKey === formatKey;
  const keepsIds = known !== undefined && (sameBytes || whenChanged !== definitions.WhenChanged.READ_AGAIN);
  const mine = goesOn && known.loadId === load.id;
  return {
    uri: object.uri,
    fingerprint: object.fingerprint,
    sha256: local.sha256,
    idBase: keepsIds ? known.idBase : local.sha256.slice(0, 16),
    formatKey,
    bytes: local.bytes,
    lastRow: goesOn ? known.lastRow : 0,
    rows: mine ? known.rows : 0,
    accepted: mine ? known.accepted : 0,
    duplicates: mine ? known.duplicates : 0,
    rejected: mine ? known.rejected : 0,
    done: false,
    readUs: deps.clock.nowUs(),
    loadId: load.id,
    changes: (known?.changes ?? 0) + (known !== undefined && !sameBytes ? 1 : 0),
  };
}

async function publish(task: InputTask, local: LocalInput, begun: InputRecord): Promise<void> {
  const { deps, load, registered, object, totals, signal } = task;
  const { source, format } = load.request;
  const rowFormat = format ?? definitions.RowFormat.fromPartial({});
  const reader = await deps.inputs.open(local, rowFormat, object.name);
  const mapping = compileMapping(source, registered.spec, rowFormat, reader.columns);
  let record = begun;
  let committedMs = performance.now();
  await deps.store.putInput(source, record);
  const input = {
    source,
    sourceVersion: registered.version,
    uri: object.uri,
    reader,
    mapping,
    idBase: record.idBase,
    afterRow: record.lastRow,
    isOrdered: isCorrectable(registered.spec),
  };
  try {
    for await (const settled of publishInput(deps, input, signal)) {
      record = {
        ...record,
        rows: record.rows + settled.rows,
        accepted: record.accepted + settled.accepted,
        duplicates: record.duplicates + settled.duplicates,
        rejected: record.rejected + settled.rejected,
        lastRow: Math.max(record.lastRow, settled.row),
        readUs: deps.clock.nowUs(),
      };
      totals.update(record, settled.bytesRead, settled.rows, settled.rejections);
      if (performance.now() - committedMs < commitEveryMs) continue;
      await deps.store.putInput(source, record);
      committedMs = performance.now();
    }
    signal.throwIfAborted();
    record = { ...record, done: true };
    totals.finish(record);
  } catch (cause) {
    throw withInput(cause, object.uri);
  } finally {
    await deps.store.putInput(source, record);
  }
}

/** Says which of many inputs it was. */
function withInput(cause: unknown, uri: string): unknown {
  if (!(cause instanceof MeshError)) return cause;
  return new MeshError(cause.reason, `input "${uri}": ${cause.message}`, { ...cause.metadata, uri }, { cause });
}
