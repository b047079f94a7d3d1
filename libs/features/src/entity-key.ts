/** The key of an entity instance: `{<entity>:<key>:<key>}`; the braces keep it on one slot of a Redis Cluster. */
export function entityKey(entity: string, keys: readonly (string | number | bigint | boolean)[]): string {
  let key = `{${entity}`;
  for (const value of keys) key += `:${typeof value === 'string' ? escapeKey(value) : value}`;
  return `${key}}`;
}

const special = /[^!-$&-9;-z|~]/;
const encoder = new TextEncoder();

/** Percent-escapes what would break the key's form, byte by byte. */
function escapeKey(text: string): string {
  if (!special.test(text)) return text;
  let escaped = '';
  for (const byte of encoder.encode(text)) {
    const char = String.fromCharCode(byte);
    escaped += special.test(char) ? `%${byte.toString(16).padStart(2, '0').toUpperCase()}` : char;
  }
  return escaped;
}
