import type { compute } from '@millrace/contracts';
import {
  type ElementType,
  elementOf,
  type FeatureType,
  type FeatureValue,
  type FieldType,
  isListType,
  isVectorType,
  type ViewDefinition,
} from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import type { AsOfSample } from '../app/as-of.ts';
import type { ServedMismatch } from '../app/report-mismatches.ts';

/** The wire's samples in domain words: keys typed and in the view's order. Throws naming the sample and the key. */
export function toAsOfSamples(samples: readonly compute.Sample[], view: ViewDefinition): readonly AsOfSample[] {
  return samples.map((sample, index) => ({
    keys: view.joinKeys.map((joinKey) => {
      const text = sample.keys.get(joinKey.name);
      if (text === undefined) {
        throw new MeshError(
          'MISSING_JOIN_KEY',
          `sample ${index} has no join key "${joinKey.name}" of view "${view.name}"; give every join key as text`,
          { sample: index, key: joinKey.name, view: view.name },
        );
      }
      return keyFromText(text, joinKey.type, index, joinKey.name);
    }),
    asOfUs: Number(sample.asOfUs),
    position: Number(sample.position),
  }));
}

export function fromSampleValue({ kind }: compute.SampleValue): FeatureValue {
  if (kind === undefined) return null;
  if (kind.$case !== 'listValue') return kind.value;
  // neither nulls nor lists are in a list
  return kind.value.values.flatMap((each) => fromSampleValue(each) ?? []);
}

export function toSampleValue(value: FeatureValue, type: FeatureType | ElementType): compute.SampleValue {
  if (value === null) return { kind: undefined };
  if (typeof value === 'object') {
    const element = type === 'FLOAT32' ? undefined : elementOf(type);
    const values = value.map((each) => toSampleValue(each, element ?? 'STRING'));
    return { kind: { $case: 'listValue', value: { values } } };
  }
  if ((type !== 'FLOAT32' && isListType(type)) || isVectorType(type)) return { kind: undefined };
  switch (type) {
    case 'BOOL':
      return { kind: { $case: 'boolValue', value: value === true || value === 1 || value === 1n } };
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

export function toServedMismatch(mismatch: ServedMismatch): compute.ServedMismatch {
  return {
    ...mismatch,
    keys: new Map(mismatch.keys),
    asOfUs: BigInt(mismatch.asOfUs),
    position: BigInt(mismatch.position),
    served: toSampleValue(mismatch.served, mismatch.type),
    expected: toSampleValue(mismatch.expected, mismatch.type),
    servedUs: BigInt(mismatch.servedUs),
    foundUs: BigInt(mismatch.foundUs),
  };
}

function keyFromText(text: string, type: FieldType, sample: number, key: string): string | bigint | boolean {
  if (type === 'STRING') return text;
  if (type === 'BOOL' && (text === 'true' || text === 'false')) return text === 'true';
  if ((type === 'INT64' || type === 'TIMESTAMP') && /^-?\d{1,19}$/.test(text)) return BigInt(text);
  throw new MeshError('WRONG_TYPE', `sample ${sample} has "${text}" for join key "${key}", which is ${type}`, {
    sample,
    key,
    value: text,
    type,
  });
}
