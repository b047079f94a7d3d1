import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { breakingChanges } from './breaking.ts';
import { parseMessage } from './message.ts';

const m = (body: string, more = '') => `message M { ${body} }\n${more}`;
const kind = (values: string) => `enum Kind { KIND_UNSPECIFIED = 0; ${values} }`;
const proto2 = (text: string) => `proto2\n${text}`;

/** What changes, before and after, of message M. */
const table: readonly [what: string, before: string, after: string][] = [
  ['nothing', m('string a = 1;'), m('string a = 1;')],
  ['field added', m('string a = 1;'), m('string a = 1; int64 b = 2;')],
  ['field removed', m('string a = 1; int64 b = 2;'), m('string a = 1;')],
  ['field removed, number reserved', m('string a = 1; int64 b = 2;'), m('string a = 1; reserved 2;')],
  ['field removed, name reserved', m('string a = 1; int64 b = 2;'), m('string a = 1; reserved "b";')],
  ['field removed, both reserved', m('string a = 1; int64 b = 2;'), m('string a = 1; reserved 2; reserved "b";')],
  ['field removed, in a reserved range', m('int64 b = 5;'), m('reserved 2 to 9; reserved "b";')],
  ['number used again', m('string a = 1; int64 b = 2;'), m('string a = 1; double c = 2;')],
  ['field renamed', m('int64 a = 1;'), m('int64 b = 1;')],
  ['field moved to another number', m('int64 a = 1;'), m('int64 a = 2;')],
  ['JSON name given', m('int64 a_b = 1;'), m('int64 a_b = 1 [json_name = "ab"];')],
  ['JSON name given as it was', m('int64 a_b = 1;'), m('int64 a_b = 1 [json_name = "aB"];')],
  ...(
    [
      ['int32', 'int64'],
      ['int32', 'uint32'],
      ['uint32', 'int32'],
      ['int64', 'uint64'],
      ['uint64', 'int64'],
      ['uint32', 'uint64'],
      ['int32', 'sint32'],
      ['sint32', 'sint64'],
      ['int32', 'bool'],
      ['bool', 'int32'],
      ['fixed32', 'sfixed32'],
      ['fixed64', 'sfixed64'],
      ['fixed32', 'fixed64'],
      ['fixed64', 'double'],
      ['float', 'double'],
      ['double', 'float'],
      ['string', 'bytes'],
      ['bytes', 'string'],
      ['string', 'int64'],
      ['int64', 'string'],
    ] as const
  ).map(([was, now]) => [`${was} -> ${now}`, m(`${was} a = 1;`), m(`${now} a = 1;`)] as [string, string, string]),
  ['int32 -> enum', m('int32 a = 1;', kind('')), m('Kind a = 1;', kind(''))],
  ['enum -> int32', m('Kind a = 1;', kind('')), m('int32 a = 1;', kind(''))],
  ['enum -> string', m('Kind a = 1;', kind('')), m('string a = 1;', kind(''))],
  ['message -> bytes', m('N a = 1;', 'message N { int64 x = 1; }'), m('bytes a = 1;', 'message N { int64 x = 1; }')],
  ['singular -> repeated', m('int64 a = 1;'), m('repeated int64 a = 1;')],
  ['repeated -> singular', m('repeated int64 a = 1;'), m('int64 a = 1;')],
  ['repeated string -> singular', m('repeated string a = 1;'), m('string a = 1;')],
  ['implicit -> optional', m('int64 a = 1;'), m('optional int64 a = 1;')],
  ['optional -> implicit', m('optional int64 a = 1;'), m('int64 a = 1;')],
  [
    'map -> repeated of its entries',
    m('map<string, int64> a = 1;', 'message N { string key = 1; int64 value = 2; }'),
    m('repeated N a = 1;', 'message N { string key = 1; int64 value = 2; }'),
  ],
  ['singular -> map', m('int64 a = 1;'), m('map<string, int64> a = 1;')],
  ['value of a map widened', m('map<string, int32> a = 1;'), m('map<string, int64> a = 1;')],
  ['value of a map unsigned', m('map<string, int32> a = 1;'), m('map<string, uint32> a = 1;')],
  ['into a new oneof', m('int64 a = 1;'), m('oneof o { int64 a = 1; string b = 2; }')],
  ['out of a oneof', m('oneof o { int64 a = 1; string b = 2; }'), m('int64 a = 1; oneof o { string b = 2; }')],
  ['oneof renamed', m('oneof o { int64 a = 1; string b = 2; }'), m('oneof p { int64 a = 1; string b = 2; }')],
  ['member added to a oneof', m('oneof o { int64 a = 1; }'), m('oneof o { int64 a = 1; string b = 2; }')],
  ['optional -> oneof', m('optional int64 a = 1;'), m('oneof o { int64 a = 1; }')],
  ['reserved number freed', m('int64 a = 1; reserved 2;'), m('int64 a = 1;')],
  ['reserved name freed', m('int64 a = 1; reserved "b";'), m('int64 a = 1;')],
  ['reserved range widened', m('int64 a = 1; reserved 3 to 5;'), m('int64 a = 1; reserved 2 to 9;')],
  ['reserved range split', m('int64 a = 1; reserved 3 to 6;'), m('int64 a = 1; reserved 3 to 4, 5 to 6;')],
  ['reserved range cut', m('int64 a = 1; reserved 3 to 6;'), m('int64 a = 1; reserved 3 to 5;')],
  ['enum value added', m('Kind a = 1;', kind('KIND_A = 1;')), m('Kind a = 1;', kind('KIND_A = 1; KIND_B = 2;'))],
  ['enum value removed', m('Kind a = 1;', kind('KIND_A = 1;')), m('Kind a = 1;', kind(''))],
  ['enum value removed, number reserved', m('Kind a = 1;', kind('KIND_A = 1;')), m('Kind a = 1;', kind('reserved 1;'))],
  [
    'enum value removed, both reserved',
    m('Kind a = 1;', kind('KIND_A = 1;')),
    m('Kind a = 1;', kind('reserved 1; reserved "KIND_A";')),
  ],
  ['enum value renamed', m('Kind a = 1;', kind('KIND_A = 1;')), m('Kind a = 1;', kind('KIND_B = 1;'))],
  ['enum value renumbered', m('Kind a = 1;', kind('KIND_A = 1;')), m('Kind a = 1;', kind('KIND_A = 2;'))],
  ['enum reserved freed', m('Kind a = 1;', kind('reserved 3;')), m('Kind a = 1;', kind(''))],
  [
    'enum alias added',
    m('Kind a = 1;', kind('KIND_A = 1;')),
    m('Kind a = 1;', kind('option allow_alias = true; KIND_A = 1; KIND_AA = 1;')),
  ],
  [
    'another enum, the same values',
    m('Kind a = 1;', `${kind('KIND_A = 1;')}`),
    m(
      'Sort a = 1;',
      `${kind('KIND_A = 1;').replaceAll('KIND', 'K').replace('Kind', 'Kind')} enum Sort { KIND_UNSPECIFIED = 0; KIND_A = 1; }`,
    ),
  ],
  [
    'another message',
    m('N a = 1;', 'message N { int64 x = 1; } message O { int64 x = 1; }'),
    m('O a = 1;', 'message N { int64 x = 1; } message O { int64 x = 1; }'),
  ],
  [
    'nested field removed',
    m('N a = 1;', 'message N { int64 x = 1; int64 y = 2; }'),
    m('N a = 1;', 'message N { int64 x = 1; }'),
  ],
  [
    'nested field added',
    m('N a = 1;', 'message N { int64 x = 1; }'),
    m('N a = 1;', 'message N { int64 x = 1; int64 y = 2; }'),
  ],
  ['nested type changed', m('N a = 1; message N { int64 x = 1; }'), m('N a = 1; message N { string x = 1; }')],
  [
    'proto2 default changed',
    proto2(m('optional int64 a = 1 [default = 1];')),
    proto2(m('optional int64 a = 1 [default = 2];')),
  ],
  ['proto2 default dropped', proto2(m('optional int64 a = 1 [default = 1];')), proto2(m('optional int64 a = 1;'))],
  [
    'proto2 default of zero given',
    proto2(m('optional int64 a = 1;')),
    proto2(m('optional int64 a = 1 [default = 0];')),
  ],
  ['proto2 required -> optional', proto2(m('required int64 a = 1;')), proto2(m('optional int64 a = 1;'))],
  ['proto2 optional -> required', proto2(m('optional int64 a = 1;')), proto2(m('required int64 a = 1;'))],
  [
    'proto2 required added',
    proto2(m('optional int64 a = 1;')),
    proto2(m('optional int64 a = 1; required int64 b = 2;')),
  ],
  ['proto2 optional -> repeated', proto2(m('optional int64 a = 1;')), proto2(m('repeated int64 a = 1;'))],
  ['timestamp -> int64', m('google.protobuf.Timestamp a = 1;'), m('int64 a = 1;')],
  ['wrapper -> optional', m('google.protobuf.Int64Value a = 1;'), m('optional int64 a = 1;')],
];

