import { type compute, parity } from '@millrace/contracts';
import { type NatsLink, subjects } from '@millrace/events';
import {
  type ElementType,
  elementOf,
  type FeatureType,
  type FeatureValue,
  isListType,
  isVectorType,
} from '@millrace/features';
import type { PublishServed, ServedRow, ServedRows } from '../app/served-sampler.ts';

/** Core NATS, in no stream: nobody waits, and while the connection is away samples are dropped, not kept. */
export function createServedPublisher({ nc }: NatsLink): PublishServed {
  let connected = true;
  void (async () => {
    for await (const { type } of nc.status()) {
      if (type === 'disconnect') connected = false;
      if (type === 'reconnect') connected = true;
    }
  })();
  return (served) => {
    if (!connected || nc.isClosed()) return false;
    nc.publish(subjects.served(served.view.name), parity.ServedRows.encode(toWire(served)).finish());
    return true;
  };
}

function toWire({ featureService, view, keyNames, servedUs, rows }: ServedRows): parity.ServedRows {
  const types = view.features.map(({ type }) => type);
  return {
    view: view.name,
    version: view.version,
    features: view.features.map(({ featureIndex }) => view.definition.features[featureIndex]?.name ?? ''),
    featureService,
    servedUs: BigInt(servedUs),
    rows: rows.map((row) => ({ sample: toSample(row, keyNames, types), statuses: Buffer.from(row.statuses) })),
  };
}

function toSample(row: ServedRow, keyNames: readonly string[], types: readonly FeatureType[]): compute.Sample {
  return {
    keys: new Map(keyNames.map((name, at) => [name, String(row.keys[at])])),
    asOfUs: BigInt(row.asOfUs),
    position: BigInt(row.position),
    served: row.values.map((value, at) => toSampleValue(value, types[at] ?? 'DOUBLE')),
  };
}

function toSampleValue(value: FeatureValue, type: FeatureType | ElementType): compute.SampleValue {
  if (value === null) return { kind: undefined };
  if (typeof value === 'object') {
    const element = type === 'FLOAT32' ? undefined : elementOf(type);
    const values = value.map((each) => toSampleValue(each, element ?? 'STRING'));
    return { kind: { $case: 'listValue', value: { values } } };
  }
  if ((type !== 'FLOAT32' && isListType(type)) || isVectorType(type)) return { kind: undefined };
  switch (type) {
    case 'BOOL':
      return { kind: { $case: 'boolValue', value: Boolean(value) } };
    case 'INT64':
    case 'TIMESTAMP':
      return { kind: { $case: 'int64Value', value: BigInt(value) } };
    case 'DOUBLE':
    case 'FLOAT32':
      return { kind: { $case: 'doubleValue', value: Number(value) } };
    case 'STRING':
      return { kind: { $case: 'stringValue', value: String(value) } };
    default:
      return type satisfies never;
  }
}
