import { trainingSets } from '@millrace/contracts';
import type { History } from '@millrace/history';
import { MeshError } from '@millrace/kernel';
import { sqlName } from '../sql.ts';
import { isRandom } from './splitting.ts';

export type LintInput = {
  /** The set: label columns, features, sides of splits. */
  readonly table: string;
  readonly rows: number;
  readonly keys: readonly string[];
  readonly features: readonly string[];
  readonly split: trainingSets.TrainingSetSplit | undefined;
  readonly splitColumns: readonly string[];
  readonly target: string;
};

/** A feature that alone ranks the target's two values so well, or follows a numeric target so closely, gives it away. */
const aucMax = 0.98;
const correlationMax = 0.98;
/** The target is compared with features on about so many rows. */
const targetRowsMax = 200_000;
const findingsMax = 1_000;
const { K_FOLD, STRATIFIED_K_FOLD, GROUP_K_FOLD, STRATIFIED_GROUP_K_FOLD } = trainingSets.SplitKind;
const foldKinds: ReadonlySet<number> = new Set([K_FOLD, STRATIFIED_K_FOLD, GROUP_K_FOLD, STRATIFIED_GROUP_K_FOLD]);

/** Everything in the set that would make a model look better than it is; names columns, rows and the remedy. */
export async function findLeakage(history: History, input: LintInput): Promise<trainingSets.LeakageFinding[]> {
  const found = [
    ...(await futureLabels(history, input)),
    ...(await mixedTimes(history, input)),
    ...(await sharedGroups(history, input)),
    ...(await duplicates(history, input)),
    ...(await targetLeaks(history, input)),
  ];
  return found.slice(0, findingsMax);
}

type Counts = Readonly<Record<string, string | number | null>>;

async function one(history: History, sql: string): Promise<Counts> {
  const [row] = await history.query<Counts>(sql);
  return row ?? {};
}

async function futureLabels(history: History, { table }: LintInput): Promise<trainingSets.LeakageFinding[]> {
  const row = await one(history, `SELECT countIf(label_time > now64(6)) AS rows FROM ${sqlName(table)}`);
  return finding('time', ['label_time'], row.rows, (rows) => [
    `${rows} labels lie in the future: events that their features will need have not happened yet`,
    'leave out labels after now, or correct the unit of label_time',
  ]);
}

/** Each row is tested in its own fold and trained on in all others. */
function isFolds({ split }: LintInput): boolean {
  return split !== undefined && foldKinds.has(split.kind);
}

/** Test rows of an entity that a model was trained on at a later time. */
async function mixedTimes(history: History, input: LintInput): Promise<trainingSets.LeakageFinding[]> {
  const { table, keys, split, splitColumns } = input;
  if (split === undefined || !isRandom(split) || keys.length === 0) return [];
  const by = keys.map(sqlName).join(', ');
  const found = await Promise.all(
    splitColumns.map(async (column) => {
      const name = sqlName(column);
      const sql = isFolds(input)
        ? `SELECT countIf(arrayExists(f -> f.1 != ${name} AND f.2 > label_time, folds)) AS rows FROM ${sqlName(table)} AS r
           INNER JOIN (SELECT ${by}, groupArray(tuple(fold, latest)) AS folds
             FROM (SELECT ${by}, ${name} AS fold, max(label_time) AS latest FROM ${sqlName(table)} GROUP BY ${by}, fold) GROUP BY ${by}) AS f USING (${by})`
        : `SELECT countIf(${name} = 'test' AND label_time < latest) AS rows FROM (
             SELECT ${name}, label_time, maxIf(label_time, ${name} = 'train') OVER (PARTITION BY ${by}) AS latest FROM ${sqlName(table)})`;
      return finding('time', ['label_time', ...keys, column], (await one(history, sql)).rows, (rows) => [
        `${rows} test rows lie before training rows of the same ${keys.join(', ')}: the model has seen their future`,
        'split by time (time series, or a hold-out without a shuffle), or keep entities together (group_by)',
      ]);
    }),
  );
  return found.flat();
}

async function sharedGroups(history: History, input: LintInput): Promise<trainingSets.LeakageFinding[]> {
  const { table, split, splitColumns } = input;
  if (split === undefined || split.groupBy === '') return [];
  const group = sqlName(split.groupBy);
  const found = await Promise.all(
    splitColumns.map(async (column) => {
      const name = sqlName(column);
      const both = isFolds(input)
        ? `uniqExact(${name}) > 1`
        : `countIf(${name} = 'train') > 0 AND countIf(${name} = 'test') > 0`;
      const sql = `SELECT count() AS groups, sum(n) AS rows FROM (SELECT count() AS n FROM ${sqlName(table)} GROUP BY ${group} HAVING ${both})`;
      const { groups, rows: touched } = await one(history, sql);
      return finding('group', [split.groupBy, column], touched, (rows) => [
        `${groups} values of "${split.groupBy}" with ${rows} rows are both in training and in test`,
        'use a splitter that keeps groups together: GroupKFold, StratifiedGroupKFold or GroupShuffleSplit',
      ]);
    }),
  );
  return found.flat();
}

