import { modelConfig } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { dataTypeOf, kindOf } from './model-config.ts';
import type { SchedulePolicy } from './schedule-policy.ts';
import type { TensorSpec } from './tensor.ts';
import { instanceKinds } from './triton/config-fields.ts';

/** How a model is served after its configuration; what is left out is the server's choice. */
export interface ServingPlan {
  readonly config: modelConfig.ModelConfig;
  /** Rows of a request, at most; 0: shapes are whole and requests run alone. */
  readonly rowsMax: number;
  /** How requests share runs; undefined: they run alone. */
  readonly batching: { readonly delayMs: number; readonly preferredRows: readonly number[] } | undefined;
  readonly schedule: SchedulePolicy | undefined;
  /** Requests that wait; undefined: the server's limit. */
  readonly queueMax: number | undefined;
  /** Workers that have the model; undefined: as many as there are. */
  readonly instances: number | undefined;
  /** Intra-op threads; undefined: the server's. */
  readonly threads: number | undefined;
  readonly isCached: boolean;
}

/** Priorities that the scheduler tells apart. */
const levelsMax = 3;
const requestsMax = 2 ** 20;

/** INVALID_ARGUMENT or UNSUPPORTED name the field and what it may be. */
export function servingPlan(
  config: modelConfig.ModelConfig,
  of: { readonly name: string; readonly format: string; readonly workers: number },
): ServingPlan {
  const wrong = (field: string, message: string) =>
    new MeshError('INVALID_ARGUMENT', `configuration of model "${of.name}": ${field} ${message}`, {
      model: of.name,
      field,
    });
  const kind = kindOf(of.format);
  const mustBe = (field: string, given: string, served: string) => {
    if (given !== '' && given !== served) throw wrong(field, `is "${given}", and this model's is "${served}"`);
  };
  mustBe('name', config.name, of.name);
  mustBe('platform', config.platform, kind.platform);
  mustBe('backend', config.backend, kind.backend);
  if (config.maxBatchSize < 0) throw wrong('max_batch_size', `is ${config.maxBatchSize}; it takes 0 or more`);
  const batching = config.schedulingChoice?.value;
  if (batching && config.maxBatchSize === 0)
    throw wrong('dynamic_batching', 'needs max_batch_size above 0: how many rows a batch may have');
  return {
    config,
    rowsMax: config.maxBatchSize,
    batching: batching && {
      delayMs: Number(batching.maxQueueDelayMicroseconds) / 1000,
      preferredRows: preferredRows(batching, config.maxBatchSize, wrong),
    },
    schedule: batching && scheduleOf(batching, wrong),
    queueMax: batching?.defaultQueuePolicy?.maxQueueSize || undefined,
    instances: instancesOf(config, of.workers, wrong),
    threads: threadsOf(config, of.format, wrong),
    isCached: config.responseCache?.enable === true,
  };
}

type Wrong = (field: string, message: string) => MeshError;

function preferredRows(batching: modelConfig.ModelDynamicBatching, max: number, wrong: Wrong): readonly number[] {
  for (const rows of batching.preferredBatchSize)
    if (rows < 1 || rows > max)
      throw wrong('preferred_batch_size', `has ${rows}; it takes 1 to ${max}, which is max_batch_size`);
  return batching.preferredBatchSize.toSorted((a, b) => a - b);
}

function scheduleOf(batching: modelConfig.ModelDynamicBatching, wrong: Wrong): SchedulePolicy | undefined {
  const { defaultQueuePolicy: queue } = batching;
  const [levels, level] = [Number(batching.priorityLevels), Number(batching.defaultPriorityLevel)];
  if (levels > levelsMax) throw wrong('priority_levels', `is ${levels}; there are at most ${levelsMax}`);
  if (levels > 0 && (level < 1 || level > levels))
    throw wrong('default_priority_level', `is ${level}; with ${levels} priority_levels it takes 1 to ${levels}`);
  if (levels === 0 && level > 0) throw wrong('default_priority_level', `is ${level}, and there are no priority_levels`);
  if (queue && queue.timeoutAction !== modelConfig.ModelQueuePolicy_TimeoutAction.REJECT)
    throw wrong('timeout_action', 'is DELAY; only REJECT is served: nobody waits for what comes too late');
  if (queue && queue.maxQueueSize > requestsMax)
    throw wrong('max_queue_size', `is ${queue.maxQueueSize}; it takes at most ${requestsMax}`);
  if (!queue && levels === 0) return undefined;
  return {
    priorityLevels: levels,
    defaultPriority: level,
    defaultTimeoutMs: Number(queue?.defaultTimeoutMicroseconds ?? 0n) / 1000,
    // where no policy of queues is written, callers say how long they wait
    allowTimeoutOverride: queue?.allowTimeoutOverride ?? true,
  };
}

