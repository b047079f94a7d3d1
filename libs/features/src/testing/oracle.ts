import { compileFilter } from '../filter.ts';
import type { Column, FeatureDefinition, Scalar, SourceField, ViewDefinition } from '../types.ts';
import { resolveWindow, windowStart } from '../windows.ts';

/** An event as a plain object, for tests. */
export interface PlainEvent {
  readonly timeUs: number;
  readonly seq: number;
  readonly index: number;
  readonly values: Readonly<Record<string, Scalar>>;
}

/** Brute force: every feature from all events of one entity, by the words of the design and nothing else. */
export function oracle(view: ViewDefinition, events: readonly PlainEvent[], asOfUs: number): Scalar[] {
  return view.features.map((feature) => {
    const start = windowStart(resolveWindow(feature.window), asOfUs);
    const passes = matcher(feature, view.fields);
    const inWindow = events.filter((event) => event.timeUs >= start && event.timeUs < asOfUs && passes(event));
    return aggregate(feature, inWindow);
  });
}

function matcher(feature: FeatureDefinition, fields: readonly SourceField[]): (event: PlainEvent) => boolean {
  if (feature.filter === '') return () => true;
  const filter = compileFilter(feature.filter, fields);
  return (event) => filter.bind(toColumns(fields, [event]))(0);
}

function aggregate(feature: FeatureDefinition, events: readonly PlainEvent[]): Scalar {
  if (feature.function === 'count' && feature.field === '') return events.length;
  const present = events.filter(({ values }) => (values[feature.field] ?? null) !== null);
  const values = present.map((event) => event.values[feature.field] as NonNullable<Scalar>);
  if (feature.function === 'count') return values.length;
  if (values.length === 0) return null;
  const numbers = values.map(Number);
  switch (feature.function) {
    case 'sum':
      if (values.some((value) => typeof value === 'bigint'))
        return safe(
          BigInt.asIntN(
            64,
            values.reduce((sum: bigint, value) => sum + BigInt(value as number), 0n),
          ),
        );
      return numbers.reduce((sum, value) => sum + value, 0);
    case 'mean':
      return numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
    case 'variance':
      return variance(numbers, feature.ddof);
    case 'stddev': {
      const spread = variance(numbers, feature.ddof);
      return spread === null ? null : Math.sqrt(spread);
    }
    case 'min':
      return values.toSorted(byValue)[0] ?? null;
    case 'max':
      return values.toSorted(byValue).at(-1) ?? null;
    case 'first':
      return inOrder(present)[0]?.values[feature.field] ?? null;
    case 'last':
      return inOrder(present).at(-1)?.values[feature.field] ?? null;
    default:
      return feature.function satisfies never;
  }
}

/** Texts by their UTF-8 bytes, as ClickHouse orders them. */
function byValue(a: NonNullable<Scalar>, b: NonNullable<Scalar>): number {
  if (typeof a === 'string' && typeof b === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return a < b ? -1 : Number(a > b);
}

function inOrder(events: readonly PlainEvent[]): PlainEvent[] {
  return events.toSorted((a, b) => a.timeUs - b.timeUs || a.seq - b.seq || a.index - b.index);
}

function variance(numbers: readonly number[], ddof: number): number | null {
  if (numbers.length <= ddof) return null;
  const mean = numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
  return numbers.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (numbers.length - ddof);
}

function safe(value: bigint): number | bigint {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

/** Plain events as a batch's columns. */
export function toColumns(fields: readonly SourceField[], events: readonly PlainEvent[]): Map<string, Column> {
  return new Map(
    fields.map(({ name, type }): [string, Column] => {
      const values = events.map((event) => event.values[name] ?? null);
      const nulls = values.some((value) => value === null)
        ? Uint8Array.from(values, (value) => Number(value === null))
        : null;
      if (type === 'DOUBLE') return [name, { type: 'f64', values: Float64Array.from(values, Number), nulls }];
      if (type === 'BOOL') return [name, { type: 'bool', values: Uint8Array.from(values, Number), nulls }];
      if (type === 'STRING')
        return [name, { type: 'str', values: values.map((value) => (value === null ? '' : String(value))), nulls }];
      return [
        name,
        { type: 'i64', values: BigInt64Array.from(values, (value) => BigInt((value ?? 0) as number)), nulls },
      ];
    }),
  );
}

/** Equal to the last bit but for floats, which may differ by 1e-9 of their own size or of the scale of what they were made from. */
export function agrees(feature: FeatureDefinition, got: Scalar, wanted: Scalar, scale: number): boolean {
  if (got === wanted) return true;
  if (typeof got === 'number' && typeof wanted === 'number') {
    const squared =
      feature.function === 'variance' ? scale * scale : feature.function === 'stddev' ? scale * 1e-3 : scale;
    const tolerance =
      1e-9 * Math.max(Math.abs(got), Math.abs(wanted)) +
      1e-12 * squared +
      (feature.function === 'stddev' ? 1e-7 * scale : 0);
    return Math.abs(got - wanted) <= tolerance;
  }
  return false;
}
