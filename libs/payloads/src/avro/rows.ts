import { setField } from '@millrace/kernel';
import { Unreadable } from '../bad-payload.ts';
import { Cursor } from '../cursor.ts';
import { valuesOf } from './fields.ts';
import { type AvroRecord, type AvroType, parseAvro } from './schema.ts';
import { branchOf } from './skip.ts';
import { type AvroRead, avroValueReader } from './value.ts';

type Row = Record<string, unknown>;
type Step = (cursor: Cursor, out: Row) => void;

/** The records of a container file as rows: nested ones are flattened, their columns have the names joined by dots. */
export type AvroRows = {
  readonly columns: readonly string[];
  /** The rows of an unpacked block, one by one. Throws an Error that says which row is not of the schema. */
  decode(block: Uint8Array, rows: number): Iterable<Readonly<Row>>;
};

/** Rows of no bytes, of which a block could say any number. */
const emptyRowsMax = 1_000_000;

/** `toTime` makes what a time becomes of UTC microseconds. Throws SchemaError. */
export function avroRows(schemaJson: string, toTime: (us: number) => unknown): AvroRows {
  const record = parseAvro(schemaJson);
  const columns: string[] = [];
  const steps = recordSteps(record, '', [record], columns, toTime);
  return {
    columns,
    *decode(block, rows) {
      if (rows > Math.max(block.length, emptyRowsMax))
        throw new Error(`it says that it has ${rows} rows, and has ${block.length} bytes`);
      const cursor = new Cursor(block);
      for (let at = 1; at <= rows; at++) yield decodeRow(cursor, steps, at);
      if (cursor.pos !== cursor.end) throw new Error(`${cursor.end - cursor.pos} bytes are left after its last row`);
    },
  };
}

function decodeRow(cursor: Cursor, steps: readonly Step[], at: number): Row {
  const out: Row = {};
  try {
    for (const step of steps) step(cursor, out);
    return out;
  } catch (cause) {
    if (!(cause instanceof Unreadable)) throw cause;
    throw new Error(`in its row ${at}, ${cause.message}`);
  }
}

function recordSteps(
  record: AvroRecord,
  path: string,
  open: readonly AvroRecord[],
  columns: string[],
  toTime: (us: number) => unknown,
): Step[] {
  return record.fields.map(({ name, type }): Step => {
    const column = path === '' ? name : `${path}.${name}`;
    const values = valuesOf(type);
    const [first] = values;
    // a record inside itself has no end: it stays one value
    if (values.length !== 1 || first?.t !== 'record' || open.includes(first)) {
      columns.push(column);
      return valueStep(column, avroValueReader(type, toTime));
    }
    const before = columns.length;
    const steps = recordSteps(first, column, [...open, first], columns, toTime);
    return nestedStep(type, steps, columns.slice(before), column);
  });
}

function valueStep(column: string, read: AvroRead): Step {
  return (cursor, out) => {
    cursor.field = column;
    setField(out, column, read(cursor));
  };
}

function nestedStep(type: AvroType, steps: readonly Step[], columns: readonly string[], column: string): Step {
  const all: Step = (cursor, out) => {
    for (const step of steps) step(cursor, out);
  };
  if (type.t !== 'union') return all;
  return (cursor, out) => {
    cursor.field = column;
    const branch = type.branches[branchOf(cursor, type.branches.length)];
    if (branch?.t === 'record') all(cursor, out);
    else for (const each of columns) setField(out, each, null);
  };
}
