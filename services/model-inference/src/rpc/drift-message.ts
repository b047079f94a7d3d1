import type { inference } from '@millrace/contracts';
import type { VersionDrift } from '../app/drift-monitor.ts';

export function driftMessage(of: VersionDrift, rowsMin: number): inference.ModelDrift {
  return {
    model: of.model,
    modelVersion: of.version,
    rows: BigInt(of.rows),
    rowsMin: BigInt(rowsMin),
    rowsTotal: BigInt(of.rowsTotal),
    outliers: BigInt(of.outliers),
    alerting: of.alertingSinceUs > 0,
    alertingSinceUs: BigInt(of.alertingSinceUs),
    columns: of.columns.map(({ signs, ...column }) => ({ ...column, signs: [...signs] })),
  };
}
