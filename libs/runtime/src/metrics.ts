import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export type Labels = Readonly<Record<string, string>>;

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
    text: () => registry.metrics(),
    json: () => registry.getMetricsAsJSON(),
  };
}
