import { parse } from '@marcbachmann/cel-js';
import type { Column, SourceField } from './types.ts';

/**
 * Filters: a subset of CEL (comparisons, && || !, + - * / %, in, startsWith, endsWith, contains, null), parsed by a library, checked against
 * the source's fields, and compiled to a closure over a batch's columns and to ClickHouse SQL. Nulls follow SQL: a comparison with null is
 * unknown, unknown is not a match, and only == null and != null see nulls. Division and modulo by zero are unknown; integer division truncates.
 */
export interface CompiledFilter {
  /** 1 where the event counts. */
  bind(columns: ReadonlyMap<string, Column>): (row: number) => boolean;
  /** An expression of type Bool, never null; `column` names a field's column. */
  sql(column: (field: string) => string): string;
}

type Kind = 'bool' | 'int' | 'double' | 'string' | 'null';
type Value = number | bigint | string | boolean | null;
type Evaluate = (row: number) => Value;

interface Node {
  readonly kind: Kind;
  /** Of literals only. */
  readonly constant?: Value;
  readonly bind: (columns: ReadonlyMap<string, Column>) => Evaluate;
  readonly sql: (column: (field: string) => string) => string;
}

interface Ast {
  readonly op: string;
  readonly args: unknown;
}

const kinds: Readonly<Record<SourceField['type'], Kind>> = {
  BOOL: 'bool',
  INT64: 'int',
  DOUBLE: 'double',
  STRING: 'string',
  TIMESTAMP: 'int',
};

/** Throws an Error whose message says what is wrong with the expression. */
export function compileFilter(text: string, fields: readonly SourceField[]): CompiledFilter {
  let ast: Ast;
  try {
    ast = parse(text).ast as unknown as Ast;
  } catch (cause) {
    throw new Error(`filter "${text}" cannot be parsed: ${(cause as Error).message.split('\n')[0]}`, { cause });
  }
  const byName = new Map(fields.map((field) => [field.name, field]));
  const root = compile(ast, byName);
  if (root.kind !== 'bool') throw new Error(`filter "${text}" is a ${root.kind}, not a condition`);
  return {
    bind(columns) {
      const evaluate = root.bind(columns);
      return (row) => evaluate(row) === true;
    },
    sql: (column) => `ifNull(${root.sql(column)}, false)`,
  };
}

function compile(ast: Ast, fields: ReadonlyMap<string, SourceField>): Node {
  const sub = (part: unknown) => compile(part as Ast, fields);
  const pair = () => (ast.args as [unknown, unknown]).map(sub) as [Node, Node];
  switch (ast.op) {
    case 'id':
      return field(String(ast.args), fields);
    case 'value':
      return literal(ast.args as Value);
    case '!_':
      return negation(sub(ast.args));
    case '-_':
      return minus(ast.args as Ast, sub);
    case '&&':
    case '||':
      return logic(ast.op, ...pair());
    case '==':
    case '!=':
    case '<':
    case '<=':
    case '>':
    case '>=':
      return comparison(ast.op, ...pair());
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
      return arithmetic(ast.op, ...pair());
    case 'in':
      return membership(ast.args as [unknown, Ast], sub);
    case 'rcall': {
      const [name, target, args] = ast.args as [string, unknown, unknown[]];
      return textCall(name, sub(target), args.map(sub));
    }
    default:
      throw new Error(
        `"${ast.op}" is not supported in filters; use comparisons, && || !, + - * / %, in, startsWith, endsWith, contains`,
      );
  }
}

function field(name: string, fields: ReadonlyMap<string, SourceField>): Node {
  const known = fields.get(name);
  if (!known) throw new Error(`there is no field "${name}"; fields: ${[...fields.keys()].join(', ')}`);
  return {
    kind: kinds[known.type],
    bind(columns) {
      const column = columns.get(name);
      if (!column) return () => null;
      const { nulls } = column;
      const read = reader(column);
      return nulls ? (row) => (nulls[row] === 1 ? null : read(row)) : read;
    },
    // times compare as microseconds
    sql: (column) => (known.type === 'TIMESTAMP' ? `toUnixTimestamp64Micro(${column(name)})` : column(name)),
  };
}

