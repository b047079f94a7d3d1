import { expect, test } from 'vitest';
import { plannedTensors, servingPlan } from './serving-plan.ts';
import { configOfText } from './triton/read-config.ts';

const of = { name: 'm', format: 'onnx', workers: 4 };
const plan = (text: string) => servingPlan(configOfText(text), of);
const model = {
  inputs: [
    { name: 'A', datatype: 'FP32', shape: [-1, 4] },
    { name: 'B', datatype: 'BYTES', shape: [-1, -1] },
  ],
  outputs: [
    { name: 'Y', datatype: 'FP32', shape: [-1, 2] },
    { name: 'Z', datatype: 'INT64', shape: [-1] },
  ],
} as const;

test('what a configuration says is what is planned', () => {
  expect(
    plan(`max_batch_size: 16 instance_group [ { count: 2 kind: KIND_CPU }, { } ]
      parameters { key: "intra_op_thread_count" value: { string_value: "2" } } response_cache { enable: true }
      dynamic_batching { preferred_batch_size: [ 8, 4 ] max_queue_delay_microseconds: 1500 priority_levels: 3 default_priority_level: 2
        default_queue_policy { default_timeout_microseconds: 2500 max_queue_size: 10 } }`),
  ).toMatchObject({
    rowsMax: 16,
    batching: { delayMs: 1.5, preferredRows: [4, 8] },
    schedule: { priorityLevels: 3, defaultPriority: 2, defaultTimeoutMs: 2.5, allowTimeoutOverride: false },
    queueMax: 10,
    instances: 3,
    threads: 2,
    isCached: true,
  });
  expect(plan('')).toMatchObject({
    rowsMax: 0,
    batching: undefined,
    schedule: undefined,
    instances: undefined,
    isCached: false,
  });
  expect(plan('max_batch_size: 4').batching).toBeUndefined();
});

test.each([
  ['name: "n"', 'name is "n", and this model\'s is "m"'],
  ['platform: "tensorrt_plan"', 'platform is "tensorrt_plan", and this model\'s is "onnxruntime_onnx"'],
  ['max_batch_size: -1', 'max_batch_size is -1'],
  ['dynamic_batching { }', 'dynamic_batching needs max_batch_size above 0'],
  ['max_batch_size: 4 dynamic_batching { preferred_batch_size: 8 }', 'preferred_batch_size has 8; it takes 1 to 4'],
  [
    'max_batch_size: 4 dynamic_batching { priority_levels: 4 default_priority_level: 1 }',
    'priority_levels is 4; there are at most 3',
  ],
  [
    'max_batch_size: 4 dynamic_batching { priority_levels: 2 }',
    'default_priority_level is 0; with 2 priority_levels it takes 1 to 2',
  ],
  ['max_batch_size: 4 dynamic_batching { default_queue_policy { timeout_action: DELAY } }', 'timeout_action is DELAY'],
  ['instance_group { kind: KIND_GPU }', 'instance_group has KIND_GPU'],
  ['instance_group { count: 5 }', 'instance_group asks for 5 instances, and there are 4 workers'],
  ['parameters { key: "x" value { } }', 'parameters has "x"; it takes intra_op_thread_count'],
  ['parameters { key: "intra_op_thread_count" value { string_value: "-1" } }', 'intra_op_thread_count is "-1"'],
])('%s: refused by name', (text, message) => {
  expect(() => plan(text)).toThrow(`configuration of model "m": ${message}`);
});

test('tensors are those of the model, as narrow as the configuration has them', () => {
  const { inputs, outputs } = plannedTensors(
    'm',
    plan(`max_batch_size: 8 input [ { name: "B" data_type: TYPE_STRING dims: 3 }, { name: "A" data_type: TYPE_FP32 dims: 4 } ]
      output { name: "Z" data_type: TYPE_INT64 dims: [ ] }`),
    model,
  );
  expect(inputs).toEqual([model.inputs[0], { ...model.inputs[1], shape: [-1, 3] }]);
  expect(outputs).toEqual([model.outputs[1]]);
  expect(plannedTensors('m', plan('max_batch_size: 8'), model)).toEqual({
    inputs: model.inputs,
    outputs: model.outputs,
  });
});

test.each([
  [
    'input { name: "A" data_type: TYPE_FP32 dims: [ -1, 4 ] }',
    'input "B" of the model is not listed; list all inputs or none',
  ],
  ['output { name: "X" data_type: TYPE_FP32 dims: [ -1, 2 ] }', 'output "X" is none of the model; its outputs: Y, Z'],
  [
    'output { name: "Y" data_type: TYPE_FP64 dims: [ -1, 2 ] }',
    'output "Y" has data_type TYPE_FP64, and the model\'s is TYPE_FP32',
  ],
  [
    'output { name: "Y" data_type: TYPE_FP32 dims: [ -1, 3 ] }',
    'output "Y" has dims [-1,3], and the model\'s shape is [-1,2] (-1: any)',
  ],
  ['output { name: "Y" data_type: TYPE_FP32 dims: [ -1, -1 ] }', 'output "Y" has dims [-1,-1]'],
  ['output { name: "Y" data_type: TYPE_FP32 }', 'output "Y" has no dims'],
  [
    'max_batch_size: 2 output { name: "Y" data_type: TYPE_FP32 dims: [ -1, 2 ] }',
    'has dims [-1,2] behind the rows of max_batch_size',
  ],
])('%s: refused with both sides', (text, message) => {
  expect(() => plannedTensors('m', plan(text), model)).toThrow(message);
});

test('max_batch_size needs rows that are free', () => {
  const fixed = { ...model, inputs: [{ name: 'A', datatype: 'FP32', shape: [1, 4] }] } as const;
  expect(() => plannedTensors('m', plan('max_batch_size: 2'), fixed)).toThrow(
    '"A" of shape [1,4] does not begin with a number of rows that is free',
  );
});
