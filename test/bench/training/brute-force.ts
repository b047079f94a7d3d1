import type { History } from '@millrace/history';
import { features, type Key, keys, source } from './world.ts';

type Event = { readonly us: number; readonly known: number; readonly delay: number | null; readonly distance: number };
type Row = Readonly<Record<string, unknown>>;

const hops: Readonly<Record<number, number>> = { 3600e6: 300e6, 10800e6: 900e6, 86400e6: 3_600e6, 604800e6: 21_600e6 };

/**
 * Values of some rows of `table` computed again from single events by their event and known times, in JavaScript: how many there are and how many differ.
 * The events after the label and those known too late are read too, so that one that leaked would show.
 */
export async function countLeaks(history: History, table: string, rows: number) {
  const sampled = await history.query<Row>(
    `SELECT *, toUnixTimestamp64Micro(label_time) AS t FROM ${table} ORDER BY cityHash64(label) LIMIT ${rows}`,
  );
  let compared = 0;
  let leaks = 0;
  for (const row of sampled) {
    for (const key of Object.keys(keys) as Key[]) {
      const events = await eventsOf(history, key, String(row[key]), Number(row.t));
      for (const { name, function: fn, field, window } of features) {
        const sizeUs = window.t === 'sliding' ? window.sizeUs : 0;
        const hopUs = hops[sizeUs] ?? 1;
        const t = Number(row.t);
        const from = Math.floor((t - sizeUs) / hopUs) * hopUs;
        const seen = events.filter(({ us, known }) => us >= from && us < t && known <= t);
        const want = aggregateOf(fn, field, seen);
        const found = row[`${key}__${name}`];
        compared++;
        if (!isClose(found === null ? null : Number(found), want)) leaks++;
      }
    }
  }
  return { compared, leaks };
}

async function eventsOf(history: History, key: Key, value: string, t: number): Promise<Event[]> {
  const rows = await history.query<Record<string, string | number | null>>(
    `SELECT toUnixTimestamp64Micro(_event_time) AS us, toUnixTimestamp64Micro(_known_time) AS known, delay, distance FROM events_${source}
     WHERE ${key} = {value:String} AND _event_time > fromUnixTimestamp64Micro(toInt64(${t - 8 * 86_400e6})) AND _event_time < fromUnixTimestamp64Micro(toInt64(${t + 86_400e6}))`,
    { value },
  );
  return rows.map((row) => ({
    us: Number(row.us),
    known: Number(row.known),
    delay: row.delay === null || row.delay === undefined ? null : Number(row.delay),
    distance: Number(row.distance),
  }));
}

function aggregateOf(fn: string, field: string, seen: readonly Event[]): number | null {
  if (fn === 'count') return seen.length;
  const values = seen.flatMap(({ delay, distance }) => (field === 'distance' ? [distance] : (delay ?? [])));
  if (values.length === 0) return null;
  if (fn === 'max') return Math.max(...values);
  const sum = values.reduce((total, value) => total + value, 0);
  if (fn === 'sum') return sum;
  const mean = sum / values.length;
  if (fn === 'mean') return mean;
  if (values.length < 2) return null;
  return Math.sqrt(values.reduce((total, value) => total + (value - mean) ** 2, 0) / (values.length - 1));
}

function isClose(found: number | null, want: number | null): boolean {
  if (found === null || want === null) return found === want;
  return Math.abs(found - want) <= 1e-9 * Math.max(1, Math.abs(want));
}
