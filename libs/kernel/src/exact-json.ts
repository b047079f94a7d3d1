/** JSON with the source text of its values, which TypeScript's es2024 library does not have yet. */
const exact = JSON as unknown as {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): unknown;
};

/** Most texts have no whole number that long and are parsed at the engine's own speed. */
const longNumber = /\d{16}/;

/** `JSON.parse`; whole numbers that a double would change come as bigint. Throws SyntaxError. */
export function parseExactJson(text: string): unknown {
  if (!longNumber.test(text)) return JSON.parse(text);
  return exact.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined && !Number.isSafeInteger(value) && /^-?\d+$/.test(source)
      ? BigInt(source)
      : value,
  );
}

/** `JSON.stringify`; a bigint is a whole number, and an infinity ±1e999, which readers of JSON take as one. */
export function exactJsonText(value: unknown): string {
  return JSON.stringify(value, (_key, one) => {
    if (typeof one === 'bigint') return exact.rawJSON(String(one));
    if (one === Number.POSITIVE_INFINITY) return exact.rawJSON('1e999');
    return one === Number.NEGATIVE_INFINITY ? exact.rawJSON('-1e999') : one;
  });
}
