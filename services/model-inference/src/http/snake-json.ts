import { modelConfig } from '@millrace/contracts';

/** A message as Triton's JSON: names in snake case, whole numbers as numbers. */
export function snakeJson(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(snakeJson);
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [key, snakeJson(item)]));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .map(([key, item]) => [key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), snakeJson(item)]),
  );
}

const typeNames = Object.fromEntries(Object.entries(modelConfig.DataType).map(([name, number]) => [number, name]));

/** The tensors, batching and version policy of a configuration; enums by name. */
export function configJson(config: modelConfig.ModelConfig): unknown {
  const { name, platform, backend, maxBatchSize, versionPolicy, input, output } = config;
  const typed = <T extends { readonly dataType: number }>({ dataType, ...tensor }: T) => ({
    ...tensor,
    data_type: typeNames[dataType],
  });
  const policy = versionPolicy?.policyChoice;
  return snakeJson({
    name,
    platform,
    backend,
    maxBatchSize,
    versionPolicy: policy ? { [policy.$case]: policy.value } : {},
    input: input.map(typed),
    output: output.map(typed),
  });
}
