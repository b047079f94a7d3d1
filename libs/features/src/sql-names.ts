/** A name as a ClickHouse identifier. */
export function sqlName(name: string): string {
  return `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``;
}

/** A field of the events `e`. */
export function eventColumn(field: string): string {
  return `e.${sqlName(field)}`;
}
