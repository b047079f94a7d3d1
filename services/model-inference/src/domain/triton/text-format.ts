import { type TreeField, type TreeMessage, type TreeValue, wrongConfig } from './config-tree.ts';

interface Token {
  readonly t: 'word' | 'text' | 'punctuation' | 'end';
  readonly text: string;
  readonly at: number;
}

/** Messages within messages, at most: deeper ones are an attack on the stack. */
const depthMax = 32;

/**
 * Protobuf's text format (protobuf.dev/reference/protobuf/textformat-spec) but for extensions and `Any`: comments, `:` or none before `{` and
 * `<`, lists, texts side by side, escapes, and `,` or `;` between fields. INVALID_ARGUMENT with line and column.
 */
export function parseTextFormat(source: string): TreeMessage {
  const reader = createReader(source);
  const fields = messageFields(reader, undefined, 0);
  return { t: 'message', fields, isJson: false };
}

interface Reader {
  peek(): Token;
  next(): Token;
  where(token: Token): string;
}

function messageFields(reader: Reader, close: string | undefined, depth: number): TreeField[] {
  const fields: TreeField[] = [];
  for (;;) {
    const token = reader.next();
    if (token.t === 'end' ? close === undefined : token.t === 'punctuation' && token.text === close) return fields;
    if (token.t === 'end') throw wrongConfig(reader.where(token), `the file ends where "${close}" is missing`);
    if (token.t !== 'word' || !/^[A-Za-z_]\w*$/.test(token.text))
      throw wrongConfig(reader.where(token), `"${token.text}" stands where the name of a field is expected`);
    for (const value of fieldValues(reader, depth))
      fields.push({ name: token.text, value, where: reader.where(token) });
    if (isPunctuation(reader.peek(), ',;')) reader.next();
  }
}

function fieldValues(reader: Reader, depth: number): readonly TreeValue[] {
  const first = reader.peek();
  const hasColon = isPunctuation(first, ':');
  if (hasColon) reader.next();
  const start = reader.peek();
  if (isPunctuation(start, '[')) return listValues(reader, hasColon, depth);
  if (!hasColon && !isPunctuation(start, '{<'))
    throw wrongConfig(reader.where(start), `":" is missing before "${start.text}"`);
  return [oneValue(reader, depth)];
}

function listValues(reader: Reader, hasColon: boolean, depth: number): readonly TreeValue[] {
  const open = reader.next();
  const values: TreeValue[] = [];
  if (isPunctuation(reader.peek(), ']')) {
    reader.next();
    return values;
  }
  for (;;) {
    const value = oneValue(reader, depth);
    if (!hasColon && value.t !== 'message') throw wrongConfig(reader.where(open), '":" is missing before "["');
    values.push(value);
    const after = reader.next();
    if (isPunctuation(after, ']')) return values;
    if (!isPunctuation(after, ','))
      throw wrongConfig(reader.where(after), `"${after.text}" in a list; write "," or "]"`);
  }
}

function oneValue(reader: Reader, depth: number): TreeValue {
  const token = reader.next();
  if (token.t === 'text') {
    let { text } = token;
    while (reader.peek().t === 'text') text += reader.next().text;
    return { t: 'text', text };
  }
  if (isPunctuation(token, '{<')) {
    if (depth >= depthMax) throw wrongConfig(reader.where(token), `messages are nested deeper than ${depthMax}`);
    const close = token.text === '{' ? '}' : '>';
    return { t: 'message', fields: messageFields(reader, close, depth + 1), isJson: false };
  }
  if (isPunctuation(token, '-')) {
    const number = reader.next();
    if (number.t === 'word') return { t: 'word', text: `-${number.text}` };
  }
  if (token.t === 'word') return { t: 'word', text: token.text };
  throw wrongConfig(
    reader.where(token),
    token.t === 'end' ? 'the file ends where a value is missing' : `"${token.text}" is not a value`,
  );
}

