/** A count and the time that it took, as the statistics extension of the Open Inference Protocol has it. */
export interface CountedNs {
  readonly count: number;
  readonly ns: number;
}

/** Where the time of one request went, in ns. */
export interface StageTimes {
  readonly queueNs: number;
  readonly inputNs: number;
  readonly inferNs: number;
  readonly outputNs: number;
}

export const stages = ['queueNs', 'inputNs', 'inferNs', 'outputNs'] as const;

export interface BatchStatistics {
  readonly rows: number;
  readonly count: number;
  readonly times: StageTimes;
}

/** What one version of a model has done since it was loaded. */
export interface VersionStatistics {
  /** Epoch ms; 0: it has answered nothing. */
  readonly lastMs: number;
  /** Rows. */
  readonly inferences: number;
  readonly executions: number;
  readonly success: CountedNs;
  readonly fail: CountedNs;
  readonly times: StageTimes;
  /** By rows of an execution, ascending. */
  readonly batches: readonly BatchStatistics[];
}

/** Different sizes that are told apart; larger batches after so many sizes are counted in the totals only. */
const sizesMax = 256;

const none: StageTimes = { queueNs: 0, inputNs: 0, inferNs: 0, outputNs: 0 };

function added(a: StageTimes, b: StageTimes): StageTimes {
  return {
    queueNs: a.queueNs + b.queueNs,
    inputNs: a.inputNs + b.inputNs,
    inferNs: a.inferNs + b.inferNs,
    outputNs: a.outputNs + b.outputNs,
  };
}

/** Running statistics of one version. */
export class StatisticsOfVersion {
  #lastMs = 0;
  #inferences = 0;
  #success: CountedNs = { count: 0, ns: 0 };
  #fail: CountedNs = { count: 0, ns: 0 };
  #times = none;
  readonly #batches = new Map<number, BatchStatistics>();

  succeeded(rows: number, times: StageTimes, nowMs: number): void {
    this.#lastMs = nowMs;
    this.#inferences += rows;
    this.#times = added(this.#times, times);
    const total = stages.reduce((sum, stage) => sum + times[stage], 0);
    this.#success = { count: this.#success.count + 1, ns: this.#success.ns + total };
    const batch = this.#batches.get(rows);
    if (batch || this.#batches.size < sizesMax)
      this.#batches.set(rows, {
        rows,
        count: (batch?.count ?? 0) + 1,
        times: added(batch?.times ?? none, times),
      });
  }

  failed(ns: number, nowMs: number): void {
    this.#lastMs = nowMs;
    this.#fail = { count: this.#fail.count + 1, ns: this.#fail.ns + ns };
  }

  read(): VersionStatistics {
    return {
      lastMs: this.#lastMs,
      inferences: this.#inferences,
      executions: this.#success.count,
      success: this.#success,
      fail: this.#fail,
      times: this.#times,
      batches: [...this.#batches.values()].toSorted((a, b) => a.rows - b.rows),
    };
  }
}
