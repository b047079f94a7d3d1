/** One value: itself. Several: joined by a colon, colons inside written as %3A. Empty when one is empty: then there is no id. */
export function joinedId(values: readonly string[]): string {
  if (values.includes('')) return '';
  return values.length === 1
    ? (values[0] ?? '')
    : values.map((value) => value.replace(/[%:]/g, encodeURIComponent)).join(':');
}
