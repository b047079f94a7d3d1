import { RE2JS } from 're2js';
import type { Functions } from './function-spec.ts';
import { strict, want } from './node.ts';
import { letSql, literalSql } from './sql-pieces.ts';

/** Positions and lengths count code points, not bytes and not UTF-16 units. */
export const textFunctions: Functions = {
  startsWith: test(
    'startsWith',
    (text, part) => text.startsWith(part),
    (text, part) => `startsWith(${text}, ${part})`,
  ),
  endsWith: test(
    'endsWith',
    (text, part) => text.endsWith(part),
    (text, part) => `endsWith(${text}, ${part})`,
  ),
  contains: test(
    'contains',
    (text, part) => text.includes(part),
    (text, part) => `(position(${text}, ${part}) > 0)`,
  ),
  matches: {
    signature: 'matches(text, "^A[0-9]+$")',
    arguments: [2, 2],
    build([text, pattern]) {
      want(text, 'STRING', 'matches');
      if (typeof pattern.constant !== 'string')
        throw new Error('matches takes a pattern that is written out, as "^A[0-9]+$"');
      const compiled = compilePattern(pattern.constant);
      return strict(
        'BOOL',
        [text],
        (x: string) => compiled.matcher(x).find(),
        ([x]) => `match(${x}, ${literalSql(pattern.constant as string)})`,
      );
    },
  },
  size: {
    signature: 'size(text)',
    arguments: [1, 1],
    build([text]) {
      want(text, 'STRING', 'size');
      return strict(
        'INT64',
        [text],
        (x: string) => BigInt(codePoints(x)),
        ([x]) => `toInt64(lengthUTF8(${x}))`,
      );
    },
  },
  lowerAscii: change(
    'lowerAscii',
    (text) => text.replace(/[A-Z]+/g, (part) => part.toLowerCase()),
    (text) => `lower(${text})`,
  ),
  upperAscii: change(
    'upperAscii',
    (text) => text.replace(/[a-z]+/g, (part) => part.toUpperCase()),
    (text) => `upper(${text})`,
  ),
  // spaces, tabs and line ends: what Unicode calls white beyond them differs between engines
  trim: change(
    'trim',
    (text) => text.replace(/^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g, ''),
    (text) => `replaceRegexpAll(${text}, '^[ \\\\t\\\\n\\\\v\\\\f\\\\r]+|[ \\\\t\\\\n\\\\v\\\\f\\\\r]+$', '')`,
  ),
  substring: {
    signature: 'substring(text, start) or substring(text, start, end), from 0, the end left out',
    arguments: [2, 3],
    build([text, start, end]) {
      want(text, 'STRING', 'substring');
      want(start, 'INT64', 'the start of substring');
      if (!end) {
        return strict(
          'STRING',
          [text, start],
          (x: string, from: bigint) => slice(x, from, undefined),
          ([x = '', from = ''], scope) =>
            letSql(scope, [from], (a) => `if(isNull(${a}), NULL, substringUTF8(${x}, ${place(a)} + 1))`),
        );
      }
      want(end, 'INT64', 'the end of substring');
      return strict(
        'STRING',
        [text, start, end],
        (x: string, from: bigint, to: bigint) => slice(x, from, to),
        ([x = '', from = '', to = ''], scope) =>
          letSql(
            scope,
            [from, to],
            (a, b) =>
              `if(isNull(${a}) OR isNull(${b}), NULL, substringUTF8(substringUTF8(${x}, 1, ${place(b)}), ${place(a)} + 1))`,
          ),
      );
    },
  },
  replace: {
    signature: 'replace(text, part, with)',
    arguments: [3, 3],
    build(parts) {
      for (const part of parts) want(part, 'STRING', 'replace');
      return strict(
        'STRING',
        parts,
        // an empty part is nowhere
        (text: string, part: string, other: string) => (part === '' ? text : text.split(part).join(other)),
        ([text, part, other]) => `replaceAll(${text}, ${part}, ${other})`,
      );
    },
  },
};

/** RE2 on both sides, where `.` is any character; tables of Unicode may be of another age and bytes are none of a text's business. */
function compilePattern(pattern: string): RE2JS {
  if (/\\[pPC]/.test(pattern))
    throw new Error('\\p, \\P and \\C are not supported in patterns; write the characters out, as [a-z]');
  try {
    return RE2JS.compile(pattern, RE2JS.DOTALL);
  } catch (cause) {
    throw new Error(`"${pattern}" is not a pattern of RE2: ${(cause as Error).message}`, { cause });
  }
}

function test(
  name: string,
  compute: (text: string, part: string) => boolean,
  sql: (text: string, part: string) => string,
): Functions[string] {
  return {
    signature: `${name}(text, part)`,
    arguments: [2, 2],
    build(parts) {
      for (const part of parts) want(part, 'STRING', name);
      return strict('BOOL', parts, compute, ([x = '', y = '']) => sql(x, y));
    },
  };
}

function change(name: string, compute: (text: string) => string, sql: (text: string) => string): Functions[string] {
  return {
    signature: `${name}(text)`,
    arguments: [1, 1],
    build([text]) {
      want(text, 'STRING', name);
      return strict('STRING', [text], compute, ([x = '']) => sql(x));
    },
  };
}

function codePoints(text: string): number {
  let count = text.length;
  for (let i = 0; i < text.length; i++) if ((text.charCodeAt(i) & 0xfc00) === 0xdc00) count--;
  return count;
}

const farthest = 2n ** 31n;

/** Places before the text are its start, and those behind it its end. */
function slice(text: string, from: bigint, to: bigint | undefined): string {
  const [start, end] = [clamp(from), to === undefined ? undefined : clamp(to)];
  // no text has surrogates without length: most are sliced as they are
  const units = codePoints(text) === text.length;
  if (units) return end === undefined ? text.slice(start) : text.slice(0, end).slice(start);
  const points = [...text];
  return (end === undefined ? points.slice(start) : points.slice(0, end).slice(start)).join('');
}

function clamp(place: bigint): number {
  return Number(place < 0n ? 0n : place > farthest ? farthest : place);
}

/** Never null: ClickHouse looks at what lies under a null, and refuses it when it is no place. */
function place(at: string): string {
  return `ifNull(multiIf(${at} < 0, toInt64(0), ${at} > ${farthest}, toInt64(${farthest}), ${at}), 0)`;
}