function reader(column: Column): Evaluate {
  switch (column.type) {
    case 'f64':
      return (row) => column.values[row] ?? null;
    case 'i64':
      return (row) => column.values[row] ?? null;
    case 'bool':
      return (row) => column.values[row] === 1;
    case 'str':
      return (row) => column.values[row] ?? null;
    default:
      return column satisfies never;
  }
}

function minus(inner: Ast, sub: (part: unknown) => Node): Node {
  const { op, args } = inner;
  if (op === 'value' && (typeof args === 'bigint' || typeof args === 'number')) return literal(-args);
  return arithmetic('-', literal(0n), sub(inner));
}

const [int64Min, int64Max] = [-(2n ** 63n), 2n ** 63n - 1n];

function literal(value: Value): Node {
  if (value !== null && typeof value === 'object')
    throw new Error('bytes and unsigned numbers are not supported in filters');
  if (typeof value === 'bigint' && (value < int64Min || value > int64Max))
    throw new Error(`${value} does not fit in 64 bits`);
  const kind: Kind =
    value === null
      ? 'null'
      : typeof value === 'bigint'
        ? 'int'
        : typeof value === 'number'
          ? 'double'
          : typeof value === 'boolean'
            ? 'bool'
            : 'string';
  return { kind, constant: value, bind: () => () => value, sql: () => sqlLiteral(value) };
}

function sqlLiteral(value: Value): string {
  if (value === null) return 'NULL';
  if (typeof value === 'string') return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  // as text: a plain literal beyond 2^63 would be taken for an unsigned or floating one
  if (typeof value === 'bigint') return `toInt64('${value}')`;
  if (typeof value === 'number') return `toFloat64(${value})`;
  return String(value);
}

function negation(inner: Node): Node {
  want(inner, 'bool', '!');
  return {
    kind: 'bool',
    bind(columns) {
      const evaluate = inner.bind(columns);
      return (row) => {
        const value = evaluate(row);
        return value === null ? null : !value;
      };
    },
    sql: (column) => `(NOT ${inner.sql(column)})`,
  };
}

/** Three-valued, as in SQL: false && unknown is false, true || unknown is true. */
function logic(op: '&&' | '||', left: Node, right: Node): Node {
  want(left, 'bool', op);
  want(right, 'bool', op);
  const decisive = op === '||';
  return {
    kind: 'bool',
    bind(columns) {
      const a = left.bind(columns);
      const b = right.bind(columns);
      return (row) => {
        const first = a(row);
        if (first === decisive) return decisive;
        const second = b(row);
        if (second === decisive) return decisive;
        return first === null || second === null ? null : !decisive;
      };
    },
    sql: (column) => `(${left.sql(column)} ${op === '&&' ? 'AND' : 'OR'} ${right.sql(column)})`,
  };
}

const numeric: ReadonlySet<Kind> = new Set(['int', 'double']);

function comparison(op: '==' | '!=' | '<' | '<=' | '>' | '>=', left: Node, right: Node): Node {
  if (left.kind === 'null' || right.kind === 'null') return nullCheck(op, left.kind === 'null' ? right : left);
  const comparable = left.kind === right.kind || (numeric.has(left.kind) && numeric.has(right.kind));
  if (!comparable) throw new Error(`a ${left.kind} and a ${right.kind} cannot be compared with "${op}"`);
  if (left.kind === 'bool' && op !== '==' && op !== '!=') throw new Error(`booleans cannot be compared with "${op}"`);
  const compare = comparers[op];
  return {
    kind: 'bool',
    bind(columns) {
      const a = left.bind(columns);
      const b = right.bind(columns);
      return (row) => {
        const x = a(row);
        if (x === null) return null;
        const y = b(row);
        return y === null ? null : compare(x, y);
      };
    },
    sql: (column) => `(${left.sql(column)} ${op === '==' ? '=' : op} ${right.sql(column)})`,
  };
}

