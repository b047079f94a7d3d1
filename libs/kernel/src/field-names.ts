/** Column names as names of fields: lowercase letters, digits and _, a letter first; alike ones get numbers. */
export function fieldNames(columns: readonly string[]): string[] {
  const taken = new Set<string>();
  return columns.map((column) => {
    const name = fieldName(column);
    let free = name;
    for (let at = 2; taken.has(free); at++) free = `${name.slice(0, 96)}_${at}`;
    taken.add(free);
    return free;
  });
}

/** `Airport Name` → `airport_name`, `Cost Total $` → `cost_total`, `userId` → `user_id`. */
export function fieldName(column: string): string {
  const words = column
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^_+|_+$/g, '')
    .slice(0, 98);
  if (words === '') return 'field';
  return /^[a-z]/.test(words) ? words : `f_${words}`;
}
