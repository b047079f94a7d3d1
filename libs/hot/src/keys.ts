export { entityKey } from '@millrace/features';

/** The field of a view's row in the hash of an entity instance. */
export function rowField(view: string, version: string): string {
  return `${view}@${version}`;
}
