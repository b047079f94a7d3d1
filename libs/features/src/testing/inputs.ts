import type { AggregationFunction, FieldType, Scalar, SourceField, ViewDefinition, WindowSpec } from '../types.ts';
import type { OracleEvent } from './oracle-value.ts';
import { viewOf, worldFields } from './worlds.ts';

/** Inputs, and what they mean said a second time in JavaScript: a view over a field that holds that is an oracle for one over the input. */
const inputs: readonly {
  readonly field: string;
  readonly type: FieldType;
  readonly input: string;
  readonly value: (fields: OracleEvent['fields']) => Scalar;
}[] = [
  { field: 'twice', type: 'DOUBLE', input: 'd * 2.0', value: ({ d }) => (d === null ? null : Number(d) * 2) },
  {
    field: 'either',
    type: 'INT64',
    input: 'i == null ? 1 : i % 5',
    value: ({ i }) => (i == null ? 1 : Number(BigInt(i as bigint) % 5n)),
  },
  {
    field: 'shouted',
    type: 'STRING',
    input: 's.upperAscii() + "!"',
    value: ({ s }) => (s === null ? null : `${String(s).replace(/[a-z]/g, (letter) => letter.toUpperCase())}!`),
  },
  {
    field: 'positive',
    type: 'BOOL',
    input: 'b || d > 0.0',
    value: ({ b, d }) => (b === true || (d !== null && Number(d) > 0) ? true : b === null || d === null ? null : false),
  },
  {
    field: 'minute',
    type: 'INT64',
    input: 'int(at) / 60',
    value: ({ at }) => (at == null ? null : Math.trunc(Math.floor(Number(at) / 1e6) / 60)),
  },
];

const allowed: Readonly<Partial<Record<AggregationFunction, readonly FieldType[]>>> = {
  count: ['BOOL', 'INT64', 'DOUBLE', 'STRING'],
  sum: ['BOOL', 'INT64', 'DOUBLE'],
  mean: ['BOOL', 'INT64', 'DOUBLE'],
  rate: ['INT64', 'DOUBLE'],
  stddev: ['INT64', 'DOUBLE'],
  min: ['BOOL', 'INT64', 'DOUBLE', 'STRING'],
  max: ['INT64', 'DOUBLE', 'STRING'],
  first: ['BOOL', 'INT64', 'DOUBLE', 'STRING'],
  last: ['BOOL', 'INT64', 'DOUBLE', 'STRING'],
  distinct: ['INT64', 'DOUBLE', 'STRING'],
  percentile: ['INT64', 'DOUBLE'],
  entropy: ['BOOL', 'STRING'],
};

const windows: readonly WindowSpec[] = [{ t: 'sliding', sizeUs: 600e6, hopUs: 60e6 }, { t: 'lifetime' }];

const features = Object.entries(allowed).flatMap(([fn, types]) =>
  inputs
    .filter(({ type }) => types.includes(type))
    .flatMap(({ field, input }, place) =>
      windows
        .filter(({ t }) => fn !== 'rate' || t !== 'lifetime')
        .map((window, at) => ({
          name: `${fn}_${field}_${at}`,
          function: fn as AggregationFunction,
          field,
          input,
          window,
          filter: place % 2 === 0 ? '' : 'd > 0.5',
          ddof: 1,
          ...(fn === 'percentile' ? { quantile: 0.5 } : {}),
        })),
    ),
);

/** Every function over every input that it takes. */
export const inputView: ViewDefinition = viewOf(features.map((feature) => ({ ...feature, field: '' })));

const computedFields: readonly SourceField[] = inputs.map(({ field, type }) => ({ name: field, type, nullable: true }));

/** The same over fields. */
export const computedView: ViewDefinition = {
  ...viewOf(features.map(({ input: _, ...feature }) => feature)),
  fields: [...worldFields, ...computedFields],
};

/** An event with the fields of `computedView`. */
export function withComputed<E extends OracleEvent>(event: E): E {
  const computed = Object.fromEntries(inputs.map(({ field, value }) => [field, value(event.fields)]));
  return { ...event, fields: { ...event.fields, ...computed } };
}
