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

const kindNames = ['KIND_AUTO', 'KIND_GPU', 'KIND_CPU', 'KIND_MODEL'] as const;
const timeoutActionNames = ['REJECT', 'DELAY'] as const;

/** A configuration; enums by name, and of a oneof its member. */
export function configJson(config: modelConfig.ModelConfig): unknown {
  const { name, platform, backend, maxBatchSize, versionPolicy, input, output, schedulingChoice } = config;
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
    instanceGroup: config.instanceGroup.map(({ kind, ...group }) => ({ ...group, kind: kindNames[kind] })),
    defaultModelFilename: config.defaultModelFilename,
    dynamicBatching: schedulingChoice && batchingJson(schedulingChoice.value),
    parameters: config.parameters,
    modelWarmup: config.modelWarmup.map(({ inputs, ...warmup }) => ({
      ...warmup,
      inputs: new Map(
        [...inputs].map(([tensor, { inputDataType, ...of }]) => [
          tensor,
          { ...typed(of), ...(inputDataType && { [inputDataType.$case]: inputDataType.value }) },
        ]),
      ),
    })),
    responseCache: config.responseCache,
  });
}

function batchingJson({ defaultQueuePolicy: policy, ...batching }: modelConfig.ModelDynamicBatching) {
  if (!policy) return batching;
  return { ...batching, defaultQueuePolicy: { ...policy, timeoutAction: timeoutActionNames[policy.timeoutAction] } };
}
