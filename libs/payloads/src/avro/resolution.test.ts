import avro from 'avsc';
import { expect, test } from 'vitest';
import { misfits } from './resolution.ts';
import { parseAvro } from './schema.ts';

type Json = unknown;
const rec = (...fields: Json[]) => ({ type: 'record', name: 'Event', fields });
const f = (type: Json, more: object = {}) => rec({ name: 'x', type, ...more });
const id = { name: 'id', type: 'string' };
const fixed = (size: number, name = 'Hash') => ({ type: 'fixed', name, size });
const kind = (symbols: string[], more: object = {}) => ({ type: 'enum', name: 'Kind', symbols, ...more });
const inner = (fields: Json[], more: object = {}) => ({ type: 'record', name: 'Inner', fields, ...more });
const a = { name: 'a', type: 'int' };
const b = { name: 'b', type: 'int' };
const list = (items: Json) => ({ type: 'array', items });
const map = (values: Json) => ({ type: 'map', values });
const node = (type: string) => ({
  type: 'record',
  name: 'Node',
  fields: [
    { name: 'v', type },
    { name: 'next', type: ['null', 'Node'], default: null },
  ],
});

/** What changes, before and after, and whether the new schema reads the old one (backward) and the old one the new (forward). */
const table: readonly [what: string, before: object, after: object, backward: boolean, forward: boolean][] = [
  ['nothing', f('int'), f('int'), true, true],
  ['int -> long', f('int'), f('long'), true, false],
  ['int -> float', f('int'), f('float'), true, false],
  ['int -> double', f('int'), f('double'), true, false],
  ['long -> float', f('long'), f('float'), true, false],
  ['long -> double', f('long'), f('double'), true, false],
  ['float -> double', f('float'), f('double'), true, false],
  ['string -> bytes', f('string'), f('bytes'), true, true],
  ['int -> string', f('int'), f('string'), false, false],
  ['string -> int', f('string'), f('int'), false, false],
  ['boolean -> int', f('boolean'), f('int'), false, false],
  ['boolean -> string', f('boolean'), f('string'), false, false],
  ['double -> string', f('double'), f('string'), false, false],
  ['float -> long', f('float'), f('long'), false, true],
  ['double -> int', f('double'), f('int'), false, true],
  ['null -> int', f('null'), f('int'), false, false],
  ['bytes -> int', f('bytes'), f('int'), false, false],
  ['int -> [null, int]', f('int'), f(['null', 'int']), true, false],
  ['int -> [int, null]', f('int'), f(['int', 'null']), true, false],
  ['int -> [null, long]', f('int'), f(['null', 'long']), true, false],
  ['int -> [null, string]', f('int'), f(['null', 'string']), false, false],
  ['string -> [null, bytes]', f('string'), f(['null', 'bytes']), true, false],
  ['[null, int] -> [null, long]', f(['null', 'int']), f(['null', 'long']), true, false],
  ['[null, int] -> [int, null]', f(['null', 'int']), f(['int', 'null']), true, true],
  ['[null, int] -> [null, int, string]', f(['null', 'int']), f(['null', 'int', 'string']), true, false],
  ['[int, string] -> int', f(['int', 'string']), f('int'), false, true],
  ['[int, long] -> long', f(['int', 'long']), f('long'), true, true],
  ['[int, float] -> double', f(['int', 'float']), f('double'), true, false],
  ['[null, int] -> [null, double]', f(['null', 'int']), f(['null', 'double']), true, false],
  ['[null] -> null', f(['null']), f('null'), true, true],
  ['field added with default', rec(id), rec(id, { ...a, default: 1 }), true, true],
  ['field added without default', rec(id), rec(id, a), false, true],
  ['optional field added', rec(id), rec(id, { name: 'a', type: ['null', 'int'], default: null }), true, true],
  ['nullable field added without default', rec(id), rec(id, { name: 'a', type: ['null', 'int'] }), false, true],
  ['field with default removed', rec(id, { ...a, default: 1 }), rec(id), true, true],
  ['field without default removed', rec(id, a), rec(id), true, false],
  ['fields in another order', rec(a, b), rec(b, a), true, true],
  ['default changed', rec({ ...a, default: 1 }), rec({ ...a, default: 2 }), true, true],
  ['default dropped', rec({ ...a, default: 1 }), rec(a), true, true],
  ['default added', rec(a), rec({ ...a, default: 1 }), true, true],
  ['field renamed', rec(a), rec(b), false, false],
  ['field renamed, alias', rec(a), rec({ ...b, aliases: ['a'] }), true, false],
  ['field renamed, default', rec(a), rec({ ...b, default: 0 }), true, false],
  ['field renamed, alias and widened', rec(a), rec({ name: 'b', type: 'long', aliases: ['a'] }), true, false],
  ['aliases name two fields', rec(a, b), rec({ name: 'c', type: 'int', aliases: ['a', 'b'] }), false, false],
  ['one alias read twice', rec(a), rec(a, { ...b, aliases: ['a'] }), true, true],
  ['enum symbol added', f(kind(['A'])), f(kind(['A', 'B'])), true, false],
  ['enum symbol removed', f(kind(['A', 'B'])), f(kind(['A'])), false, true],
  ['enum symbol removed, default', f(kind(['A', 'B'])), f(kind(['A'], { default: 'A' })), true, true],
  ['enum symbol added, default before', f(kind(['A'], { default: 'A' })), f(kind(['A', 'B'])), true, true],
  ['enum symbols in another order', f(kind(['A', 'B'])), f(kind(['B', 'A'])), true, true],
  ['enum renamed', f(kind(['A'])), f({ ...kind(['A']), name: 'Sort' }), false, false],
  ['enum renamed, alias', f(kind(['A'])), f({ ...kind(['A']), name: 'Sort', aliases: ['Kind'] }), true, false],
  ['enum -> string', f(kind(['A'])), f('string'), false, false],
  ['string -> enum', f('string'), f(kind(['A'])), false, false],
  ['enum in another namespace', f(kind(['A'])), f({ ...kind(['A']), namespace: 'shop' }), true, true],
  ['fixed of another size', f(fixed(4)), f(fixed(8)), false, false],
  ['fixed of the same size', f(fixed(4)), f(fixed(4)), true, true],
  ['fixed renamed', f(fixed(4)), f(fixed(4, 'Digest')), false, false],
  ['fixed -> bytes', f(fixed(4)), f('bytes'), false, false],
  ['array widened', f(list('int')), f(list('long')), true, false],
  ['array of other things', f(list('int')), f(list('string')), false, false],
  ['array -> map', f(list('int')), f(map('int')), false, false],
  ['map widened', f(map('int')), f(map('double')), true, false],
  ['map of other things', f(map('int')), f(map('boolean')), false, false],
  ['int -> array', f('int'), f(list('int')), false, false],
  ['nested field added with default', f(inner([a])), f(inner([a, { ...b, default: 0 }])), true, true],
  ['nested field added without default', f(inner([a])), f(inner([a, b])), false, true],
  ['nested field removed', f(inner([a, b])), f(inner([a])), true, false],
  ['nested widened', f(inner([a])), f(inner([{ name: 'a', type: 'long' }])), true, false],
  ['nested renamed', f(inner([a])), f({ ...inner([a]), name: 'Other' }), false, false],
  ['nested renamed, alias', f(inner([a])), f({ ...inner([a]), name: 'Other', aliases: ['Inner'] }), true, false],
  ['nested becomes optional', f(inner([a])), f(['null', inner([a])]), true, false],
  ['nested optional, field added', f(['null', inner([a])]), f(['null', inner([a, { ...b, default: 1 }])]), true, true],
  ['nested optional, field required', f(['null', inner([a])]), f(['null', inner([a, b])]), false, true],
  ['record added with its default', rec(id), rec(id, { name: 'x', type: inner([a]), default: { a: 1 } }), true, true],
  ['record renamed', rec(a), { ...rec(a), name: 'Other' }, false, false],
  ['record renamed, alias', rec(a), { ...rec(a), name: 'Other', aliases: ['Event'] }, true, false],
  ['record in another namespace', rec(a), { ...rec(a), namespace: 'shop.v2' }, true, true],
  ['a recursive record', f(node('int')), f(node('int')), true, true],
  ['a recursive record widened', f(node('int')), f(node('long')), true, false],
  ['a logical type of the same long', f('long'), f({ type: 'long', logicalType: 'timestamp-micros' }), true, true],
  ['int -> array of int in a union', f(['null', 'int']), f(['null', list('int')]), false, false],
  ['documentation', rec(a), { ...rec({ ...a, doc: 'how many' }), doc: 'an event' }, true, true],
];