type Compare = (x: NonNullable<Value>, y: NonNullable<Value>) => boolean;
const comparers: Readonly<Record<'==' | '!=' | '<' | '<=' | '>' | '>=', Compare>> = {
  // biome-ignore lint/suspicious/noDoubleEquals: a bigint and a number of the same value are equal
  '==': (x, y) => x == y,
  // biome-ignore lint/suspicious/noDoubleEquals: a bigint and a number of the same value are equal
  '!=': (x, y) => x != y,
  '<': (x, y) => (typeof x === 'string' && typeof y === 'string' ? byBytes(x, y) < 0 : x < y),
  '<=': (x, y) => (typeof x === 'string' && typeof y === 'string' ? byBytes(x, y) <= 0 : x <= y),
  '>': (x, y) => (typeof x === 'string' && typeof y === 'string' ? byBytes(x, y) > 0 : x > y),
  '>=': (x, y) => (typeof x === 'string' && typeof y === 'string' ? byBytes(x, y) >= 0 : x >= y),
};

/** ClickHouse compares texts by their UTF-8 bytes; JavaScript by UTF-16 units, which differs beyond the basic plane. */
export function byBytes(x: string, y: string): number {
  const length = Math.min(x.length, y.length);
  for (let i = 0; i < length; i++) {
    const a = x.charCodeAt(i);
    const b = y.charCodeAt(i);
    if (a === b) continue;
    const surrogates = Number(a >= 0xd800 && a <= 0xdfff) - Number(b >= 0xd800 && b <= 0xdfff);
    return surrogates === 0 ? a - b : surrogates;
  }
  return x.length - y.length;
}

function nullCheck(op: string, inner: Node): Node {
  if (op !== '==' && op !== '!=') throw new Error(`null can only be compared with == and !=, not "${op}"`);
  const wanted = op === '==';
  return {
    kind: 'bool',
    bind(columns) {
      const evaluate = inner.bind(columns);
      return (row) => (evaluate(row) === null) === wanted;
    },
    sql: (column) => `isN${wanted ? '' : 'otN'}ull(${inner.sql(column)})`,
  };
}

function arithmetic(op: '+' | '-' | '*' | '/' | '%', left: Node, right: Node): Node {
  if (!numeric.has(left.kind) || !numeric.has(right.kind))
    throw new Error(`"${op}" needs two numbers, not a ${left.kind} and a ${right.kind}`);
  const kind: Kind = left.kind === 'int' && right.kind === 'int' ? 'int' : 'double';
  if (op === '%' && kind === 'double') throw new Error('"%" needs two integers');
  const compute = kind === 'int' ? integerOperation(op) : doubleOperation(op);
  return {
    kind,
    bind(columns) {
      const a = left.bind(columns);
      const b = right.bind(columns);
      return (row) => {
        const x = a(row);
        const y = b(row);
        return x === null || y === null ? null : compute(x as never, y as never);
      };
    },
    sql: (column) => arithmeticSql(op, kind, left.sql(column), right.sql(column)),
  };
}

function arithmeticSql(op: string, kind: Kind, x: string, y: string): string {
  if (kind === 'double')
    return op === '/' ? `if(${y} = 0, NULL, toFloat64(${x}) / ${y})` : `(toFloat64(${x}) ${op} ${y})`;
  // ClickHouse throws on the smallest integer by -1, where two's complement wraps
  const divisor = `if(${y} IN (0, -1), toInt64(1), ${y})`;
  if (op === '/') return `multiIf(${y} = 0, NULL, ${y} = -1, negate(${x}), intDiv(${x}, ${divisor}))`;
  if (op === '%') return `multiIf(${y} = 0, NULL, ${y} = -1, ${x} - ${x}, ${x} % ${divisor})`;
  return `(${x} ${op} ${y})`;
}

