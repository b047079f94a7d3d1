import type { oip } from '@millrace/contracts';
import type { ModelFacts } from '@millrace/onnx';

/** What a model's file says of itself, as parameters of its metadata. */
export function factsParameters(facts: ModelFacts): Map<string, oip.InferParameter> {
  const opset = Object.entries(facts.opsets).map(([domain, version]) => `${domain} ${version}`);
  const texts: readonly (readonly [string, string])[] = [
    ['opset', opset.join(', ')],
    ['producer', facts.producer],
    ['producer_version', facts.producerVersion],
    ['normalised', facts.changes.join('; ')],
    ['batching', facts.batching.t],
    ['batching_reason', facts.batching.t === 'unsafe' ? facts.batching.reason : ''],
    ...Object.entries(facts.labels).map(([output, labels]) => [`labels.${output}`, JSON.stringify(labels)] as const),
    ...Object.entries(facts.metadata).map(([key, value]) => [`metadata.${key}`, value] as const),
  ];
  return new Map<string, oip.InferParameter>([
    ...(facts.irVersion > 0
      ? [['ir_version', { parameterChoice: { $case: 'int64Param', value: BigInt(facts.irVersion) } }] as const]
      : []),
    ...texts
      .filter(([, value]) => value !== '')
      .map(([key, value]) => [key, { parameterChoice: { $case: 'stringParam', value } }] as const),
  ]);
}
