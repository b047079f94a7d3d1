import type { Functions } from './function-spec.ts';
import { unified } from './logic.ts';
import { aType, finite, isInteger, isNumber, type Node, strict, wrap } from './node.ts';
import { asDouble } from './numbers.ts';
import { finiteSql, letSql } from './sql-pieces.ts';

/** sqrt, abs, floor, ceil and round are exact; the others agree with SQL's to a few units of the last place. What is not finite is null. */
export const mathFunctions: Functions = {
  abs: {
    signature: 'abs(number)',
    arguments: [1, 1],
    build([x]) {
      if (x.type === 'DOUBLE') return strict('DOUBLE', [x], Math.abs, ([value]) => `abs(${value})`);
      if (!isInteger(x)) throw new Error(`abs needs a number, not ${aType(x.type)}`);
      return strict(
        'INT64',
        [x],
        (value: bigint) => wrap(value < 0n ? -value : value),
        ([value]) => `toInt64(abs(${value}))`,
      );
    },
  },
  floor: whole('floor', Math.floor, 'floor'),
  ceil: whole('ceil', Math.ceil, 'ceil'),
  // a half goes to the even neighbour, as in ClickHouse
  round: whole('round', roundHalfEven, 'round'),
  sqrt: real('sqrt', Math.sqrt, 'sqrt'),
  exp: real('exp', Math.exp, 'exp'),
  ln: real('ln', Math.log, 'log'),
  log10: real('log10', Math.log10, 'log10'),
  sin: real('sin', Math.sin, 'sin'),
  cos: real('cos', Math.cos, 'cos'),
  pow: {
    signature: 'pow(base, exponent)',
    arguments: [2, 2],
    build: (parts) =>
      strict('DOUBLE', parts.map(asDouble), power, ([x = '', y = ''], scope) =>
        finiteSql(
          letSql(
            scope,
            [x, y],
            (a, b) =>
              `multiIf(${b} * log(${tinyAsZero(a)}) < ${exponentMin}, toFloat64(0), ${b} * log(${tinyAsZero(a)}) > ${exponentMax}, NULL, pow(if(abs(${a}) < ${smallestNormal}, toFloat64(0), ${a}), ${b}))`,
          ),
        ),
      ),
  },
  min: extreme('min', '<'),
  max: extreme('max', '>'),
  least: extreme('least', '<'),
  greatest: extreme('greatest', '>'),
};

/** ClickHouse's pow is wrong near the ends of a DOUBLE's range: powers below e^−690 are 0, beyond e^709 null, and denormal bases 0. */
const [exponentMin, exponentMax] = [-690, 709];
const smallestNormal = 2 ** -1022;

function tinyAsZero(x: string): string {
  return `if(abs(${x}) < ${smallestNormal}, toFloat64(0), abs(${x}))`;
}

function power(given: number, y: number): number | null {
  const x = Math.abs(given) < smallestNormal ? 0 : given;
  const exponent = y * Math.log(Math.abs(x));
  if (exponent < exponentMin) return 0;
  return exponent > exponentMax ? null : finite(x ** y);
}

function real(name: string, compute: (value: number) => number, sql: string): Functions[string] {
  return {
    signature: `${name}(number)`,
    arguments: [1, 1],
    build: ([x]) =>
      strict(
        'DOUBLE',
        [asDouble(x)],
        (value: number) => finite(compute(value)),
        ([value]) => finiteSql(`${sql}(${value})`),
      ),
  };
}

function whole(name: string, compute: (value: number) => number, sql: string): Functions[string] {
  return {
    signature: `${name}(number)`,
    arguments: [1, 1],
    build([x]) {
      if (x.type === 'INT64') return x;
      return strict('DOUBLE', [asDouble(x)], compute, ([value]) => `${sql}(${value})`);
    },
  };
}

export function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest < 0.5) return below;
  return rest > 0.5 || below % 2 !== 0 ? below + 1 : below;
}

/** Null where one is null; coalesce says otherwise. */
function extreme(name: string, op: '<' | '>'): Functions[string] {
  return {
    signature: `${name}(a, b, …)`,
    arguments: [2, 8],
    build(given) {
      const { type, parts } = unified(given, `the values of ${name}`);
      if (!parts.every(isNumber)) throw new Error(`${name} needs numbers or times, not ${aType(type)}`);
      return parts.reduce((a, b) => pairwise(a, b, op));
    },
  };
}

function pairwise(a: Node, b: Node, op: '<' | '>'): Node {
  if (a.type === 'NULL' || b.type === 'NULL') throw new Error('null is no number; use coalesce');
  const compute = op === '<' ? (x: number, y: number) => (y < x ? y : x) : (x: number, y: number) => (y > x ? y : x);
  return strict(a.type, [a, b], compute, ([x = '', y = ''], scope) =>
    letSql(
      scope,
      [x, y],
      (left, right) =>
        `multiIf(isNull(${left}), NULL, isNull(${right}), NULL, ${right} ${op} ${left}, ${right}, ${left})`,
    ),
  );
}
