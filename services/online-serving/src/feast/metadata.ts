import { feastServing } from '@millrace/contracts';
import { encodeField } from '../domain/wire.ts';

export type ViewMetadata = { readonly name: string; readonly version: number };

/** The end of an answer in JSON, from the end of `results` on. */
export function jsonMetadata(columns: readonly string[], views: readonly ViewMetadata[]): Buffer {
  const metadata = {
    feature_names: columns,
    ...(views.length > 0
      ? { feature_view_metadata: views.map(({ name, version }) => (version === 0 ? { name } : { name, version })) }
      : {}),
  };
  return Buffer.from(`],"metadata":${JSON.stringify(metadata)}}`);
}

/** The `metadata` field of a GetOnlineFeaturesResponse. */
export function protoMetadata(columns: readonly string[], views: readonly ViewMetadata[]): Buffer {
  const metadata = { featureNames: { val: [...columns] }, featureViewMetadata: [...views] };
  return encodeField(1, Buffer.from(feastServing.GetOnlineFeaturesResponseMetadata.encode(metadata).finish()));
}
