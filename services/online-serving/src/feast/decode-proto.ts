import { feastServing, type feastTypes } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import type { FeastRead, KeyScalar } from './request.ts';

/** A GetOnlineFeaturesRequest's bytes → the request. Request data may stand in `request_context` (Go, Java) or among the entities (Python). */
export function decodeRead(bytes: Buffer): FeastRead {
  const { kind, entities, requestContext, fullFeatureNames, includeFeatureViewVersionMetadata } =
    feastServing.GetOnlineFeaturesRequest.decode(bytes);
  return {
    featureService: kind?.$case === 'featureService' ? kind.value : '',
    features: kind?.$case === 'features' ? kind.value.val : [],
    entities: new Map(
      [...entities, ...requestContext].map(([name, { val }]) => [name, val.map((value) => scalarOf(name, value))]),
    ),
    fullFeatureNames,
    viewMetadata: includeFeatureViewVersionMetadata,
  };
}

function scalarOf(name: string, { val }: feastTypes.Value): KeyScalar | null {
  switch (val?.$case) {
    case undefined:
    case 'nullVal':
      return null;
    case 'int64Val':
    case 'unixTimestampVal':
      return BigInt.asIntN(53, val.value) === val.value ? Number(val.value) : val.value;
    case 'int32Val':
    case 'doubleVal':
    case 'floatVal':
    case 'stringVal':
    case 'boolVal':
    case 'uuidVal':
    case 'timeUuidVal':
      return val.value;
    default:
      throw new MeshError('WRONG_TYPE', `entity "${name}" is a ${val?.$case}; send numbers, texts or booleans`, {
        joinKey: name,
        sent: val?.$case ?? '',
      });
  }
}
