import { feastGrpc, feastServing, type feastTypes } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { bindService, type CallContext, type ServiceBinding } from '@millrace/rpc';
import type { Full } from '../app/metrics.ts';
import { decodeRead } from './decode-proto.ts';
import { encodeProto } from './encode-proto.ts';
import { asInvalidArgument } from './errors.ts';
import type { FeastAnswer, ReadFeast } from './feast-read.ts';
import { type Frame, parseFrame } from './frame.ts';
import type { Push } from './push.ts';
import type { FeastRead } from './request.ts';

/** The release whose contracts these are. */
const servingInfo = { version: '0.67.0' };

/**
 * Both services of Feast: Python's clients speak GrpcFeatureServer, Go's and Java's feast.serving.ServingService. Reads are decoded and
 * encoded by hand, as the native one is.
 */
export function feastServices(deps: {
  readonly readFeast: ReadFeast;
  readonly push: Push;
  readonly full: Full;
}): ServiceBinding[] {
  const { readFeast, push, full } = deps;
  const gate = { getOnlineFeatures: ({ caller }: CallContext) => full(caller, 1) };
  const getOnlineFeatures = async (request: unknown, context: CallContext) =>
    (await readFeast(request as FeastRead, context)) as unknown as feastServing.GetOnlineFeaturesResponse;
  const codec = {
    deserialize: (bytes: Buffer) => decodeRead(bytes) as unknown as feastServing.GetOnlineFeaturesRequest,
    serialize: (response: unknown) => encodeProto(response as FeastAnswer),
  };
  return [
    bindService(
      feastServing.ServingServiceService,
      { getFeastServingInfo: () => servingInfo, getOnlineFeatures },
      { getOnlineFeatures: codec },
      gate,
    ),
    bindService(
      feastGrpc.GrpcFeatureServerService,
      {
        getOnlineFeatures,
        async push({ features, typedFeatures, streamFeatureView, to }, context) {
          await push.toSource(streamFeatureView, to, rowOf(features, typedFeatures), callOf(context)).catch(refuse);
          return { status: true };
        },
        async writeToOnlineStore({ features, typedFeatures, featureViewName }, context) {
          await push.toView(featureViewName, rowOf(features, typedFeatures), callOf(context)).catch(refuse);
          return { status: true };
        },
      },
      { getOnlineFeatures: codec },
      gate,
    ),
  ];
}

function refuse(thrown: unknown): never {
  throw asInvalidArgument(thrown);
}

function callOf({ metadata }: CallContext) {
  return { idempotencyKey: metadata.get('idempotency-key') };
}

/** A push over gRPC is one row, of texts or of values. */
function rowOf(features: ReadonlyMap<string, string>, typed: ReadonlyMap<string, feastTypes.Value>): Frame {
  if (features.size > 0 && typed.size > 0) {
    throw new MeshError('INVALID_ARGUMENT', 'only one of features or typed_features may be set, not both', {
      field: 'typed_features',
    });
  }
  const row = typed.size > 0 ? [...typed].map(([name, value]) => [name, [scalarOf(name, value)]]) : oneRow(features);
  return parseFrame(Object.fromEntries(row));
}

function oneRow(features: ReadonlyMap<string, string>) {
  return [...features].map(([name, text]) => [name, [text]]);
}

function scalarOf(name: string, { val }: feastTypes.Value): unknown {
  switch (val?.$case) {
    case undefined:
    case 'nullVal':
      return null;
    case 'stringVal':
    case 'int32Val':
    case 'int64Val':
    case 'doubleVal':
    case 'floatVal':
    case 'boolVal':
    case 'unixTimestampVal':
    case 'jsonVal':
    case 'uuidVal':
    case 'timeUuidVal':
    case 'decimalVal':
      return val.value;
    case 'zonedTimestampVal':
      return val.value.unixTimestamp;
    default:
      throw new MeshError(
        'WRONG_TYPE',
        `column "${name}" is a ${val?.$case}; sources have fields of booleans, integers, floats, texts and times`,
        { column: name, type: val?.$case ?? '' },
      );
  }
}
