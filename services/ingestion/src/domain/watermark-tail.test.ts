import fc from 'fast-check';
import { expect, test } from 'vitest';
import { rowHash, WatermarkTail } from './watermark-tail.ts';

const overlap = 10;

/** A table that grows between readings; a reading that breaks off after some rows is gone on with by the next one. */
test('every row that appears within the overlap is read once, wherever readings break off', () => {
  const row = fc.record({ delay: fc.integer({ min: 0, max: overlap }), step: fc.integer({ min: 0, max: 4 }) });
  const reading = fc.record({ rows: fc.array(row, { maxLength: 30 }), breaksAt: fc.option(fc.nat(20)) });
  fc.assert(
    fc.property(fc.array(reading, { minLength: 1, maxLength: 12 }), (readings) => {
      const table: { readonly watermark: number; readonly id: string }[] = [];
      const read: string[] = [];
      let now = 100;
      let saved: ReturnType<WatermarkTail['state']>;
      for (const { rows, breaksAt } of [...readings, { rows: [], breaksAt: null }]) {
        for (const { delay, step } of rows) {
          now += step;
          table.push({ watermark: Math.max(now - delay, (saved?.watermark ?? 0) - overlap), id: `r${table.length}` });
        }
        const tail = new WatermarkTail(overlap, saved);
        const from = tail.from ?? Number.NEGATIVE_INFINITY;
        const found = table.filter(({ watermark }) => watermark >= from);
        found.sort((a, b) => a.watermark - b.watermark || (a.id < b.id ? -1 : 1));
        const upTo = breaksAt === null ? found.length : Math.min(breaksAt, found.length);
        for (const { watermark, id } of found.slice(0, upTo)) {
          if (!tail.knows(rowHash(id))) read.push(id);
          tail.add(watermark, rowHash(id));
        }
        saved = tail.state(upTo === found.length);
      }
      expect(read.toSorted()).toEqual(table.map(({ id }) => id).toSorted());
    }),
    { numRuns: 500 },
  );
});

test('what is kept is bounded by the overlap, not by the table', () => {
  const tail = new WatermarkTail(overlap);
  for (let at = 0; at < 300_000; at++) tail.add(at, rowHash(String(at)));
  expect(tail.state(true)).toEqual({ watermark: 299_999, tail: expect.stringMatching(/^.{121}$/) });
});

test('an overlap with too many rows is refused with what to do', () => {
  const tail = new WatermarkTail(overlap);
  const fill = () => {
    for (let at = 0; at < 50_000; at++) tail.add(1, String(at).padStart(11));
  };
  expect(fill).toThrow('make the overlap shorter');
});
