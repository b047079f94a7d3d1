import { type Token, tokensOf } from './lexer.ts';

/** What the HTTP interface has to know of a statement: where its result goes, or where its data comes from. */
export type Statement =
  /** Its result is written by the engine into `into(path)`; `format` is what it asked for, if it did. */
  | { readonly t: 'select'; readonly format: string | undefined; into(path: string, format: string): string }
  /** Data in `format` starts at character `dataStart`; `from(path)` reads it from a file instead. */
  | { readonly t: 'insert'; readonly format: string; readonly dataStart: number; from(path: string): string }
  /** A small answer (SHOW, DESCRIBE, EXPLAIN …) in `format`. */
  | { readonly t: 'show'; readonly format: string | undefined; readonly sql: string }
  /** Anything else; `changesSession` when it would leave a trace in the session that runs it. */
  | { readonly t: 'command'; readonly sql: string; readonly changesSession: boolean }
  | { readonly t: 'empty' }
  | { readonly t: 'many' };

const showing = new Set(['SHOW', 'DESCRIBE', 'DESC', 'EXISTS', 'EXPLAIN', 'CHECK']);
/** After these, FORMAT is a name and no clause. */
const beforeNames = new Set(['BY', 'SELECT', 'WHERE', 'PREWHERE', 'HAVING', 'ON', 'USING', 'AND', 'OR', 'NOT', 'AS']);

export function parseStatement(sql: string): Statement {
  const words = tokensOf(sql);
  const first = words.next().value as Token | undefined;
  if (first === undefined) return { t: 'empty' };
  if (first.word === 'INSERT') return parseInsert(sql);
  const tokens = [first, ...words];
  const semicolon = tokens.findIndex(({ text, depth }) => text === ';' && depth === 0);
  if (semicolon >= 0 && tokens.slice(semicolon).some(({ text }) => text !== ';')) return { t: 'many' };
  const kept = semicolon < 0 ? tokens : tokens.slice(0, semicolon);
  const last = kept.at(-1);
  if (last === undefined) return { t: 'empty' };
  const text = sql.slice(0, last.end);
  const reads = ['SELECT', 'WITH', 'FROM', '('].includes(first.word || first.text);
  if (reads && !kept.some(({ word, depth }) => word === 'INSERT' && depth === 0)) return selectOf(text, kept);
  if (showing.has(first.word)) return { t: 'show', format: formatClause(kept)?.format, sql: text };
  const changesSession =
    first.word === 'SET' || first.word === 'USE' || kept.some(({ word }, at) => word === 'TEMPORARY' && at < 4);
  return { t: 'command', sql: text, changesSession };
}

function selectOf(sql: string, tokens: readonly Token[]): Statement {
  const clause = formatClause(tokens);
  const cut = clause?.start ?? sql.length;
  return {
    t: 'select',
    format: clause?.format,
    into: (path, format) =>
      `${sql.slice(0, cut)} INTO OUTFILE ${quoted(path)} APPEND ${clause === undefined ? `FORMAT ${format}` : sql.slice(cut)}`,
  };
}

/** The last `FORMAT name` outside brackets, at the end or before a last SETTINGS. */
function formatClause(tokens: readonly Token[]): { readonly format: string; readonly start: number } | undefined {
  const at = tokens.findLastIndex(
    ({ word, depth }, index) =>
      word === 'FORMAT' &&
      depth === 0 &&
      tokens[index + 1]?.word !== '' &&
      (tokens[index + 2]?.word ?? 'SETTINGS') === 'SETTINGS' &&
      !isNameAfter(tokens[index - 1]),
  );
  const keyword = tokens[at];
  const name = tokens[at + 1];
  return at < 0 || keyword === undefined || name === undefined
    ? undefined
    : { format: name.text, start: keyword.start };
}

function isNameAfter(before: Token | undefined): boolean {
  return before === undefined || beforeNames.has(before.word) || /^[,.=<>+\-*/%]$/.test(before.text);
}

/** `INSERT INTO [TABLE|FUNCTION] name[(…)] [(columns)] [SETTINGS …] FORMAT name data | VALUES data | SELECT …`. */
function parseInsert(sql: string): Statement {
  let settings: Token | undefined;
  let before: Token | undefined;
  const tokens = tokensOf(sql);
  for (const token of tokens) {
    const named = before === undefined || ['INTO', 'TABLE', 'FUNCTION'].includes(before.word) || before.text === '.';
    before = token;
    if (named || token.depth > 0) continue;
    if (token.word === 'SELECT' || token.word === 'WITH' || token.word === 'FROM') break;
    if (token.word === 'SETTINGS') settings = token;
    if (token.word === 'VALUES') return insertOf(sql, settings, token, token.end, 'Values');
    if (token.word !== 'FORMAT') continue;
    const name = tokens.next().value as Token | undefined;
    if (name !== undefined) return insertOf(sql, settings, token, name.end, name.text);
  }
  return { t: 'command', sql, changesSession: false };
}

function insertOf(
  sql: string,
  settings: Token | undefined,
  keyword: Token,
  headEnd: number,
  format: string,
): Statement {
  const head = sql.slice(0, (settings ?? keyword).start);
  const options = settings === undefined ? '' : sql.slice(settings.start, keyword.start);
  const gap = /^[ \t\r]*[;\n]?/.exec(sql.slice(headEnd, headEnd + 1024))?.[0].length ?? 0;
  return {
    t: 'insert',
    format,
    dataStart: headEnd + gap,
    from: (path) => `${head} FROM INFILE ${quoted(path)} COMPRESSION 'none' ${options} FORMAT ${format}`,
  };
}

/** A ClickHouse string literal. */
export function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
