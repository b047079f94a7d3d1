import type { definitions } from '@millrace/contracts';
import { MeshError, toMeshError } from '@millrace/kernel';
import type { Metrics, Reading } from '@millrace/runtime';
import {
  type ColumnDrift,
  type DriftOptions,
  DriftWatch,
  type ModelProfile,
  type OutlierScales,
  outlierOf,
  outlierScales,
} from '@millrace/stats';
import type { Vectors } from '../domain/vector.ts';
import type { BookedModel, ModelBook } from './model-book.ts';
import type { RaiseAlert } from './raise-alert.ts';

export interface RowOutlier {
  readonly score: number;
  /** Empty unless the score is beyond the profile's threshold. */
  readonly column: string;
}

export interface VersionDrift {
  readonly model: string;
  readonly version: string;
  readonly rows: number;
  readonly rowsTotal: number;
  readonly outliers: number;
  /** 0: no alert is raised. */
  readonly alertingSinceUs: number;
  readonly columns: readonly ColumnDrift[];
}

export interface DriftMonitor {
  /** Reads the profiles of what is loaded now, also those that could not be read before; a version whose profile is another one starts again. */
  follow(): Promise<void>;
  /** Takes predictions in, and says how far out each is; undefined without a profile. */
  predicted(model: BookedModel, vectors: Vectors, scores: readonly number[]): readonly RowOutlier[] | undefined;
  /** Of the versions that are watched. UNKNOWN_MODEL; NOT_READY when none has a profile; what is wrong with the profile. */
  report(model: string, version: string): readonly VersionDrift[];
  /** Raises and resolves alerts. */
  tick(): Promise<void>;
  readonly rowsMin: number;
}

/** Rows of a request that are taken in: of more, evenly spaced ones. */
const rowsOfRequestMax = 256;
/** Columns of a model that have series of their own. */
const seriesMax = 256;

interface Watched {
  readonly model: string;
  readonly version: string;
  readonly sha256: string;
  readonly profile: ModelProfile;
  readonly watch: DriftWatch;
  readonly scales: OutlierScales;
  outliers: number;
  alertingSinceUs: number;
}

export interface DriftDeps {
  readonly book: Pick<ModelBook, 'all' | 'ready'>;
  /** The definition as it is now: the profile is no part of a version. */
  readonly spec: (model: BookedModel) => definitions.Model;
  readonly read: (model: string, file: definitions.ModelFile) => Promise<ModelProfile>;
  readonly raise: RaiseAlert;
  readonly options: DriftOptions;
  readonly nowUs: () => number;
  readonly onProblem: (model: string, version: string, error: unknown) => void;
}

export function createDriftMonitor(deps: DriftDeps): DriftMonitor {
  const watched = new Map<string, Watched>();
  /** By the same key: why there is none. */
  const problems = new Map<string, MeshError>();
  const key = (model: string, version: string) => `${model}@${version}`;
  const nowMs = () => deps.nowUs() / 1000;
  let following: Promise<void> = Promise.resolve();
  let isJudging = false;

  async function open(model: BookedModel, file: definitions.ModelFile): Promise<void> {
    const id = key(model.name, model.version);
    try {
      const profile = await deps.read(model.name, file);
      checkColumns(model, profile);
      const { name, version } = model;
      const watch = new DriftWatch(profile, nowMs(), deps.options);
      const scales = outlierScales(profile.columns);
      const state = { outliers: 0, alertingSinceUs: 0 };
      problems.delete(id);
      watched.set(id, { model: name, version, sha256: file.sha256, profile, watch, scales, ...state });
    } catch (thrown) {
      const error = toMeshError(thrown);
      // it is tried again and again, and said once
      if (problems.get(id)?.message !== error.message) deps.onProblem(model.name, model.version, error);
      problems.set(id, error);
    }
  }

  async function follow(): Promise<void> {
    const ready = new Map(
      deps.book
        .all()
        .filter(({ state }) => state.t === 'ready')
        .map((model) => [key(model.name, model.version), model] as const),
    );
    for (const [id, one] of watched) {
      const model = ready.get(id);
      if (model && deps.spec(model).profile?.sha256 === one.sha256) continue;
      watched.delete(id);
      if (one.alertingSinceUs > 0)
        await deps.raise(overAlert(one, 'it is not watched any more')).catch(() => undefined);
    }
    for (const [id, model] of ready) {
      const file = deps.spec(model).profile;
      if (!file) problems.delete(id);
      else if (!watched.has(id)) await open(model, file);
    }
    for (const id of problems.keys()) if (!ready.has(id)) problems.delete(id);
  }

  const reportOf = ({ model, version, watch, outliers, alertingSinceUs }: Watched): VersionDrift => ({
    ...{ model, version, outliers, alertingSinceUs, rowsTotal: watch.rows },
    ...watch.figures(nowMs()),
  });

  async function judge(one: Watched): Promise<void> {
    const { rows, columns } = one.watch.figures(nowMs());
    const moved = columns.filter(({ signs }) => signs.length > 0);
    if (one.alertingSinceUs === 0 && moved.length > 0) {
      await deps.raise(driftAlert(one, moved, rows));
      one.alertingSinceUs = deps.nowUs();
    } else if (one.alertingSinceUs > 0 && rows >= deps.options.rowsMin && columns.every(isCalm)) {
      await deps.raise(overAlert(one, `the last ${rows} predictions are as in training again`));
      one.alertingSinceUs = 0;
    }
  }

  return {
    rowsMin: deps.options.rowsMin,
    follow() {
      following = following.then(follow);
      return following;
    },
    predicted({ name, version }, vectors, scores) {
      const one = watched.get(key(name, version));
      const width = vectors.names.length;
      if (!one || width !== one.profile.columns.length) return undefined;
      const step = Math.ceil(vectors.rows / rowsOfRequestMax);
      const at = nowMs();
      for (let row = 0; row < vectors.rows; row += step)
        one.watch.add(vectors.values, row * width, scores[row] ?? Number.NaN, at);
      return scores.map((_, row) => {
        const { score, column } = outlierOf(one.scales, vectors.values, row * width);
        const isOut = score > one.profile.outlierThreshold;
        if (isOut) one.outliers++;
        return { score, column: isOut ? (vectors.names[column] ?? '') : '' };
      });
    },
    report(model, version) {
      const wanted = version === '' ? undefined : deps.book.ready(model, version).version;
      const mine = [...watched.values()].filter(
        (one) => one.model === model && (wanted === undefined || one.version === wanted),
      );
      if (mine.length > 0) return mine.map(reportOf);
      const ready = deps.book.ready(model, version);
      throw (
        problems.get(key(ready.name, ready.version)) ??
        new MeshError(
          'NOT_READY',
          `model "${ready.name}" has no training profile; make one with millrace model profile and name it in the definition`,
          { model: ready.name, version: ready.version },
        )
      );
    },
    async tick() {
      // an alert may wait for NATS longer than a tick
      if (isJudging) return;
      isJudging = true;
      for (const one of watched.values())
        await judge(one).catch((error) => deps.onProblem(one.model, one.version, error));
      isJudging = false;
    },
  };
}

