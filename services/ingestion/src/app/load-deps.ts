import type { definitions } from '@millrace/contracts';
import type { InputObject, LocalInput, RowFormat, RowReader } from '@millrace/inputs';
import type { Definitions } from './definitions.ts';
import type { InputParts } from './load-input.ts';
import type { LoadRecord, LoadStore } from './load-store.ts';

/** A row of a query, with what orders it. */
export type QueryRow = { readonly watermark: number; readonly fields: Readonly<Record<string, unknown>> };

export type OpenQuery = {
  readonly columns: readonly string[];
  /** Pages of the rows whose watermark is at least `from`, by watermark, then id. */
  pages(from: number | undefined, signal: AbortSignal): AsyncIterable<readonly QueryRow[]>;
};

/** Growing tables of ClickHouse. INVALID_ARGUMENT when the query, its watermark or its ids are not what they should be. */
export type Queries = { open(input: definitions.BatchInput, signal: AbortSignal): Promise<OpenQuery> };

/** What loads read from. */
export type Inputs = {
  /** Everything that the request names now, in the order in which it is read. */
  locate(request: LoadRecord['request'], signal: AbortSignal): Promise<InputObject[]>;
  /** The bytes of an input on this machine. */
  fetch(object: InputObject, load: LoadRecord, signal: AbortSignal): Promise<LocalInput>;
  open(local: LocalInput, format: RowFormat, name: string): Promise<RowReader>;
  discard(local: LocalInput): Promise<void>;
};

export type LoadRunDeps = InputParts & {
  readonly inputs: Inputs;
  readonly queries: Queries;
  readonly store: LoadStore;
  readonly definitions: Definitions;
};
