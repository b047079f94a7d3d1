import type { FieldType, Scalar } from '../types.ts';
import type { OracleEvent } from './oracle-value.ts';

/** Random expressions and rows, the same for the same seed, to hold the closures of expressions against their SQL. */
export const expressionFields: readonly ExpressionField[] = [
  { name: 'd', type: 'DOUBLE', nullable: true },
  { name: 'e', type: 'DOUBLE', nullable: false },
  { name: 'i', type: 'INT64', nullable: true },
  { name: 'j', type: 'INT64', nullable: false },
  { name: 'b', type: 'BOOL', nullable: true },
  { name: 's', type: 'STRING', nullable: true },
  { name: 'r', type: 'STRING', nullable: false },
  { name: 'at', type: 'TIMESTAMP', nullable: true },
];

export interface ExpressionField {
  readonly name: string;
  readonly type: FieldType;
  readonly nullable: boolean;
}

export type Random = () => number;

/** Numbers from 0 to 1 (mulberry32). */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const edges: Readonly<Record<FieldType, readonly Exclude<Scalar, null>[]>> = {
  DOUBLE: [0, 1, -1, 0.5, 2.5, -2.5, 3, 1e-300, 1e300, -1e300, 2 ** 53, 2 ** 63, -(2 ** 63), 0.1, 1 / 3, 5e-324, 1e18],
  INT64: [0n, 1n, -1n, 2n, 3n, 7n, -8n, 100n, 2n ** 31n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n), 1_000_000n],
  BOOL: [true, false],
  STRING: [
    '',
    'a',
    'ab',
    'Ab',
    ' a ',
    'é',
    '\u{1F600}x',
    '\uffee',
    "it's",
    'back\\slash',
    '12',
    '-7',
    '1.5e3',
    'true',
    '007',
    '\t x\n',
    '9223372036854775808',
    'aXbXc',
  ],
  TIMESTAMP: [
    0n,
    1n,
    -1n,
    983_448_000_123_456n,
    951_782_399_999_999n,
    -2_208_988_800_000_001n,
    10_413_792_000_000_000n,
    1_709_164_800_000_000n,
  ],
};

/** A row of values at and between the edges of their types. */
export function randomRow(random: Random): OracleEvent['fields'] {
  const value = ({ type, nullable }: ExpressionField): Scalar => {
    if (nullable && random() < 0.2) return null;
    if (random() < 0.6) return pick(random, edges[type]);
    switch (type) {
      case 'DOUBLE':
        return Math.round((random() - 0.5) * 2e4) / 16;
      case 'INT64':
        return BigInt(Math.floor((random() - 0.5) * 2_000));
      case 'TIMESTAMP':
        return BigInt(Math.floor(random() * 2 ** 51));
      case 'BOOL':
        return random() < 0.5;
      case 'STRING':
        return pick(random, edges.STRING).toString() + pick(random, edges.STRING).toString();
      default:
        return type satisfies never;
    }
  };
  return Object.fromEntries(expressionFields.map((field) => [field.name, value(field)]));
}

export interface RandomExpression {
  readonly text: string;
  /** False where a function is in it that engines compute to a few units of the last place. */
  readonly exact: boolean;
}

export function randomExpression(random: Random): RandomExpression {
  const type = pick(random, ['BOOL', 'INT64', 'DOUBLE', 'DOUBLE', 'STRING', 'TIMESTAMP'] as const);
  const text = expressionOf(random, type, 1 + Math.floor(random() * 4));
  if (type !== 'DOUBLE' || random() < 0.6) return { text, exact: true };
  const inexact = pick(random, [
    (x: string) => `exp(${x})`,
    (x: string) => `ln(${x})`,
    (x: string) => `math.log10(${x})`,
    (x: string) => `sin(${x} / 4096.0)`,
    (x: string) => `cos(${x} / 4096.0) * d`,
    (x: string) => `pow(${x}, ${expressionOf(random, 'DOUBLE', 1)})`,
  ])(text);
  return { text: random() < 0.3 ? `coalesce(${inexact}, e)` : inexact, exact: false };
}

type Grow = (of: (type: FieldType) => string, random: Random) => string;

const number = (random: Random): FieldType => (random() < 0.5 ? 'INT64' : 'DOUBLE');
const same =
  (op: string, types: readonly FieldType[]): Grow =>
  (of, random) => {
    const type = pick(random, types);
    return `(${of(type)} ${op} ${of(type)})`;
  };
const call =
  (name: string, ...types: readonly FieldType[]): Grow =>
  (of) =>
    `${name}(${types.map(of).join(', ')})`;
const method =
  (name: string, ...types: readonly FieldType[]): Grow =>
  (of) => {
    const [target = '', ...rest] = types.map(of);
    return `(${target}).${name}(${rest.join(', ')})`;
  };
const either = (type: FieldType): readonly Grow[] => [
  (of) => `(${of('BOOL')} ? ${of(type)} : ${of(type)})`,
  (of) => `coalesce(${of(type)}, ${of(type)})`,
  (of) => `(${of('BOOL')} ? null : ${of(type)})`,
];
const ordered: readonly FieldType[] = ['INT64', 'DOUBLE', 'STRING', 'TIMESTAMP'];
const operators = ['+', '-', '*', '/'];

