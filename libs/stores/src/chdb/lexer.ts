/** A piece of SQL that is neither white space nor a comment. `depth` counts the brackets around it. */
export type Token = {
  readonly text: string;
  /** Upper case of a bare word, '' for anything else. */
  readonly word: string;
  readonly start: number;
  readonly end: number;
  readonly depth: number;
};

const blank = /(?:\s+|--[^\n]*(?:\n|$)|#[! ][^\n]*(?:\n|$)|\/\*[\s\S]*?(?:\*\/|$))+/y;
const piece =
  /[A-Za-z_][\w$]*|\d[\w.]*|'(?:[^'\\]|\\[\s\S]|'')*'?|"(?:[^"\\]|\\[\s\S])*"?|`(?:[^`\\]|\\[\s\S])*`?|(\$\w*\$)[\s\S]*?(?:\1|$)|[\s\S]/y;

/** Lazily, since the data of an INSERT follows its text. */
export function* tokensOf(sql: string): Generator<Token> {
  let depth = 0;
  let at = 0;
  for (;;) {
    blank.lastIndex = at;
    at += blank.exec(sql)?.[0].length ?? 0;
    piece.lastIndex = at;
    const text = piece.exec(sql)?.[0];
    if (text === undefined) return;
    if (text === ')' || text === ']' || text === '}') depth--;
    yield {
      text,
      word: /^[A-Za-z_]/.test(text) ? text.toUpperCase() : '',
      start: at,
      end: at + text.length,
      depth,
    };
    if (text === '(' || text === '[' || text === '{') depth++;
    at += text.length;
  }
}
