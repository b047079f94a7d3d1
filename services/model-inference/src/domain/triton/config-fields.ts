import { modelConfig } from '@millrace/contracts';

/** What a field of a configuration may hold, and where it goes in the message. */
export type ConfigField =
  | {
      readonly t: 'string' | 'bool' | 'int32' | 'uint32' | 'int64' | 'uint64';
      readonly to: string;
      readonly isRepeated?: true;
    }
  | { readonly t: 'enum'; readonly to: string; readonly values: Readonly<Record<string, number>> }
  | { readonly t: 'message'; readonly to: string; readonly of: ConfigFields; readonly isRepeated?: true }
  | { readonly t: 'map'; readonly to: string; readonly of: ConfigFields }
  /** One of Triton's that is not served; `unless` is the value that asks for nothing. */
  | { readonly t: 'refused'; readonly why: string; readonly unless?: readonly string[] };

export interface ConfigFields {
  readonly name: string;
  readonly fields: Readonly<Record<string, ConfigField>>;
  /** Of a oneof: its field in the message, and the names of its members. */
  readonly oneof?: { readonly to: string; readonly members: readonly string[] };
}

const { DataType } = modelConfig;
/** By the names that Triton's files have. */
export const instanceKinds = { KIND_AUTO: 0, KIND_GPU: 1, KIND_CPU: 2, KIND_MODEL: 3 } as const satisfies Readonly<
  Record<string, modelConfig.ModelInstanceGroup_Kind>
>;
const falseOnly = ['false'];
const refused = (why: string, unless?: readonly string[]): ConfigField =>
  unless ? { t: 'refused', why, unless } : { t: 'refused', why };

const reshape = refused(
  'tensors have the shape that the model gives them; export the model with the shape that callers send',
);
const shapeTensor = refused("shape tensors are TensorRT's", falseOnly);
const linear = refused('formats of TensorRT are not served', falseOnly);

const input: ConfigFields = {
  name: 'ModelInput',
  fields: {
    name: { t: 'string', to: 'name' },
    data_type: { t: 'enum', to: 'dataType', values: DataType },
    format: refused('images come as tensors, in the order that the model wants', ['FORMAT_NONE', '0']),
    dims: { t: 'int64', to: 'dims', isRepeated: true },
    reshape,
    is_shape_tensor: shapeTensor,
    allow_ragged_batch: refused('requests of different shapes run in batches of their own', falseOnly),
    optional: refused('every input must be given', falseOnly),
    is_non_linear_format_io: linear,
  },
};

const output: ConfigFields = {
  name: 'ModelOutput',
  fields: {
    name: { t: 'string', to: 'name' },
    data_type: { t: 'enum', to: 'dataType', values: DataType },
    dims: { t: 'int64', to: 'dims', isRepeated: true },
    reshape,
    label_filename: refused('the classification extension is not served; labels stand in the metadata of the model'),
    is_shape_tensor: shapeTensor,
    is_non_linear_format_io: linear,
  },
};

const versionPolicy: ConfigFields = {
  name: 'ModelVersionPolicy',
  oneof: { to: 'policyChoice', members: ['latest', 'all', 'specific'] },
  fields: {
    latest: {
      t: 'message',
      to: 'latest',
      of: { name: 'Latest', fields: { num_versions: { t: 'uint32', to: 'numVersions' } } },
    },
    all: { t: 'message', to: 'all', of: { name: 'All', fields: {} } },
    specific: {
      t: 'message',
      to: 'specific',
      of: { name: 'Specific', fields: { versions: { t: 'int64', to: 'versions', isRepeated: true } } },
    },
  },
};

const queuePolicy: ConfigFields = {
  name: 'ModelQueuePolicy',
  fields: {
    timeout_action: {
      t: 'enum',
      to: 'timeoutAction',
      values: modelConfig.ModelQueuePolicy_TimeoutAction,
    },
    default_timeout_microseconds: { t: 'uint64', to: 'defaultTimeoutMicroseconds' },
    allow_timeout_override: { t: 'bool', to: 'allowTimeoutOverride' },
    max_queue_size: { t: 'uint32', to: 'maxQueueSize' },
  },
};