/** Half way back: what is just at its limit does not raise and resolve in turns. */
function isCalm({ signs, psi, psiLimit, cusum }: ColumnDrift): boolean {
  return signs.length === 0 && !(psi > psiLimit / 2) && cusum < 0.5;
}

function driftAlert({ model, version }: Watched, moved: readonly ColumnDrift[], rows: number) {
  const named = moved.slice(0, 5).map(({ name, psi, meanShift, missingShare, signs }) => {
    const share = signs.includes('missing') ? `, ${(100 * missingShare).toFixed(1)} % missing` : '';
    return `"${name}" (PSI ${psi.toFixed(2)}, mean ${meanShift >= 0 ? '+' : ''}${meanShift.toFixed(2)} σ${share})`;
  });
  const more = moved.length > 5 ? ` and ${moved.length - 5} more` : '';
  return {
    kind: 'model_drift',
    dedupKey: dedupKeyOf(model, version),
    message: `predictions of model "${model}" version "${version}" differ from its training: ${named.join(', ')}${more}, over the last ${rows} predictions; see: millrace model drift ${model}`,
    isOver: false,
  };
}

function overAlert({ model, version }: Watched, why: string) {
  const message = `drift of model "${model}" version "${version}" is over: ${why}`;
  return { kind: 'model_drift', dedupKey: dedupKeyOf(model, version), message, isOver: true };
}

function dedupKeyOf(model: string, version: string): string {
  return `model_drift/${model}@${version}`;
}

/** INVALID_ARGUMENT when the profile is of other columns than the model's vector has. */
function checkColumns({ name, spec }: BookedModel, profile: ModelProfile): void {
  const wanted = spec.inputColumns.map(({ source }) => source?.value ?? '').join(', ');
  const found = profile.columns.map((column) => column.name).join(', ');
  if (wanted === found) return;
  throw new MeshError(
    'INVALID_ARGUMENT',
    `the profile of model "${name}" is of the columns ${found || 'none'}, and its vector has ${wanted || 'none'}; make it again: millrace model profile`,
    { model: name },
  );
}

/** Of what is watched, for Prometheus. */
export function registerDriftMetrics(metrics: Metrics, monitor: DriftMonitor, book: Pick<ModelBook, 'all'>): void {
  const family = (name: string, help: string, type: 'counter' | 'gauge', read: (one: VersionDrift) => Reading[]) =>
    metrics.family(name, help, type, () =>
      [...new Set(book.all().map((model) => model.name))].flatMap((model) => {
        try {
          return monitor.report(model, '').flatMap(read);
        } catch {
          // no profile, no series
          return [];
        }
      }),
    );
  const labelsOf = ({ model, version }: VersionDrift) => ({ model, version });
  const columns = (value: (column: ColumnDrift) => number) => (one: VersionDrift) =>
    one.columns
      .slice(0, seriesMax)
      .flatMap((column) =>
        Number.isFinite(value(column))
          ? [{ labels: { ...labelsOf(one), column: column.name }, value: value(column) }]
          : [],
      );
  family(
    'millrace_inference_drift_psi',
    'PSI of recent values beside training',
    'gauge',
    columns((of) => of.psi),
  );
  family(
    'millrace_inference_drift_missing_share',
    'share of recent values that are missing',
    'gauge',
    columns((of) => of.missingShare),
  );
  family('millrace_inference_drift_alerting', '1 while an alert of drift is raised', 'gauge', (one) => [
    { labels: labelsOf(one), value: one.alertingSinceUs > 0 ? 1 : 0 },
  ]);
  family('millrace_inference_outliers_total', 'predictions farther out than 0.1 % of training', 'counter', (one) => [
    { labels: labelsOf(one), value: one.outliers },
  ]);
}
