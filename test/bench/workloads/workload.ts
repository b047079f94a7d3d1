import { readFileSync } from 'node:fs';
import type { BenchContext } from '../bench.ts';

export type Metrics = Readonly<Record<string, number>>;

export type WorkloadContext = Pick<BenchContext, 'progress' | 'signal'> & {
  /** W13: how long. */
  readonly seconds: number;
  /** W6: how many. */
  readonly rows: number;
  /** W11: how many, one size after another. */
  readonly views: readonly number[];
};

export function named(metrics: Metrics, suffix: string): Metrics {
  return Object.fromEntries(Object.entries(metrics).map(([name, value]) => [`${name}_${suffix}`, value]));
}

/** The most memory that a process ever had. */
export function peakRssMb(pid: number): number {
  const kib = Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  return Math.round(kib / 1024);
}

export async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** As the table of a case has it: to a hundredth. */
export const round2 = (value: number): number => Math.round(value * 100) / 100;
