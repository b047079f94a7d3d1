const most = 100;

/** The paths at which two values differ, with both sides: `features.2.window.sizeUs: 3600000000 -> 7200000000`. */
export function differences(before: unknown, after: unknown): string[] {
  const found: string[] = [];
  compare(before, after, '', found);
  return found.slice(0, most);
}

function compare(before: unknown, after: unknown, path: string, found: string[]): void {
  if (Object.is(before, after)) return;
  if (isObject(before) && isObject(after)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
    for (const key of keys) compare(before[key], after[key], path === '' ? key : `${path}.${key}`, found);
    return;
  }
  found.push(`${path}: ${text(before)} -> ${text(after)}`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function text(value: unknown): string {
  if (value === undefined) return 'nothing';
  return (
    JSON.stringify(value, (_key, member) => (typeof member === 'bigint' ? Number(member) : member)) ?? String(value)
  );
}
