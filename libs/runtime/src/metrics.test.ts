import { expect, test } from 'vitest';
import { BucketCounts } from './bucket-counts.ts';
import { measureLoopDelay } from './loop-delay.ts';
import { aggregateMetrics, createMetrics, type Reading } from './metrics.ts';

const lines = (text: string, name: string) => text.split('\n').filter((line) => line.startsWith(name));

test('series of a family are what is there when they are read, and those of processes add up', async () => {
  const processes = [createMetrics('one'), createMetrics('one')];
  const series = new Map<string, Reading>();
  const seconds = new BucketCounts([0.1, 1]);
  for (const value of [0.05, 0.1, 0.5, 7]) seconds.add(value);
  for (const metrics of processes) {
    metrics.family('asked', 'how often', 'counter', () => series.values());
    metrics.family('took_seconds', 'how long', 'histogram', () => [{ labels: { model: 'm' }, value: seconds }]);
    metrics.family('worst', 'at most', 'gauge', () => [{ labels: {}, value: series.size }], 'max');
  }
  series.set('a', { labels: { model: 'a' }, value: 3 });
  series.set('b', { labels: { model: 'b' }, value: 4 });
  const [first] = processes;
  expect(lines((await first?.text()) ?? '', 'asked')).toEqual([
    'asked{model="a",service="one"} 3',
    'asked{model="b",service="one"} 4',
  ]);
  series.delete('a');
  const together = await aggregateMetrics(await Promise.all(processes.map((metrics) => metrics.json())));
  expect(lines(together, 'asked')).toEqual(['asked{model="b",service="one"} 8']);
  expect(lines(together, 'worst')).toEqual(['worst{service="one"} 1']);
  expect(lines(together, 'took_seconds')).toEqual([
    'took_seconds_bucket{le="0.1",model="m",service="one"} 4',
    'took_seconds_bucket{le="1",model="m",service="one"} 6',
    'took_seconds_bucket{le="+Inf",model="m",service="one"} 8',
    'took_seconds_sum{model="m",service="one"} 15.3',
    'took_seconds_count{model="m",service="one"} 8',
  ]);
});

test('the event loop’s delay is measured, and a block of 200 ms is seen', async () => {
  const metrics = createMetrics('busy');
  const stop = measureLoopDelay(metrics);
  const rest = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  await rest(60);
  const untilMs = performance.now() + 200;
  while (performance.now() < untilMs);
  await rest(30);
  stop();
  const text = await metrics.text();
  const value = (line: string) => Number(line.slice(line.lastIndexOf(' ')));
  const [max = ''] = lines(text, 'millrace_event_loop_delay_max_seconds');
  expect(value(max)).toBeGreaterThan(0.15);
  const below = lines(text, 'millrace_event_loop_delay_seconds_bucket{le="0.1"').map(value);
  const all = lines(text, 'millrace_event_loop_delay_seconds_count').map(value);
  expect(below.length).toBe(1);
  expect((all[0] ?? 0) - (below[0] ?? 0)).toBeGreaterThanOrEqual(1);
});
