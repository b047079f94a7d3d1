import { MeshError } from '@millrace/kernel';

/** A class of `feast.errors`, which Feast's SDK raises again on the client's side. */
type FeastClass =
  | 'FeastError'
  | 'FeastObjectNotFoundException'
  | 'FeastPermissionError'
  | 'FeatureNameCollisionError'
  | 'FeatureServiceNotFoundException'
  | 'FeatureViewNotFoundException'
  | 'PushSourceNotFoundException';

/** HTTP statuses as Feast gives them, and 4xx for what is the caller's mistake where Feast says 500. */
const byCode: Readonly<Record<number, number>> = {
  1: 499,
  3: 422,
  4: 504,
  5: 404,
  6: 409,
  7: 403,
  8: 429,
  9: 409,
  10: 409,
  14: 503,
  16: 401,
};

export function feastHttpStatus(error: MeshError): number {
  return error.reason === 'UNKNOWN_SOURCE' ? 422 : (byCode[error.code] ?? 500);
}

/** A JSON string that holds JSON, as Feast's server answers and its SDK reads. */
export function feastErrorBody(error: MeshError): string {
  const detail = { module: 'feast.errors', class: classOf(error), message: error.message };
  return JSON.stringify(JSON.stringify(detail));
}

function classOf(error: MeshError): FeastClass {
  switch (error.reason) {
    case 'UNKNOWN_FEATURE_SERVICE':
      return 'FeatureServiceNotFoundException';
    case 'UNKNOWN_FEATURE_VIEW':
      return 'FeatureViewNotFoundException';
    case 'UNKNOWN_SOURCE':
      return 'PushSourceNotFoundException';
    default:
      if (error.metadata.collision !== undefined) return 'FeatureNameCollisionError';
      if (error.code === 5) return 'FeastObjectNotFoundException';
      return error.code === 7 ? 'FeastPermissionError' : 'FeastError';
  }
}

/** gRPC has no word for it in Feast but INVALID_ARGUMENT. */
export function asInvalidArgument(thrown: unknown): unknown {
  if (!(thrown instanceof MeshError) || thrown.code !== 5) return thrown;
  return new MeshError('INVALID_ARGUMENT', thrown.message, thrown.metadata, { cause: thrown });
}