/** Namespaces do not count: the specification compares unqualified names since 1.11, avsc by an option. */
function avscReads(reader: object, writer: object): boolean {
  const typeOf = (schema: object) => avro.Type.forSchema(schema as avro.Schema, { wrapUnions: true });
  try {
    typeOf(reader).createResolver(typeOf(writer), { ignoreNamespaces: true });
    return true;
  } catch {
    return false;
  }
}

test('the table is large and says yes and no in both directions', () => {
  expect(table.length).toBeGreaterThanOrEqual(60);
  for (const at of [3, 4] as const)
    for (const verdict of [true, false]) expect(table.filter((row) => row[at] === verdict).length).toBeGreaterThan(20);
});

test.each(table)('%s: what the rules say, and what avsc says', (_what, before, after, backward, forward) => {
  const [was, now] = [before, after].map((schema) => parseAvro(JSON.stringify(schema)));
  if (was === undefined || now === undefined) throw new Error('two schemas');
  expect(misfits(now, was).length === 0).toBe(backward);
  expect(misfits(was, now).length === 0).toBe(forward);
  expect(avscReads(after, before)).toBe(backward);
  expect(avscReads(before, after)).toBe(forward);
});

test('every schema of the table against every other one: the verdict is avsc’s', () => {
  const schemas = [
    ...new Map(table.flatMap(([, ...pair]) => pair.slice(0, 2)).map((each) => [JSON.stringify(each), each])).values(),
  ] as object[];
  const types = schemas.map((schema) => parseAvro(JSON.stringify(schema)));
  let yes = 0;
  const apart: string[] = [];
  for (const [r, reader] of schemas.entries())
    for (const [w, writer] of schemas.entries()) {
      const ours = misfits(types[r] as (typeof types)[0], types[w] as (typeof types)[0]).length === 0;
      if (ours) yes++;
      if (ours !== avscReads(reader, writer))
        apart.push(`${JSON.stringify(reader)} reads ${JSON.stringify(writer)}: ${ours}`);
    }
  expect(apart).toEqual([]);
  expect(yes).toBeGreaterThan(300);
});

test('a misfit names the field and what is wrong with it', () => {
  const of = (schema: object) => parseAvro(JSON.stringify(schema));
  expect(misfits(of(f(['null', inner([a, b])])), of(f(['null', inner([a])])))).toEqual([
    { path: 'x.b', why: 'it is not in the writer and has no default' },
  ]);
  expect(misfits(of(f('int')), of(f('string')))).toEqual([{ path: 'x', why: 'string cannot be read as int' }]);
});
