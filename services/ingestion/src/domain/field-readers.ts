import { definitions } from '@millrace/contracts';
import type { Scalar } from '@millrace/features';
import { hash32, quote } from '@millrace/kernel';
import { BoolBuilder, F64Builder, I64Builder, type Rows, StrBuilder } from './columns.ts';
import type { FieldReaderFactory } from './field-reader.ts';
import { type Problem, problem, typeName } from './problem.ts';
import { formatUs, parseTimeUs, timestampEndUs, timestampMinUs } from './timestamps.ts';
import { vectorReader } from './vector-reader.ts';

/** Decides once, by the field's type and rules, how its values are read. */
export function compileField(field: definitions.SourceField): FieldReaderFactory {
  switch (field.type) {
    case definitions.FieldType.BOOL:
      return boolReader(field);
    case definitions.FieldType.INT64:
      return int64Reader(field);
    case definitions.FieldType.DOUBLE:
      return doubleReader(field);
    case definitions.FieldType.STRING:
      return stringReader(field);
    case definitions.FieldType.TIMESTAMP:
      return timestampReader(field);
    case definitions.FieldType.VECTOR:
      return vectorReader(field);
    default:
      throw new TypeError(`field "${field.name}" has no type`);
  }
}

function shared(builder: F64Builder | I64Builder | BoolBuilder | StrBuilder) {
  return {
    live: () => builder.live(),
    isNull: (row: number) => builder.nulls?.[row] === 1,
    put: (value: Scalar, row: number) => {
      if (builder.nulls !== null) builder.nulls[row] = 0;
      builder.put(value, row);
    },
    number: (row: number) => Number(builder.values[row]),
    scalar: (row: number): Scalar => (builder.nulls?.[row] === 1 ? null : (builder.values[row] ?? null)),
    setNull: (row: number) => builder.setNull(row),
    clear: (row: number) => {
      if (builder.nulls !== null) builder.nulls[row] = 0;
    },
    column: (rows: Rows) => builder.gather(rows),
    keyText: (row: number) => (builder.nulls?.[row] === 1 ? '' : String(builder.values[row])),
  };
}

function boolReader({ name }: definitions.SourceField): FieldReaderFactory {
  const seed = hash32(name);
  return (capacity) => {
    const builder = new BoolBuilder(capacity);
    return {
      ...shared(builder),
      size: () => 1,
      read(value, row, hash) {
        if (typeof value !== 'boolean') return wrongType(name, value, 'BOOL', 'true or false');
        builder.values[row] = value ? 1 : 0;
        hash.number(seed, value ? 1 : 0);
        return null;
      },
    };
  };
}

const int64Min = -(2n ** 63n);
const int64Max = 2n ** 63n - 1n;

function int64Reader(field: definitions.SourceField): FieldReaderFactory {
  const { name } = field;
  const seed = hash32(name);
  const inRange = rangeOf(field);
  return (capacity) => {
    const builder = new I64Builder(capacity);
    return {
      ...shared(builder),
      size: () => 8,
      read(value, row, hash) {
        if (typeof value === 'number' && Number.isSafeInteger(value)) {
          if (!inRange(value)) return outOfRange(field, value);
          builder.setSafe(row, value);
          hash.number(seed, value + 0);
          return null;
        }
        const exact = exactInt64(name, value);
        if (typeof exact !== 'bigint') return exact;
        if (!inRange(exact)) return outOfRange(field, exact);
        builder.values[row] = exact;
        const asNumber = Number(exact);
        if (Number.isSafeInteger(asNumber)) hash.number(seed, asNumber);
        else hash.text(seed, exact.toString());
        return null;
      },
    };
  };
}

/** Decimal text → the integer; everything else that is no safe integer → what is wrong. */
function exactInt64(name: string, value: unknown): bigint | Problem {
  if (typeof value === 'string' && /^-?\d{1,19}$/.test(value)) {
    const exact = BigInt(value);
    if (exact >= int64Min && exact <= int64Max) return exact;
    return problem(
      'OUT_OF_RANGE',
      name,
      `field "${name}" ${quote(value)} does not fit INT64; send ${int64Min} to ${int64Max}`,
    );
  }
  if (typeof value === 'number' && Number.isInteger(value)) {
    return problem(
      'WRONG_TYPE',
      name,
      `field "${name}" ${quote(value)} is beyond 2^53, where JSON numbers lose digits; send it as decimal text`,
    );
  }
  return notFinite(name, value) ?? wrongType(name, value, 'INT64', 'a whole number, or decimal text beyond 2^53');
}