/** 64-bit, wrapping, as ClickHouse's Int64. */
function integerOperation(op: string): (x: bigint, y: bigint) => Value {
  const wrap = (value: bigint) => BigInt.asIntN(64, value);
  switch (op) {
    case '+':
      return (x, y) => wrap(BigInt(x) + BigInt(y));
    case '-':
      return (x, y) => wrap(BigInt(x) - BigInt(y));
    case '*':
      return (x, y) => wrap(BigInt(x) * BigInt(y));
    case '/':
      return (x, y) => (y === 0n ? null : wrap(BigInt(x) / BigInt(y)));
    default:
      return (x, y) => (y === 0n ? null : BigInt(x) % BigInt(y));
  }
}

function doubleOperation(op: string): (x: number, y: number) => Value {
  switch (op) {
    case '+':
      return (x, y) => Number(x) + Number(y);
    case '-':
      return (x, y) => Number(x) - Number(y);
    case '*':
      return (x, y) => Number(x) * Number(y);
    default:
      return (x, y) => (Number(y) === 0 ? null : Number(x) / Number(y));
  }
}

const mixedItemsMax = 50;

function membership([needleAst, list]: [unknown, Ast], sub: (part: unknown) => Node): Node {
  if (list.op !== 'list') throw new Error('"in" needs a list, as in ["a", "b"]');
  const needle = sub(needleAst);
  const items = (list.args as unknown[]).map(sub);
  if (items.length === 0) throw new Error('"in" needs a list with something in it');
  if (items.every(({ kind, constant }) => kind === needle.kind && constant !== undefined && constant !== null)) {
    const members = new Set(items.map(({ constant }) => constant as Value));
    return {
      kind: 'bool',
      bind(columns) {
        const evaluate = needle.bind(columns);
        return (row) => {
          const value = evaluate(row);
          return value === null ? null : members.has(value);
        };
      },
      sql: (column) => `(${needle.sql(column)} IN (${items.map((item) => item.sql(column)).join(', ')}))`,
    };
  }
  if (items.length > mixedItemsMax)
    throw new Error(`a list of ${items.length} items of several kinds is over the limit of ${mixedItemsMax}`);
  return items.map((item) => comparison('==', needle, item)).reduce((all, one) => logic('||', all, one));
}

const textSql: Readonly<Record<string, (text: string, part: string) => string>> = {
  startsWith: (text, part) => `startsWith(${text}, ${part})`,
  endsWith: (text, part) => `endsWith(${text}, ${part})`,
  contains: (text, part) => `(position(${text}, ${part}) > 0)`,
};

function textCall(name: string, target: Node, args: readonly Node[]): Node {
  const [part] = args;
  const toSql = textSql[name];
  if (!toSql || !part || args.length !== 1)
    throw new Error(`"${name}" is not supported in filters; use startsWith, endsWith or contains`);
  want(target, 'string', name);
  want(part, 'string', name);
  const test =
    { startsWith: (x: string, y: string) => x.startsWith(y), endsWith: (x: string, y: string) => x.endsWith(y) }[
      name
    ] ?? ((x: string, y: string) => x.includes(y));
  return {
    kind: 'bool',
    bind(columns) {
      const a = target.bind(columns);
      const b = part.bind(columns);
      return (row) => {
        const x = a(row);
        const y = b(row);
        return x === null || y === null ? null : test(x as string, y as string);
      };
    },
    sql: (column) => toSql(target.sql(column), part.sql(column)),
  };
}

function want(node: Node, kind: Kind, op: string): void {
  if (node.kind !== kind) throw new Error(`"${op}" needs a ${kind}, not a ${node.kind}`);
}