let dir = '';
const rules = new Map<string, string[]>();

const buf = join(import.meta.dirname, '..', '..', '..', '..', 'node_modules', '.bin', 'buf');

function fileOf(text: string, at: number): string {
  const [syntax, body] = text.startsWith('proto2\n') ? ['proto2', text.slice(7)] : ['proto3', text];
  const imports = ['timestamp', 'wrappers'].filter((name) =>
    text.includes(name === 'timestamp' ? 'Timestamp' : 'Int64Value'),
  );
  return `syntax = "${syntax}";\npackage c${at};\n${imports.map((name) => `import "google/protobuf/${name}.proto";\n`).join('')}${body}\n`;
}

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'payloads-'));
  for (const side of ['before', 'after'] as const) {
    mkdirSync(join(dir, side));
    writeFileSync(join(dir, side, 'buf.yaml'), 'version: v2\nbreaking:\n  use: [WIRE_JSON]\n');
    for (const [at, row] of table.entries())
      writeFileSync(join(dir, side, `c${at}.proto`), fileOf(row[side === 'before' ? 1 : 2], at));
    execFileSync(buf, ['build', '-o', join(dir, `${side}.binpb`)], { cwd: join(dir, side) });
  }
  const done = spawnSync(buf, ['breaking', '.', '--against', '../before', '--error-format', 'json'], {
    cwd: join(dir, 'after'),
    encoding: 'utf8',
  });
  if (done.status !== 0 && done.status !== 100) throw new Error(done.stderr);
  for (const line of done.stdout.trim().split('\n')) {
    const { path, type } = JSON.parse(line) as { path: string; type: string };
    rules.set(path, [...(rules.get(path) ?? []), type]);
  }
}, 60_000);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('the table is large, and buf finds some of it breaking and some not', () => {
  expect(table.length).toBeGreaterThanOrEqual(60);
  expect(rules.size).toBeGreaterThan(25);
  expect(table.length - rules.size).toBeGreaterThan(15);
});

test('what breaks is what buf says, rule by rule', async () => {
  const { readFileSync } = await import('node:fs');
  const [before, after] = ['before', 'after'].map((side) => readFileSync(join(dir, `${side}.binpb`))) as [
    Buffer,
    Buffer,
  ];
  const apart = table.flatMap(([what], at) => {
    const of = (descriptorSet: Buffer) => parseMessage({ descriptorSet, message: `c${at}.M` });
    const ours = [...new Set(breakingChanges(of(before), of(after)).map(({ rule }) => rule))].sort();
    const theirs = [...new Set(rules.get(`c${at}.proto`) ?? [])].sort();
    return ours.join() === theirs.join() ? [] : [`${what}: ours ${ours.join()}, buf's ${theirs.join()}`];
  });
  expect(apart).toEqual([]);
});
