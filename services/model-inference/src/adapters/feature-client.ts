import { serving } from '@millrace/contracts';
import { connectUnary } from '@millrace/rpc';
import type { Telemetry } from '@millrace/runtime';
import type { FeaturesRead } from '../domain/features-read.ts';
import { createFeaturesDecoder } from './decode-features.ts';

/** online-serving's reads, for vectors. */
export function connectFeatures(address: string, telemetry: Telemetry) {
  const client = connectUnary(serving.FeatureServiceService, address, {
    telemetry,
    caller: 'model-inference',
    codecs: { getFeatures: { deserialize: createFeaturesDecoder() } },
  });
  return {
    read: async (request: serving.GetFeaturesRequest, options: { readonly timeoutMs: number }) =>
      // what the decoder makes
      (await client.getFeatures(request, options)) as unknown as FeaturesRead,
    close: () => client.close(),
  };
}
