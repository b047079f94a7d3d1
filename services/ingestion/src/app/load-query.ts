import type { definitions } from '@millrace/contracts';
import { compileMapping, type InputRow, type RowChunk, rowId, toJson } from '@millrace/inputs';
import { contentVersion, MeshError } from '@millrace/kernel';
import { isCorrectable } from '@millrace/sources';
import { rowHash, WatermarkTail } from '../domain/watermark-tail.ts';
import type { LoadRunDeps, QueryRow } from './load-deps.ts';
import { publishInput } from './load-input.ts';
import type { InputRecord, LoadRecord } from './load-store.ts';
import type { LoadTotals } from './load-totals.ts';

type Passed = { readonly number: number; readonly watermark: number; readonly hash: string };

const commitEveryMs = 1_000;

/** Reads what is new in a query's result: rows beyond its watermark, and those that appeared in the overlap behind it. */
export async function runQuery(
  deps: LoadRunDeps,
  load: LoadRecord,
  input: definitions.BatchInput,
  registered: { readonly version: string; readonly spec: definitions.Source },
  totals: LoadTotals,
  signal: AbortSignal,
): Promise<void> {
  const { source } = load.request;
  const { format } = input;
  if (format === undefined)
    throw new MeshError('INVALID_ARGUMENT', `batch input "${input.name}" has no id columns`, {});
  const uri = load.request.location;
  totals.found([{ bytes: 0 }]);
  totals.current = uri;
  const query = await deps.queries.open(input, signal);
  const mapping = compileMapping(source, registered.spec, format, query.columns);
  const known = await deps.store.input(source, uri);
  // another query's watermark says nothing about this one
  const formatKey = contentVersion({ query: input.query, watermark: input.watermarkColumn, id: format.idColumns });
  // where rows may be corrected, one with another content was not read
  const keyOf = isCorrectable(registered.spec)
    ? (fields: QueryRow['fields']) => `${rowId(fields, format.idColumns)}\n${toJson(fields)}`
    : (fields: QueryRow['fields']) => rowId(fields, format.idColumns);
  const saved = known?.formatKey === formatKey ? known.watermark : undefined;
  const tail = new WatermarkTail(Number(input.overlapUs), saved);
  const passed: Passed[] = [];
  let record = beginning(known, { load, uri, formatKey, nowUs: deps.clock.nowUs() });

  const commit = async (isComplete: boolean) => {
    const state = tail.state(isComplete);
    record = { ...record, ...(state === undefined ? {} : { watermark: state, fingerprint: String(state.watermark) }) };
    await deps.store.putInput(source, record);
  };
  const rows = {
    columns: query.columns,
    chunks: () => unread(query.pages(tail.from, signal), tail, keyOf, passed),
  };
  const open = {
    source,
    sourceVersion: registered.version,
    uri,
    reader: rows,
    mapping,
    idBase: input.name,
    afterRow: 0,
    isOrdered: isCorrectable(registered.spec),
  };
  let committedMs = performance.now();
  try {
    for await (const settled of publishInput(deps, open, signal)) {
      passOn(passed, settled.row, tail);
      record = {
        ...record,
        rows: record.rows + settled.rows,
        accepted: record.accepted + settled.accepted,
        duplicates: record.duplicates + settled.duplicates,
        rejected: record.rejected + settled.rejected,
        readUs: deps.clock.nowUs(),
      };
      totals.update(record, 0, settled.rows, settled.rejections);
      if (performance.now() - committedMs < commitEveryMs) continue;
      await commit(false);
      committedMs = performance.now();
    }
    signal.throwIfAborted();
    passOn(passed, Number.POSITIVE_INFINITY, tail);
    record = { ...record, done: true };
    totals.finish(record);
  } finally {
    await commit(record.done);
  }
  totals.current = '';
}

/** Rows that were not read before, numbered; those that were are noted in their place. */
async function* unread(
  pages: AsyncIterable<readonly QueryRow[]>,
  tail: WatermarkTail,
  keyOf: (fields: QueryRow['fields']) => string,
  passed: Passed[],
): AsyncGenerator<RowChunk> {
  let number = 0;
  for await (const page of pages) {
    const rows: InputRow[] = [];
    for (const { watermark, fields } of page) {
      const hash = rowHash(keyOf(fields));
      const isKnown = tail.knows(hash);
      if (!isKnown) rows.push({ t: 'row', number: ++number, fields });
      passed.push({ number, watermark, hash });
    }
    if (rows.length > 0) yield { rows, bytesRead: 0 };
  }
}

/** Everything up to a row is durable. */
function passOn(passed: Passed[], row: number, tail: WatermarkTail): void {
  let at = 0;
  for (; at < passed.length && (passed[at] as Passed).number <= row; at++) {
    const { watermark, hash } = passed[at] as Passed;
    tail.add(watermark, hash);
  }
  passed.splice(0, at);
}

function beginning(
  known: InputRecord | undefined,
  { load, uri, formatKey, nowUs }: { load: LoadRecord; uri: string; formatKey: string; nowUs: number },
): InputRecord {
  const mine = known !== undefined && known.loadId === load.id && known.formatKey === formatKey;
  return {
    uri,
    fingerprint: '',
    sha256: '',
    idBase: '',
    formatKey,
    bytes: 0,
    lastRow: 0,
    rows: mine ? known.rows : 0,
    accepted: mine ? known.accepted : 0,
    duplicates: mine ? known.duplicates : 0,
    rejected: mine ? known.rejected : 0,
    done: false,
    readUs: nowUs,
    loadId: load.id,
    changes: known?.changes ?? 0,
    ...(known?.formatKey === formatKey && known.watermark !== undefined ? { watermark: known.watermark } : {}),
  };
}