/** Rows that say the same in labels and features and are on both sides. */
async function duplicates(history: History, input: LintInput): Promise<trainingSets.LeakageFinding[]> {
  const { table, splitColumns } = input;
  const sides = splitColumns.map(sqlName);
  const found = await Promise.all(
    sides.map(async (side, at) => {
      const both = isFolds(input)
        ? `uniqExact(${side}) > 1`
        : `countIf(${side} = 'train') > 0 AND countIf(${side} = 'test') > 0`;
      const row = await one(
        history,
        `SELECT sum(n) AS rows FROM (
           SELECT count() AS n FROM (SELECT sipHash128(tuple(* EXCEPT (sample_id, ${sides.join(', ')}))) AS hash, ${sides.join(', ')} FROM ${sqlName(table)})
           GROUP BY hash HAVING ${both})`,
      );
      return finding('duplicate', [splitColumns[at] ?? ''], row.rows, (rows) => [
        `${rows} rows have an equal one on the other side of the split`,
        'take each label once, as SELECT DISTINCT, or split by a group that holds equal rows together',
      ]);
    }),
  );
  return found.flat();
}

/** Features that equal the target, decide it, or alone predict it almost perfectly. */
async function targetLeaks(history: History, input: LintInput): Promise<trainingSets.LeakageFinding[]> {
  const { table, features, target, rows } = input;
  if (target === '') return [];
  const types = new Map(
    (await history.query<{ name: string; type: string }>(`DESCRIBE TABLE ${sqlName(table)}`)).map((column) => [
      column.name,
      column.type,
    ]),
  );
  const targetType = types.get(target);
  if (targetType === undefined)
    throw new MeshError('INVALID_ARGUMENT', `the training set has no column "${target}" to be its target`, { target });
  const step = Math.max(1, Math.ceil(rows / targetRowsMax));
  const from = `FROM ${sqlName(table)} WHERE sample_id % ${step} = 0 AND isNotNull(${sqlName(target)})`;
  const { values } = await one(history, `SELECT uniqExact(${sqlName(target)}) AS values ${from}`);
  if (Number(values) < 2) return [];
  const y = isNumeric(targetType) ? `toFloat64(assumeNotNull(${sqlName(target)}))` : '';
  const found = await Promise.all(
    features.map(async (feature) => {
      const x = sqlName(feature);
      const both = `${from} AND isNotNull(${x})`;
      const decides = await one(
        history,
        `SELECT count() AS rows, uniqExact(${x}) AS own, uniqExact(${x}, ${sqlName(target)}) AS pairs, uniqExact(${sqlName(target)}) AS values ${both}`,
      );
      const seen = Number(decides.rows);
      if (seen < 20 || Number(decides.values) < 2) return [];
      const why =
        Number(decides.pairs) === Number(decides.own) && Number(decides.own) <= seen / 10
          ? 'each of its values has one value of the target'
          : isNumeric(types.get(feature) ?? '') && y !== ''
            ? await numericLeak(history, `toFloat64(assumeNotNull(${x}))`, y, both, Number(decides.values))
            : undefined;
      if (why === undefined) return [];
      return finding('target', [feature, target], seen * step, () => [
        `feature "${feature}" gives the target "${target}" away: ${why}`,
        'leave the feature out, or build it from events before the outcome is known',
      ]);
    }),
  );
  return found.flat();
}

async function numericLeak(history: History, x: string, y: string, both: string, values: number) {
  if (values === 2) {
    const { auc } = await one(
      history,
      `SELECT arrayROCAUC(groupArray(x), groupArray(y > least_y)) AS auc FROM (SELECT ${x} AS x, ${y} AS y, min(${y}) OVER () AS least_y ${both})`,
    );
    const area = Math.max(Number(auc), 1 - Number(auc));
    return area >= aucMax ? `its AUC alone is ${area.toFixed(4)} (${aucMax} or more is suspect)` : undefined;
  }
  const { r } = await one(history, `SELECT corrStable(${x}, ${y}) AS r ${both}`);
  const correlation = Math.abs(Number(r));
  return correlation >= correlationMax
    ? `their correlation is ${Number(r).toFixed(4)} (${correlationMax} or more is suspect)`
    : undefined;
}

function isNumeric(type: string): boolean {
  return /^(Nullable\()?(U?Int|Float|Bool)/.test(type);
}

function finding(
  kind: string,
  columns: readonly string[],
  touched: string | number | null | undefined,
  words: (rows: number) => readonly [message: string, remedy: string],
): trainingSets.LeakageFinding[] {
  const rows = Number(touched ?? 0);
  if (rows === 0) return [];
  const [message, remedy] = words(rows);
  return [{ kind, columns: [...columns], rows: BigInt(rows), message, remedy }];
}
