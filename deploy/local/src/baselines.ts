import { readFileSync } from 'node:fs';
import type { Flight } from '@millrace/flights';
import { hourOf } from '@millrace/flights';
import { auc } from '@millrace/stats';

interface Baselines {
  readonly overall: number;
  readonly route: Readonly<Record<string, number>>;
  readonly origin_hour: Readonly<Record<string, number>>;
}

/** Running scores of the two baselines that the model must beat: historical rates of January to March. */
export interface BaselineScores {
  add(flight: Flight, delayed: boolean): void;
  aucs(): { readonly route: number; readonly originHour: number };
}

export function createBaselineScores(file: string): BaselineScores {
  const baselines = JSON.parse(readFileSync(file, 'utf8')) as Baselines;
  const labels: boolean[] = [];
  const route: number[] = [];
  const originHour: number[] = [];
  return {
    add(flight, delayed) {
      labels.push(delayed);
      route.push(baselines.route[`${flight.origin}-${flight.destination}`] ?? baselines.overall);
      originHour.push(baselines.origin_hour[`${flight.origin}-${hourOf(flight)}`] ?? baselines.overall);
    },
    aucs: () => ({ route: auc(route, labels), originHour: auc(originHour, labels) }),
  };
}