function instancesOf(config: modelConfig.ModelConfig, workers: number, wrong: Wrong): number | undefined {
  let instances = 0;
  for (const { kind, count } of config.instanceGroup) {
    if (kind === instanceKinds.KIND_GPU)
      throw wrong('instance_group', 'has KIND_GPU; models run on the CPU: write KIND_CPU');
    if (kind === instanceKinds.KIND_MODEL) throw wrong('instance_group', 'has KIND_MODEL; write KIND_CPU');
    if (count < 0) throw wrong('instance_group', `has count ${count}; it takes 1 or more`);
    instances += count === 0 ? 1 : count;
  }
  if (instances > workers)
    throw wrong(
      'instance_group',
      `asks for ${instances} instances, and there are ${workers} workers (MILLRACE_INFERENCE_WORKERS)`,
    );
  return instances === 0 ? undefined : instances;
}

const threadsParameter = 'intra_op_thread_count';

function threadsOf(config: modelConfig.ModelConfig, format: string, wrong: Wrong): number | undefined {
  for (const name of config.parameters.keys())
    if (name !== threadsParameter) throw wrong('parameters', `has "${name}"; it takes ${threadsParameter}`);
  const given = config.parameters.get(threadsParameter)?.stringValue;
  if (given === undefined) return undefined;
  if (format !== 'onnx') throw wrong(threadsParameter, `is for ONNX models, and this one is ${format}`);
  const threads = Number(given);
  if (!/^\d+$/.test(given) || threads > 256)
    throw wrong(threadsParameter, `is "${given}"; it takes 0 (the server's) to 256`);
  return threads === 0 ? undefined : threads;
}

/**
 * The tensors that a configured model has: those of its file, in the shapes that the configuration narrows them to, and of the outputs those that
 * it lists. INVALID_ARGUMENT where the two disagree, with both.
 */
export function plannedTensors(
  name: string,
  plan: ServingPlan,
  model: { readonly inputs: readonly TensorSpec[]; readonly outputs: readonly TensorSpec[] },
): { readonly inputs: readonly TensorSpec[]; readonly outputs: readonly TensorSpec[] } {
  const { config, rowsMax } = plan;
  if (rowsMax > 0)
    for (const { name: tensor, shape } of [...model.inputs, ...model.outputs])
      if (shape[0] !== -1)
        throw new MeshError(
          'INVALID_ARGUMENT',
          `configuration of model "${name}": max_batch_size is ${rowsMax}, and "${tensor}" of shape [${shape}] does not begin with a number of rows that is free; write 0`,
          { model: name, tensor },
        );
  const missing =
    config.input.length === 0
      ? undefined
      : model.inputs.find((spec) => !config.input.some((input) => input.name === spec.name));
  if (missing)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `configuration of model "${name}": input "${missing.name}" of the model is not listed; list all inputs or none`,
      { model: name, tensor: missing.name },
    );
  const narrowed = (kind: 'input' | 'output') => (given: Described) =>
    narrow(name, kind, given, model[`${kind}s`], rowsMax > 0);
  const inputs = config.input.map(narrowed('input'));
  const outputs = config.output.map(narrowed('output'));
  return {
    inputs:
      inputs.length === 0
        ? model.inputs
        : model.inputs.map((spec) => inputs.find((input) => input.name === spec.name) ?? spec),
    outputs: outputs.length === 0 ? model.outputs : outputs,
  };
}

interface Described {
  readonly name: string;
  readonly dataType: modelConfig.DataType;
  readonly dims: readonly bigint[];
}

function narrow(
  model: string,
  kind: 'input' | 'output',
  given: Described,
  specs: readonly TensorSpec[],
  hasRows: boolean,
): TensorSpec {
  const wrong = (message: string) =>
    new MeshError('INVALID_ARGUMENT', `configuration of model "${model}": ${kind} "${given.name}" ${message}`, {
      model,
      tensor: given.name,
    });
  const spec = specs.find(({ name }) => name === given.name);
  if (!spec) throw wrong(`is none of the model; its ${kind}s: ${specs.map(({ name }) => name).join(', ')}`);
  if (given.dataType !== dataTypeOf(spec.datatype))
    throw wrong(`has data_type ${typeName(given.dataType)}, and the model's is ${typeName(dataTypeOf(spec.datatype))}`);
  if (given.dims.length === 0 && spec.shape.length > (hasRows ? 1 : 0)) throw wrong('has no dims');
  const dims = [...(hasRows ? [-1] : []), ...given.dims.map(Number)];
  const fits =
    dims.length === spec.shape.length &&
    spec.shape.every((size, at) => dims[at] === size || (size === -1 && (dims[at] ?? 0) > 0));
  if (fits) return { ...spec, shape: dims };
  const rows = hasRows ? ' behind the rows of max_batch_size' : '';
  throw wrong(`has dims [${given.dims}]${rows}, and the model's shape is [${spec.shape}] (-1: any)`);
}

const typeNames = Object.fromEntries(Object.entries(modelConfig.DataType).map(([name, number]) => [number, name]));

function typeName(type: modelConfig.DataType): string {
  return typeNames[type] ?? String(type);
}
