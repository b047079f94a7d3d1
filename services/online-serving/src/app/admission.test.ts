import { MeshError } from '@millrace/kernel';
import { expect, test } from 'vitest';
import { type Admission, type AdmissionLimits, createAdmission, type LimitName } from './admission.ts';

const open: AdmissionLimits = {
  inFlightRowsMax: 50_000,
  callerInFlightRowsMax: 50_000,
  callerRowsPerSMax: 0,
  queueTargetMs: 25,
};
const quiet = { refused() {}, state() {} };
const rowsOf = (rows: number, caller = 'a', leftMs = Number.POSITIVE_INFINITY) => ({ caller, rows, leftMs });

function refusal(attempt: () => unknown): MeshError {
  try {
    attempt();
  } catch (thrown) {
    if (thrown instanceof MeshError) return thrown;
  }
  throw new Error('it was let in');
}

/**
 * A server that finishes so many rows a second, first come first served, and requests of 100 rows that come at a fixed rate, from
 * callers in turns. Returns what became of them once it has settled.
 */
function simulate(
  admission: Admission,
  load: {
    readonly rowsPerS: number;
    readonly offered: number;
    readonly deadlineMs: number;
    readonly callers: string[];
  },
  seconds = 20,
) {
  const rows = 100;
  const everyMs = (rows / (load.rowsPerS * load.offered)) * 1000;
  const serviceMs = (rows / load.rowsPerS) * 1000;
  const queue: { pass: ReturnType<Admission['enter']>; cameMs: number; doneMs: number; caller: string }[] = [];
  const inTime = new Map<string, number>();
  let freeMs = 0;
  let late = 0;
  let longestMs = 0;
  let nth = 0;
  for (let nowMs = 1; nowMs < seconds * 1000; nowMs += everyMs) {
    while (queue[0] && queue[0].doneMs <= nowMs) {
      const { pass, cameMs, doneMs, caller } = queue.shift() as (typeof queue)[number];
      pass.waited(doneMs - serviceMs);
      pass.end(doneMs);
      if (doneMs < 5_000) continue;
      const tookMs = doneMs - cameMs;
      longestMs = Math.max(longestMs, tookMs);
      if (tookMs <= load.deadlineMs) inTime.set(caller, (inTime.get(caller) ?? 0) + 1);
      else late++;
    }
    const caller = load.callers[nth++ % load.callers.length] ?? '';
    try {
      const pass = admission.enter(rowsOf(rows, caller, load.deadlineMs), nowMs);
      freeMs = Math.max(freeMs, nowMs) + serviceMs;
      queue.push({ pass, cameMs: nowMs, doneMs: freeMs, caller });
    } catch {}
  }
  const good = [...inTime.values()].reduce((sum, one) => sum + one, 0) / (seconds - 5);
  return { goodput: good / (load.rowsPerS / rows), late, longestMs, inTime };
}

test('at any load beyond what it can bear the server does its work in time, and reads do not queue', () => {
  for (const rowsPerS of [5_000, 60_000, 500_000]) {
    for (const offered of [1.1, 2, 5, 20]) {
      const { goodput, late, longestMs } = simulate(createAdmission(open, quiet), {
        rowsPerS,
        offered,
        deadlineMs: 500,
        callers: ['a'],
      });
      expect(goodput, `${rowsPerS} rows/s, ${offered} times the load`).toBeGreaterThan(0.95);
      expect(late).toBe(0);
      // the smallest limit is 1,000 rows, which a slow store takes longer for
      expect(longestMs).toBeLessThan(Math.max(60, (1_400 / rowsPerS) * 1000));
    }
  }
});

test('without overload nothing is refused, however many read at once', () => {
  const refused: LimitName[] = [];
  const admission = createAdmission(open, { refused: (limit) => refused.push(limit), state() {} });
  simulate(admission, { rowsPerS: 60_000, offered: 0.9, deadlineMs: 100, callers: ['a', 'b'] });
  const passes = Array.from({ length: 40 }, () => admission.enter(rowsOf(1_000), 30_000));
  for (const pass of passes) {
    pass.waited(30_010);
    pass.end(30_020);
  }
  expect(refused).toEqual([]);
});

test('a few large reads at once are no queue, however long each takes', () => {
  const refused: LimitName[] = [];
  const admission = createAdmission(open, { refused: (limit) => refused.push(limit), state() {} });
  // each of four waits for the ones before it, beyond the target: the limit falls to its least
  for (let nowMs = 1_000; nowMs < 10_000; nowMs += 150) {
    const passes = Array.from({ length: 4 }, () => admission.enter(rowsOf(1_000), nowMs));
    for (const [before, pass] of passes.entries()) {
      const firstMs = nowMs + 30 * (before + 1);
      pass.waited(firstMs);
      pass.end(firstMs);
    }
  }
  expect(refused).toEqual([]);
});