const dynamicBatching: ConfigFields = {
  name: 'ModelDynamicBatching',
  fields: {
    preferred_batch_size: { t: 'int32', to: 'preferredBatchSize', isRepeated: true },
    max_queue_delay_microseconds: { t: 'uint64', to: 'maxQueueDelayMicroseconds' },
    preserve_ordering: refused('answers of a stream are in order anyway; others are not held back', falseOnly),
    priority_levels: { t: 'uint64', to: 'priorityLevels' },
    default_priority_level: { t: 'uint64', to: 'defaultPriorityLevel' },
    default_queue_policy: { t: 'message', to: 'defaultQueuePolicy', of: queuePolicy },
    priority_queue_policy: refused('one queue policy holds for all levels; write default_queue_policy'),
  },
};

const instanceGroup: ConfigFields = {
  name: 'ModelInstanceGroup',
  fields: {
    name: { t: 'string', to: 'name' },
    kind: { t: 'enum', to: 'kind', values: instanceKinds },
    count: { t: 'int32', to: 'count' },
    rate_limiter: refused('one scheduler shares the workers among all models'),
    gpus: refused('models run on the CPU'),
    secondary_devices: refused('models run on the CPU'),
    profile: refused("profiles are TensorRT's"),
    passive: refused('every instance takes requests', falseOnly),
    host_policy: refused('workers are not bound to NUMA nodes'),
  },
};

const warmup: ConfigFields = {
  name: 'ModelWarmup',
  fields: {
    name: { t: 'string', to: 'name' },
    batch_size: { t: 'uint32', to: 'batchSize' },
    inputs: {
      t: 'map',
      to: 'inputs',
      of: {
        name: 'ModelWarmup.Input',
        oneof: { to: 'inputDataType', members: ['zero_data', 'random_data', 'input_data_file'] },
        fields: {
          data_type: { t: 'enum', to: 'dataType', values: DataType },
          dims: { t: 'int64', to: 'dims', isRepeated: true },
          zero_data: { t: 'bool', to: 'zeroData' },
          random_data: { t: 'bool', to: 'randomData' },
          input_data_file: { t: 'string', to: 'inputDataFile' },
        },
      },
    },
    count: { t: 'uint32', to: 'count' },
  },
};

/** Triton's ModelConfig: what is served of it, and why the rest is not. */
export const modelConfigFields: ConfigFields = {
  name: 'ModelConfig',
  fields: {
    name: { t: 'string', to: 'name' },
    platform: { t: 'string', to: 'platform' },
    backend: { t: 'string', to: 'backend' },
    runtime: refused('the backend is part of the server', ['']),
    version_policy: { t: 'message', to: 'versionPolicy', of: versionPolicy },
    max_batch_size: { t: 'int32', to: 'maxBatchSize' },
    input: { t: 'message', to: 'input', of: input, isRepeated: true },
    output: { t: 'message', to: 'output', of: output, isRepeated: true },
    batch_input: refused('inputs that a server makes of a batch are not served'),
    batch_output: refused('outputs that a server takes from a batch are not served'),
    optimization: refused('onnxruntime optimises every graph on the CPU as far as it can; leave it out'),
    dynamic_batching: { t: 'message', to: 'dynamicBatching', of: dynamicBatching },
    sequence_batching: refused('sequences are not kept; send what a request needs'),
    ensemble_scheduling: refused('models are not composed here; call one after the other'),
    instance_group: { t: 'message', to: 'instanceGroup', of: instanceGroup, isRepeated: true },
    default_model_filename: { t: 'string', to: 'defaultModelFilename' },
    cc_model_filenames: refused('files by compute capability are for GPUs'),
    metric_tags: refused('metrics have the labels model and version'),
    parameters: {
      t: 'map',
      to: 'parameters',
      of: { name: 'ModelParameter', fields: { string_value: { t: 'string', to: 'stringValue' } } },
    },
    model_warmup: { t: 'message', to: 'modelWarmup', of: warmup, isRepeated: true },
    model_operations: refused("operators of one's own are not loaded"),
    model_transaction_policy: {
      t: 'message',
      to: '',
      of: {
        name: 'ModelTransactionPolicy',
        fields: { decoupled: refused('each request has one answer', falseOnly) },
      },
    },
    model_repository_agents: refused('files are checked by their digest alone'),
    response_cache: {
      t: 'message',
      to: 'responseCache',
      of: { name: 'ModelResponseCache', fields: { enable: { t: 'bool', to: 'enable' } } },
    },
    model_metrics: refused('buckets of histograms are the same for all models'),
  },
};