const grows: Readonly<Record<FieldType, readonly Grow[]>> = {
  BOOL: [
    (of) => `(${of('BOOL')} && ${of('BOOL')})`,
    (of) => `(${of('BOOL')} || ${of('BOOL')} || ${of('BOOL')})`,
    (of) => `!${of('BOOL')}`,
    ...['==', '!='].map((op) => same(op, [...ordered, 'BOOL'])),
    ...['<', '<=', '>', '>='].map((op) => same(op, ordered)),
    (of) => `(${of('INT64')} < ${of('DOUBLE')})`,
    (of) => `(${of('DOUBLE')} == ${of('INT64')})`,
    (of, random) => `(${of(pick(random, [...ordered, 'BOOL']))} ${random() < 0.5 ? '==' : '!='} null)`,
    (of) => `(${of('STRING')} in ["a", "ab", "it's", "\u00e9"])`,
    (of) => `(${of('INT64')} in [1, -1, ${of('INT64')}, 2.5, null])`,
    method('startsWith', 'STRING', 'STRING'),
    method('endsWith', 'STRING', 'STRING'),
    method('contains', 'STRING', 'STRING'),
    (of, random) => `(${of('STRING')}).matches(${JSON.stringify(pick(random, patterns))})`,
    call('bool', 'STRING'),
    call('bool', 'INT64'),
    ...either('BOOL'),
  ],
  INT64: [
    ...[...operators, '%'].map((op) => same(op, ['INT64'])),
    (of) => `-${of('INT64')}`,
    call('abs', 'INT64'),
    call('math.greatest', 'INT64', 'INT64', 'INT64'),
    call('min', 'INT64', 'INT64'),
    method('size', 'STRING'),
    ...(['DOUBLE', 'STRING', 'BOOL', 'TIMESTAMP'] as const).map((type) => call('int', type)),
    same('-', ['TIMESTAMP']),
    ...[
      'getFullYear',
      'getMonth',
      'getDate',
      'getDayOfMonth',
      'getDayOfWeek',
      'getDayOfYear',
      'getHours',
      'getMinutes',
      'getSeconds',
      'getMilliseconds',
    ].map((name) => method(name, 'TIMESTAMP')),
    ...either('INT64'),
  ],
  DOUBLE: [
    ...operators.map((op) => same(op, ['DOUBLE'])),
    ...operators.map(
      (op): Grow =>
        (of, random) =>
          `(${of(number(random))} ${op} ${of('DOUBLE')})`,
    ),
    (of) => `-${of('DOUBLE')}`,
    ...['abs', 'floor', 'ceil', 'round', 'sqrt'].map((name) => call(name, 'DOUBLE')),
    call('max', 'DOUBLE', 'DOUBLE'),
    call('math.least', 'DOUBLE', 'INT64'),
    call('double', 'INT64'),
    call('double', 'STRING'),
    (of) => `(${of('BOOL')} ? ${of('INT64')} : ${of('DOUBLE')})`,
    ...either('DOUBLE'),
  ],
  STRING: [
    same('+', ['STRING']),
    ...['lowerAscii', 'upperAscii', 'trim'].map((name) => method(name, 'STRING')),
    method('substring', 'STRING', 'INT64'),
    method('substring', 'STRING', 'INT64', 'INT64'),
    (of, random) => `(${of('STRING')}).substring(${Math.floor(random() * 3)}, ${Math.floor(random() * 5)})`,
    method('replace', 'STRING', 'STRING', 'STRING'),
    call('string', 'INT64'),
    call('string', 'BOOL'),
    ...either('STRING'),
  ],
  TIMESTAMP: [
    (of) => `(${of('TIMESTAMP')} + ${of('INT64')})`,
    (of) => `(${of('TIMESTAMP')} - duration("1h30m"))`,
    call('timestamp', 'INT64'),
    call('max', 'TIMESTAMP', 'TIMESTAMP'),
    ...either('TIMESTAMP'),
  ],
};

const patterns = [
  'a',
  '^a',
  '^[a-z]+$',
  '\\d+',
  'b$',
  '^$',
  '.',
  '^..$',
  'x|X',
  '(?i)AB',
  '[^a]',
  '\\s',
  '\\bx',
  '(a|b)*c?$',
  'a{2}',
  "it's",
  '^\\W',
  '\u{1F600}.',
  '\\\\',
];

const literals: Readonly<Record<FieldType, readonly string[]>> = {
  BOOL: ['true', 'false'],
  INT64: ['0', '1', '-1', '2', '7', '1000000', '9223372036854775807', '-9223372036854775808'],
  DOUBLE: ['0.0', '1.0', '-1.5', '0.1', '2.0', '1e300', '1e-9', '1e18'],
  STRING: ['""', '"a"', '"\u00e9"', '"it\'s"', '"\u{1F600}"', '"12"', '" x "', '"b\\\\s"'],
  TIMESTAMP: ['timestamp("2001-03-01T12:00:00.25Z")', 'timestamp("1969-12-31T23:59:59Z")'],
};

function expressionOf(random: Random, type: FieldType, depth: number): string {
  if (depth <= 0 || random() < 0.1) {
    const names = expressionFields.filter((field) => field.type === type).map(({ name }) => name);
    return random() < 0.75 ? pick(random, names) : pick(random, literals[type]);
  }
  return pick(random, grows[type])((part) => expressionOf(random, part, depth - 1), random);
}

function pick<T>(random: Random, from: readonly T[]): T {
  const found = from[Math.floor(random() * from.length)];
  if (found === undefined) throw new Error('nothing to pick from');
  return found;
}
