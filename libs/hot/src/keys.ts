import { createHash } from 'node:crypto';

export { entityKey } from '@millrace/features';

const names = new Map<string, string>();
const namesMax = 10_000;

/**
 * The field of a view's row in the hash of an entity instance: 48 bits of a hash as 8 letters, because a name is stored once for each row.
 * Two views of a thousand share one by a chance of 2·10⁻⁹.
 */
export function rowField(view: string, version: string): string {
  const text = `${view}@${version}`;
  let name = names.get(text);
  if (name === undefined) {
    name = createHash('sha256').update(text).digest().subarray(0, 6).toString('base64url');
    if (names.size >= namesMax) names.clear();
    names.set(text, name);
  }
  return name;
}
