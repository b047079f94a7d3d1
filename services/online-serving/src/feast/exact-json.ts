/**
 * JSON whose integers stay exact: those beyond 2^53 become bigints. Throws SyntaxError. Most bodies have none, and are parsed at the
 * engine's own speed.
 */
export function parseExactJson(text: string): unknown {
  return longInteger.test(text) ? JSON.parse(text, keepDigits as Reviver) : JSON.parse(text);
}

const longInteger = /(?:^|[^\d."\\])-?\d{16,}(?![\d.eE])/;

/** TypeScript does not know the third argument of a reviver yet. */
type Reviver = (this: unknown, key: string, value: unknown) => unknown;

function keepDigits(_key: string, value: unknown, context: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value) || context.source === undefined) return value;
  return /^-?\d+$/.test(context.source) ? BigInt(context.source) : value;
}
