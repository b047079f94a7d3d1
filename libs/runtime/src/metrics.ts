import {
  AggregatorRegistry,
  Counter,
  collectDefaultMetrics,
  Gauge,
  Histogram,
  type Metric,
  Registry,
} from 'prom-client';
import type { BucketCounts } from './bucket-counts.ts';

export type Labels = Readonly<Record<string, string>>;

/** One series: of counters and gauges a number, of histograms counts. */
export interface Reading {
  readonly labels: Labels;
  readonly value: number | BucketCounts;
}

/** Prometheus metrics of a process. The label names of a metric are given when it is made. */
export interface Metrics {
  counter(name: string, help: string, labels?: readonly string[]): { inc(by?: number, labels?: Labels): void };
  gauge(name: string, help: string, labels?: readonly string[]): { set(value: number, labels?: Labels): void };
  histogram(
    name: string,
    help: string,
    buckets: readonly number[],
    labels?: readonly string[],
  ): { observe(value: number, labels?: Labels): void };
  /**
   * Series that are read when somebody asks, from what counts: counting costs no look-up of labels, and what is gone has no series.
   * `across` says how the values of several processes become one.
   */
  family(
    name: string,
    help: string,
    type: 'counter' | 'gauge' | 'histogram',
    read: () => Iterable<Reading>,
    across?: 'sum' | 'max',
  ): void;
  /** The exposition format. */
  text(): Promise<string>;
  /** What `aggregateMetrics` takes. */
  json(): Promise<MetricsJson>;
}

export type MetricsJson = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;

/** The metrics of several processes as one: counters, histograms and most gauges add up. */
export function aggregateMetrics(parts: readonly MetricsJson[]): Promise<string> {
  return AggregatorRegistry.aggregate([...parts]).metrics();
}

export function createMetrics(service: string): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  const shared = (name: string, help: string, labels: readonly string[] = []) => ({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
  });
  return {
    counter(name, help, labels) {
      const counter = new Counter(shared(name, help, labels));
      return { inc: (by = 1, values) => (values ? counter.inc(values, by) : counter.inc(by)) };
    },
    gauge(name, help, labels) {
      const gauge = new Gauge(shared(name, help, labels));
      return { set: (value, values) => (values ? gauge.set(values, value) : gauge.set(value)) };
    },
    histogram(name, help, buckets, labels) {
      const histogram = new Histogram({ ...shared(name, help, labels), buckets: [...buckets] });
      return { observe: (value, values) => (values ? histogram.observe(values, value) : histogram.observe(value)) };
    },
    family(name, help, type, read, across = 'sum') {
      const get = async () => ({ name, help, type, aggregator: across, values: valuesOf(name, read()) });
      // the registry asks for no more than these two
      registry.registerMetric({ name, get } as unknown as Metric);
    },
    text: () => registry.metrics(),
    json: () => registry.getMetricsAsJSON(),
  };
}

function valuesOf(name: string, readings: Iterable<Reading>) {
  const values: { metricName?: string; labels: Labels; value: number }[] = [];
  for (const { labels, value } of readings) {
    if (typeof value === 'number') {
      values.push({ labels, value });
      continue;
    }
    const counts = value.cumulative();
    for (const [at, count] of counts.entries())
      values.push({
        metricName: `${name}_bucket`,
        labels: { le: String(value.bounds[at] ?? '+Inf'), ...labels },
        value: count,
      });
    values.push({ metricName: `${name}_sum`, labels, value: value.sum });
    values.push({ metricName: `${name}_count`, labels, value: counts.at(-1) ?? 0 });
  }
  return values;
}
