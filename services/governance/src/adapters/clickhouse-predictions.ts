import type { History } from '@millrace/history';
import type { PredictionGroup, PredictionLog } from '../app/lineage.ts';

const table = 'predictions';
const groupsMax = 1_000;

const columns = `deployment, model, model_version AS modelVersion, feature_service AS featureService,
  feature_service_version AS featureServiceVersion, count() AS count,
  toUnixTimestamp64Micro(min(predicted)) AS firstUs, toUnixTimestamp64Micro(max(predicted)) AS lastUs`;

/** Predictions as model-inference writes them. It connects at the first question: the registry must go on without history. */
export function createPredictionLog(open: () => Promise<History>): PredictionLog & { close(): Promise<void> } {
  let opening: Promise<History> | undefined;

  async function ask(where: string, params: Readonly<Record<string, unknown>>): Promise<readonly PredictionGroup[]> {
    opening ??= open().catch((thrown: unknown) => {
      opening = undefined;
      throw thrown;
    });
    const history = await opening;
    const [exists] = await history.query<{ result: number | string }>(`EXISTS TABLE ${table}`);
    if (Number(exists?.result ?? 0) === 0) return [];
    const rows = await history.query<PredictionGroup>(
      `SELECT ${columns} FROM ${table} ${where} GROUP BY deployment, model, model_version, feature_service, feature_service_version
       ORDER BY lastUs DESC LIMIT ${groupsMax}`,
      params,
    );
    return rows.map((row) => ({
      ...row,
      count: Number(row.count),
      firstUs: Number(row.firstUs),
      lastUs: Number(row.lastUs),
    }));
  }

  return {
    groups: () => ask('', {}),
    find: async (predictionId) => (await ask('WHERE prediction_id = {id:String}', { id: predictionId }))[0],
    close: async () => (await opening?.catch(() => undefined))?.close(),
  };
}
