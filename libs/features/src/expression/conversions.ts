import type { Functions } from './function-spec.ts';
import { aType, finite, type Node, strict, wrap } from './node.ts';
import { asDouble } from './numbers.ts';
import { letSql } from './sql-pieces.ts';

const secondUs = 1_000_000n;
const [int64Min, int64Max] = [-(2n ** 63n), 2n ** 63n - 1n];

/** A text that is no such value, and a number that the type cannot hold, is null. */
export const conversions: Functions = {
  int: { signature: 'int(DOUBLE, STRING, BOOL or TIMESTAMP)', arguments: [1, 1], build: ([x]) => toInt(x) },
  double: { signature: 'double(INT64 or STRING)', arguments: [1, 1], build: ([x]) => toDouble(x) },
  string: { signature: 'string(INT64 or BOOL)', arguments: [1, 1], build: ([x]) => toText(x) },
  bool: { signature: 'bool(STRING or INT64)', arguments: [1, 1], build: ([x]) => toBool(x) },
};

function toInt(x: Node): Node {
  switch (x.type) {
    case 'INT64':
      return x;
    case 'DOUBLE':
      return strict('INT64', [x], truncated, ([value]) => `accurateCastOrNull(trunc(${value}), 'Int64')`);
    case 'BOOL':
      return strict(
        'INT64',
        [x],
        (value: boolean) => (value ? 1n : 0n),
        ([value]) => `toInt64(${value})`,
      );
    case 'STRING':
      return strict('INT64', [x], parseInteger, ([value = ''], scope) =>
        letSql(
          scope,
          [value],
          (text) => `if(match(${text}, '^-?[0-9]{1,19}$'), accurateCastOrNull(toInt128OrNull(${text}), 'Int64'), NULL)`,
        ),
      );
    case 'TIMESTAMP':
      // whole seconds since 1970, as CEL has it
      return strict(
        'INT64',
        [x],
        (value: bigint) => (value - (((value % secondUs) + secondUs) % secondUs)) / secondUs,
        ([value = ''], scope) =>
          letSql(scope, [value], (us) => `(intDiv(${us}, 1000000) - toInt64(${us} % 1000000 < 0))`),
      );
    default:
      throw new Error(`int cannot convert ${aType(x.type)}`);
  }
}

function truncated(value: number): bigint | null {
  const whole = Math.trunc(value);
  return whole >= -(2 ** 63) && whole < 2 ** 63 ? BigInt(whole) : null;
}

function parseInteger(text: string): bigint | null {
  if (!/^-?[0-9]{1,19}$/.test(text)) return null;
  const value = BigInt(text);
  return value >= int64Min && value <= int64Max ? value : null;
}

function toDouble(x: Node): Node {
  switch (x.type) {
    case 'DOUBLE':
      return x;
    case 'INT64':
      return asDouble(x);
    case 'STRING':
      // JSON's numbers of at most 40 characters: both sides read those to the nearest DOUBLE
      return strict(
        'DOUBLE',
        [x],
        (text: string) => (jsonNumber.test(text) ? finite(Number(text)) : null),
        ([value = ''], scope) =>
          letSql(
            scope,
            [value],
            (text) =>
              `if(match(${text}, '${jsonNumberSql}'), JSONExtract(multiIf(position(${text}, 'e') > 0, ${text}, concat(${text}, 'e0')), 'Nullable(Float64)'), NULL)`,
          ),
      );
    default:
      throw new Error(
        `double cannot convert ${aType(x.type)}${x.type === 'TIMESTAMP' ? '; write double(int(…))' : ''}`,
      );
  }
}

const jsonNumber = /^-?(?:0|[1-9][0-9]{0,19})(?:\.[0-9]{1,20})?(?:e[+-]?[0-9]{1,4})?$/;
const jsonNumberSql = jsonNumber.source.replaceAll('\\', '\\\\');

function toText(x: Node): Node {
  switch (x.type) {
    case 'STRING':
      return x;
    case 'INT64':
      return strict(
        'STRING',
        [x],
        (value: bigint) => value.toString(),
        ([value]) => `toString(${value})`,
      );
    case 'BOOL':
      return strict(
        'STRING',
        [x],
        (value: boolean) => String(value),
        ([value]) => `toString(CAST(${value} AS Nullable(Bool)))`,
      );
    default:
      throw new Error(
        `string cannot convert ${aType(x.type)}${x.type === 'DOUBLE' ? '; make it whole first: string(int(…))' : ''}`,
      );
  }
}

function toBool(x: Node): Node {
  switch (x.type) {
    case 'BOOL':
      return x;
    case 'INT64':
      return strict(
        'BOOL',
        [x],
        (value: bigint) => value !== 0n,
        ([value]) => `(${value} != 0)`,
      );
    case 'STRING':
      return strict(
        'BOOL',
        [x],
        (value: string) => (value === 'true' ? true : value === 'false' ? false : null),
        ([value = ''], scope) =>
          letSql(scope, [value], (text) => `multiIf(${text} = 'true', true, ${text} = 'false', false, NULL)`),
      );
    default:
      throw new Error(`bool cannot convert ${aType(x.type)}; compare it with != 0.0`);
  }
}

/** Seconds since 1970. */
export function secondsToTime(x: Node): Node {
  return strict(
    'TIMESTAMP',
    [x],
    (value: bigint) => wrap(value * secondUs),
    ([value]) => `(${value} * toInt64('1000000'))`,
  );
}