function isPunctuation(token: Token, any: string): boolean {
  return token.t === 'punctuation' && any.includes(token.text);
}

function createReader(source: string): Reader {
  let at = 0;
  let ahead: Token | undefined;
  const lineStarts = [0, ...[...source.matchAll(/\n/g)].map(({ index }) => index + 1)];
  const where = (from: number) => {
    let [low, high] = [0, lineStarts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((lineStarts[middle] ?? 0) <= from) low = middle;
      else high = middle - 1;
    }
    return `line ${low + 1}, column ${from - (lineStarts[low] ?? 0) + 1}`;
  };
  const match = (pattern: RegExp) => {
    pattern.lastIndex = at;
    return pattern.exec(source)?.[0];
  };
  function read(): Token {
    at += match(/(?:\s+|#[^\n]*)*/y)?.length ?? 0;
    const from = at;
    const letter = source[at];
    if (letter === undefined) return { t: 'end', text: 'the end', at: from };
    if (letter === '"' || letter === "'") {
      const end = textEnd(source, at, letter);
      if (end === undefined) throw wrongConfig(where(from), 'a text in quotes does not end on its line');
      at = end + 1;
      return { t: 'text', text: unescaped(source.slice(from + 1, end), where(from)), at: from };
    }
    const word = match(/[\d.]+[eE][+-]\d+\w*|[\w.]+/y);
    at += word?.length ?? 1;
    if (word !== undefined) return { t: 'word', text: word, at: from };
    if (!'{}<>[]:,;-'.includes(letter)) throw wrongConfig(where(from), `"${letter}" has no place here`);
    return { t: 'punctuation', text: letter, at: from };
  }
  return {
    peek() {
      ahead ??= read();
      return ahead;
    },
    next() {
      const token = ahead ?? read();
      ahead = undefined;
      return token;
    },
    where: (token) => where(token.at),
  };
}

function textEnd(source: string, from: number, quote: string): number | undefined {
  for (let at = from + 1; at < source.length; at++) {
    if (source[at] === '\n') return undefined;
    if (source[at] === '\\') at++;
    else if (source[at] === quote) return at;
  }
  return undefined;
}

const plainEscapes: Readonly<Record<string, number>> = {
  ...{ a: 7, b: 8, f: 12, n: 10, r: 13, t: 9, v: 11 },
  ...{ '\\': 92, "'": 39, '"': 34, '?': 63 },
};
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Octal and hexadecimal escapes are bytes, `\u` and `\U` are code points; together they must be UTF-8. */
function unescaped(quoted: string, where: string): string {
  if (!quoted.includes('\\')) return quoted;
  const parts: Buffer[] = [];
  const escapes = /\\(?:([0-7]{1,3})|[xX]([\da-fA-F]{1,2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|(.))|[^\\]+/gs;
  for (const [all, octal, hex, short, long, letter] of quoted.matchAll(escapes)) {
    const point = short ?? long;
    if (octal !== undefined) parts.push(Buffer.of(byteOf(Number.parseInt(octal, 8), all, where)));
    else if (hex !== undefined) parts.push(Buffer.of(Number.parseInt(hex, 16)));
    else if (point !== undefined) parts.push(Buffer.from(letterOf(Number.parseInt(point, 16), all, where)));
    else if (letter !== undefined) parts.push(Buffer.of(byteOf(plainEscapes[letter] ?? 256, all, where)));
    else parts.push(Buffer.from(all));
  }
  try {
    return utf8.decode(Buffer.concat(parts));
  } catch {
    throw wrongConfig(where, 'a text is not UTF-8');
  }
}

function byteOf(value: number, written: string, where: string): number {
  if (value <= 255) return value;
  throw wrongConfig(where, `"${written}" is not an escape`);
}

function letterOf(point: number, written: string, where: string): string {
  if (point <= 0x10ffff && (point < 0xd800 || point > 0xdfff)) return String.fromCodePoint(point);
  throw wrongConfig(where, `"${written}" is not a code point`);
}
