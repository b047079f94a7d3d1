/** The hash of an entity instance: `{<entity>:<key>:<key>}`; the braces keep it on one slot of a Redis Cluster. */
export function entityKey(entity: string, keys: readonly (string | number | bigint | boolean)[]): string {
  let key = `{${entity}`;
  for (const value of keys) key += `:${typeof value === 'string' ? escapeKey(value) : value}`;
  return `${key}}`;
}

/** The field of a view's row in it. */
export function rowField(view: string, version: string): string {
  return `${view}@${version}`;
}

const special = /[^!-$&-9;-z|~]/;

/** Percent-escapes what would break the key's form. */
function escapeKey(text: string): string {
  if (!special.test(text)) return text;
  return [...Buffer.from(text)]
    .map((byte) =>
      byte > 0x20 && byte < 0x7f && !'%:{}'.includes(String.fromCharCode(byte))
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).padStart(2, '0').toUpperCase()}`,
    )
    .join('');
}
