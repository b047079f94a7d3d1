import { literal } from './literals.ts';
import { aType, isNumber, type Node, strict, type Value } from './node.ts';

export type Comparison = '==' | '!=' | '<' | '<=' | '>' | '>=';

/** Unknown (null) where a side is null; only with the word `null` does == ask for nulls. An integer and a DOUBLE compare exactly. */
export function comparison(op: Comparison, left: Node, right: Node): Node {
  if (left.type === 'NULL' || right.type === 'NULL') return nullCheck(op, left.type === 'NULL' ? right : left);
  if (left.type !== right.type && !(isNumber(left) && isNumber(right)))
    throw new Error(
      `${aType(left.type)} and ${aType(right.type)} cannot be compared with "${op}"${remedy(left, right)}`,
    );
  if (left.type === 'BOOL' && op !== '==' && op !== '!=') throw new Error(`booleans cannot be compared with "${op}"`);
  const compare = left.type === 'STRING' ? textComparers[op] : comparers[op];
  return strict('BOOL', [left, right], compare as never, ([x, y]) => `(${x} ${op === '==' ? '=' : op} ${y})`);
}

function remedy(left: Node, right: Node): string {
  if (left.type !== 'STRING' && right.type !== 'STRING') return '';
  return isNumber(left) || isNumber(right) ? '; convert the text with int(…) or double(…)' : '';
}

type Compare = (x: NonNullable<Value>, y: NonNullable<Value>) => boolean;
const comparers: Readonly<Record<Comparison, Compare>> = {
  // biome-ignore lint/suspicious/noDoubleEquals: a bigint and a number of the same value are equal
  '==': (x, y) => x == y,
  // biome-ignore lint/suspicious/noDoubleEquals: a bigint and a number of the same value are equal
  '!=': (x, y) => x != y,
  '<': (x, y) => x < y,
  '<=': (x, y) => x <= y,
  '>': (x, y) => x > y,
  '>=': (x, y) => x >= y,
};
const textComparers: Readonly<Record<Comparison, (x: string, y: string) => boolean>> = {
  '==': (x, y) => x === y,
  '!=': (x, y) => x !== y,
  '<': (x, y) => byBytes(x, y) < 0,
  '<=': (x, y) => byBytes(x, y) <= 0,
  '>': (x, y) => byBytes(x, y) > 0,
  '>=': (x, y) => byBytes(x, y) >= 0,
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

function nullCheck(op: Comparison, inner: Node): Node {
  if (op !== '==' && op !== '!=') throw new Error(`null can only be compared with == and !=, not "${op}"`);
  const wanted = op === '==';
  return {
    type: 'BOOL',
    bind(readers) {
      const evaluate = inner.bind(readers);
      return (row) => (evaluate(row) === null) === wanted;
    },
    sql: (scope) => `isN${wanted ? '' : 'otN'}ull(${inner.sql(scope)})`,
  };
}

const mixedItemsMax = 50;

/** `needle in [items]`: equal to one of them, unknown where that is unknown. */
export function membership(needle: Node, items: readonly Node[], anyOf: (parts: readonly Node[]) => Node): Node {
  if (items.length === 0) throw new Error('"in" needs a list with something in it');
  if (items.every(({ type, constant }) => type === needle.type && constant !== undefined && constant !== null)) {
    const members = new Set(items.map(({ constant }) => constant as Value));
    return {
      type: 'BOOL',
      bind(readers) {
        const evaluate = needle.bind(readers);
        return (row) => {
          const value = evaluate(row);
          return value === null ? null : members.has(value);
        };
      },
      sql: (scope) => `(${needle.sql(scope)} IN (${items.map((item) => item.sql(scope)).join(', ')}))`,
    };
  }
  if (items.length > mixedItemsMax)
    throw new Error(`a list of ${items.length} items of several types is over the limit of ${mixedItemsMax}`);
  return anyOf(items.map((item) => (item.type === 'NULL' ? unknown(needle) : comparison('==', needle, item))));
}

/** Equal to null is unknown in a list, as in SQL. */
function unknown(needle: Node): Node {
  const none = literal(null);
  if (needle.type === 'NULL') throw new Error('null is in no list; write "== null"');
  return { ...none, type: 'BOOL' };
}