function doubleReader(field: definitions.SourceField): FieldReaderFactory {
  const { name } = field;
  const seed = hash32(name);
  const inRange = rangeOf(field);
  return (capacity) => {
    const builder = new F64Builder(capacity);
    return {
      ...shared(builder),
      size: () => 8,
      read(value, row, hash) {
        if (typeof value !== 'number' || !Number.isFinite(value)) {
          return notFinite(name, value) ?? wrongType(name, value, 'DOUBLE', 'a finite number');
        }
        if (!inRange(value)) return outOfRange(field, value);
        builder.values[row] = value;
        hash.number(seed, value);
        return null;
      },
    };
  };
}

function stringReader({ name, enumValues }: definitions.SourceField): FieldReaderFactory {
  const seed = hash32(name);
  const allowed = enumValues.length > 0 ? new Set(enumValues) : undefined;
  return (capacity) => {
    const builder = new StrBuilder(capacity);
    return {
      ...shared(builder),
      size: (row) => 4 + (builder.values[row]?.length ?? 0) * 3,
      read(value, row, hash) {
        if (typeof value !== 'string') return wrongType(name, value, 'STRING', 'text');
        if (allowed !== undefined && !allowed.has(value)) {
          const some = enumValues.slice(0, 8).map(quote).join(', ');
          const more = enumValues.length > 8 ? `, … (${enumValues.length} in all)` : '';
          return problem('NOT_IN_ENUM', name, `field "${name}" ${quote(value)} is not one of ${some}${more}`);
        }
        builder.values[row] = value;
        hash.text(seed, value);
        return null;
      },
    };
  };
}

function timestampReader(field: definitions.SourceField): FieldReaderFactory {
  const { name } = field;
  const seed = hash32(name);
  const inRange = rangeOf(field);
  return (capacity) => {
    const builder = new I64Builder(capacity);
    return {
      ...shared(builder),
      size: () => 8,
      read(value, row, hash) {
        const timeUs = parseTimeUs(value);
        if (Number.isNaN(timeUs)) {
          return (
            notFinite(name, value) ??
            wrongType(name, value, 'TIMESTAMP', 'UTC microseconds or RFC 3339 text such as "2001-02-03T04:05:06Z"')
          );
        }
        if (timeUs < timestampMinUs || timeUs >= timestampEndUs) {
          const bounds = `${formatUs(timestampMinUs)} to ${formatUs(timestampEndUs)}`;
          return problem(
            'OUT_OF_RANGE',
            name,
            `field "${name}" ${quote(value)} is ${formatUs(timeUs)}; timestamps are UTC microseconds from ${bounds}`,
          );
        }
        if (!inRange(timeUs)) return outOfRange(field, timeUs);
        builder.setSafe(row, timeUs);
        hash.number(seed, timeUs);
        return null;
      },
    };
  };
}

function rangeOf({ min, max }: definitions.SourceField): (value: number | bigint) => boolean {
  if (min === undefined && max === undefined) return () => true;
  const lowest = min ?? Number.NEGATIVE_INFINITY;
  const highest = max ?? Number.POSITIVE_INFINITY;
  return (value) => value >= lowest && value <= highest;
}

function outOfRange({ name, min, max }: definitions.SourceField, value: unknown): Problem {
  const wanted = min === undefined ? `at most ${max}` : max === undefined ? `at least ${min}` : `${min} to ${max}`;
  return problem('OUT_OF_RANGE', name, `field "${name}" ${quote(value)} is out of range; send ${wanted}`);
}

/** Infinity comes from a JSON number like 1e999; NaN and friends as text are a common mistake. */
function notFinite(name: string, value: unknown): Problem | null {
  const isNumber = typeof value === 'number' && !Number.isFinite(value);
  const isText = typeof value === 'string' && /^[-+]?(nan|inf|infinity)$/i.test(value);
  if (!isNumber && !isText) return null;
  const shown = isNumber ? String(value) : quote(value);
  return problem(
    'NOT_FINITE',
    name,
    `field "${name}" ${shown} is not finite; send a finite number, or null if the field is nullable`,
  );
}

function wrongType(name: string, value: unknown, type: string, wanted: string): Problem {
  return problem(
    'WRONG_TYPE',
    name,
    `field "${name}" ${quote(value)} is ${typeName(value)}, not ${type}; send ${wanted}`,
  );
}