test('a caller that floods takes nothing from one that keeps within its share', () => {
  const flood = Array.from({ length: 19 }, () => 'flood');
  const load = { rowsPerS: 60_000, offered: 4, deadlineMs: 200, callers: [...flood, 'modest'] };
  const { inTime, goodput } = simulate(createAdmission(open, quiet), load);
  const modestSent = (15 * load.rowsPerS * load.offered) / 100 / load.callers.length;
  expect((inTime.get('modest') ?? 0) / modestSent).toBeGreaterThan(0.95);
  expect(goodput).toBeGreaterThan(0.95);
});

test('a read whose deadline is nearer than the queue is long is refused at once, and one that takes what is ready is not', () => {
  const admission = createAdmission(open, quiet);
  for (let nowMs = 1_000; nowMs < 1_300; nowMs += 10) {
    const pass = admission.enter(rowsOf(10), nowMs);
    pass.waited(nowMs + 15);
    pass.end(nowMs + 15);
  }
  const held = admission.enter(rowsOf(10), 1_320);
  const error = refusal(() => admission.enter(rowsOf(10, 'a', 12), 1_320));
  expect(error).toMatchObject({
    reason: 'OVERLOADED',
    metadata: { limitName: 'deadline', waitMs: '15', leftMs: '12' },
  });
  expect(error.retryAfterMs).toBeGreaterThan(0);
  admission.enter(rowsOf(10, 'a', 50), 1_320).end(1_340);
  held.end(1_340);
  // with nothing at work there is no queue
  admission.enter(rowsOf(10, 'a', 1), 1_350).end(1_351);
});

test('a store that stops answering lets the limit fall, and the first answers let it rise again', () => {
  let limitRows = 0;
  const admission = createAdmission(open, { refused() {}, state: (_, limit) => (limitRows = limit) });
  for (let nowMs = 1_000; nowMs < 4_000; nowMs += 20) {
    try {
      const pass = admission.enter(rowsOf(100), nowMs);
      pass.waited(nowMs + 1_000);
      pass.end(nowMs + 1_000);
    } catch {}
  }
  expect(limitRows).toBe(1_000);
  simulate(admission, { rowsPerS: 500_000, offered: 3, deadlineMs: 200, callers: ['a'] });
  expect(limitRows).toBeGreaterThan(5_000);
});

test('one caller has a limit of rows at once and of rows a second; others are not touched', () => {
  const limits = { ...open, callerInFlightRowsMax: 100, callerRowsPerSMax: 1_000 };
  const admission = createAdmission(limits, quiet);
  const pass = admission.enter(rowsOf(90), 1_000);
  expect(refusal(() => admission.enter(rowsOf(20), 1_000))).toMatchObject({
    metadata: { limitName: 'caller_rows', caller: 'a', limit: '100' },
  });
  admission.enter(rowsOf(90, 'b'), 1_000).end(1_001);
  pass.end(1_001);
  for (let i = 0; i < 10; i++) admission.enter(rowsOf(90), 1_001).end(1_001);
  const slow = refusal(() => admission.enter(rowsOf(90), 1_001));
  expect(slow).toMatchObject({ metadata: { limitName: 'caller_rate', limit: '1000' } });
  expect(slow.retryAfterMs).toBeGreaterThan(50);
  admission.enter(rowsOf(90), 1_001 + (slow.retryAfterMs ?? 0)).end(1_200);
});

test('a request larger than a second of its rate waits for a full bucket, and the rate holds over time', () => {
  const admission = createAdmission({ ...open, callerRowsPerSMax: 100 }, quiet);
  let rows = 0;
  for (let nowMs = 0; nowMs < 60_000; nowMs += 50) {
    try {
      admission.enter(rowsOf(250), nowMs).end(nowMs);
      rows += 250;
    } catch {}
  }
  expect(rows / 60).toBeGreaterThan(70);
  expect(rows / 60).toBeLessThan(110);
});

test('callers who invent a name for each read fill no memory and share one limit', () => {
  const admission = createAdmission({ ...open, callerInFlightRowsMax: 10, callerRowsPerSMax: 0 }, quiet);
  const passes = Array.from({ length: 1_000 }, (_, i) => admission.enter(rowsOf(1, `name ${i}`), 1_000));
  for (let i = 0; i < 10; i++) passes.push(admission.enter(rowsOf(1, `other ${i}`), 1_000));
  expect(refusal(() => admission.enter(rowsOf(1, 'one more'), 1_000)).metadata.limitName).toBe('caller_rows');
  for (const pass of passes) pass.end(1_001);
  admission.enter(rowsOf(1, 'one more'), 1_002).end(1_003);
});

test('before a read is decoded it is refused exactly when it would be afterwards', () => {
  const admission = createAdmission({ ...open, inFlightRowsMax: 1_000 }, quiet);
  admission.enter(rowsOf(400), 1);
  for (const rows of [1, 100, 568, 600, 601, 2_000]) {
    const before = admission.full('b', rows, 1);
    const passed = before === undefined ? admission.enter(rowsOf(rows, 'b'), 1) : undefined;
    passed?.end(1);
    if (before) expect(refusal(() => admission.enter(rowsOf(rows, 'b'), 1))).toBe(before);
  }
  expect(admission.full('b', 100, 1)).toBeUndefined();
  expect(admission.full('b', 601, 1)).toMatchObject({ reason: 'OVERLOADED', metadata: { limitName: 'rows' } });
});
