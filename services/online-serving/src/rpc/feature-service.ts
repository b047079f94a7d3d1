import { serving } from '@millrace/contracts';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import type { ReadFeatures } from '../app/read-features.ts';
import { encodeMatrix, type Matrix } from '../domain/matrix.ts';
import type { ReadRequest } from '../domain/request.ts';
import { decodeReadRequest } from './decode-request.ts';

/**
 * FeatureService over gRPC. Requests are decoded and answers encoded by hand: between the two, a request is a ReadRequest and an
 * answer a Matrix, whose bytes already are the wire's.
 */
export function featureService(deps: { readonly readFeatures: ReadFeatures }): ServiceBinding {
  return bindService(
    serving.FeatureServiceService,
    {
      async getFeatures(request, context) {
        const matrix = await deps.readFeatures(request as unknown as ReadRequest, context);
        return matrix as unknown as serving.GetFeaturesResponse;
      },
    },
    {
      getFeatures: {
        deserialize: (bytes: Buffer) => decodeReadRequest(bytes) as unknown as serving.GetFeaturesRequest,
        serialize: (response: unknown) => encodeMatrix(response as Matrix),
      },
    },
  );
}
