import { dirname, resolve } from 'node:path';
import { definitions } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { LineCounter, parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { deploymentSpec } from './deployment.ts';
import { type DerivedOption, derivedToProto, type RequestFields, requestToProto } from './derived.ts';
import { type Entity, entity } from './entity.ts';
import { expectationsToProto } from './expectations.ts';
import { toValue } from './feature-service.ts';
import { prefixed } from './lookup.ts';
import { define, type MetadataOptions } from './types.ts';
import { lifetime, session, sliding, tumbling } from './windows.ts';
import { customModel, customSpec, modelFile, remoteModel, remoteSpec } from './yaml-model.ts';
import { duration, fieldType, metadata } from './yaml-parts.ts';
import { expectation, sourceDocument, sourceSpec } from './yaml-source.ts';

const windowText = z.union([
  z.literal('lifetime'),
  z.string(),
  z.strictObject({ sliding: z.string(), hop: z.string().optional(), offset: z.string().optional() }),
  z.strictObject({ tumbling: z.string(), offset: z.string().optional() }),
  z.strictObject({ session: z.string() }),
]);
const window = windowText.transform((given, context) => {
  try {
    if (given === 'lifetime') return lifetime();
    if (typeof given === 'string') return sliding(given);
    if ('session' in given) return session(given.session);
    const offset = given.offset === undefined ? {} : { offset: given.offset };
    if ('tumbling' in given) return tumbling(given.tumbling, offset);
    return sliding(given.sliding, given.hop === undefined ? offset : { hop: given.hop, ...offset });
  } catch (thrown) {
    context.addIssue({ code: 'custom', message: (thrown as Error).message });
    return z.NEVER;
  }
});

const entityDocument = z.strictObject({
  kind: z.literal('entity'),
  ...metadata,
  join_keys: z.record(z.string(), z.enum(['STRING', 'INT64', 'BOOL'])),
});
const derived = z.record(
  z.string(),
  z.union([z.string(), z.strictObject({ expression: z.string(), description: z.string().optional() })]),
);
const requestField = z.union([
  fieldType.transform((type) => ({ type })),
  z.strictObject({ type: fieldType, nullable: z.boolean().optional() }),
]);
const functionName = z.enum([
  'count',
  'sum',
  'mean',
  'rate',
  'min',
  'max',
  'variance',
  'stddev',
  'first',
  'last',
  'distinct',
  'percentile',
  'entropy',
  'age',
  'decayed_sum',
  'decayed_count',
  'decayed_mean',
  'last_n',
  'first_n',
  'last_distinct_n',
  'first_distinct_n',
  'top_k',
  'histogram',
  'ratio',
  'zscore',
  'trend',
  'change',
]);
const operandSpec = z.strictObject({
  function: functionName,
  field: z.string().optional(),
  input: z.string().optional(),
  filter: z.string().optional(),
  ddof: z.int().optional(),
  quantile: z.number().optional(),
});
const viewDocument = z.strictObject({
  kind: z.literal('feature_view'),
  ...metadata,
  entity: z.string(),
  source: z.string(),
  keys: z.record(z.string(), z.string()).optional(),
  features: z.record(
    z.string(),
    z.strictObject({
      function: functionName,
      field: z.string().optional(),
      input: z.string().optional(),
      window,
      filter: z.string().optional(),
      ddof: z.int().optional(),
      quantile: z.number().optional(),
      half_life: duration.optional(),
      n: z.int().optional(),
      edges: z.array(z.number()).optional(),
      numerator: operandSpec.optional(),
      denominator: operandSpec.optional(),
      of: functionName.optional(),
      offset: duration.optional(),
      description: z.string().optional(),
    }),
  ),
  derived: derived.optional(),
  expectations: z.record(z.string(), expectation).optional(),
});
const referenceOptions = z.strictObject({
  view: z.string(),
  feature: z.string(),
  version: z.string().optional(),
  as: z.string().optional(),
  default: z.union([z.number(), z.string(), z.boolean()]).optional(),
  max_age: duration.optional(),
  when_stale: z.enum(['serve', 'null', 'default', 'fail']).optional(),
  hidden: z.boolean().optional(),
  through: z.record(z.string(), z.string()).optional(),
});
const reference = z.union([
  z
    .string()
    .regex(/^[^:]+:[^:]+$/, 'write "<view>:<feature>"')
    .transform((text): z.infer<typeof referenceOptions> => {
      const [view = '', feature = ''] = text.split(':');
      return { view, feature };
    }),
  referenceOptions,
]);
const lookup = z.strictObject({
  through: z.record(z.string(), z.string()),
  as: z.string().optional(),
  features: z.array(reference),
});
const serviceDocument = z.strictObject({
  kind: z.literal('feature_service'),
  ...metadata,
  features: z.array(z.union([reference, lookup])).optional(),
  derived: derived.optional(),
  request: z.record(z.string(), requestField).optional(),
});
const modelDocument = z.strictObject({
  kind: z.literal('model'),
  ...metadata,
  uri: z.string(),
  sha256: z.string().optional(),
  format: z.enum(['onnx', 'xgboost', 'lightgbm', 'custom', 'remote']).optional(),
  feature_service: z.string().optional(),
  input: z
    .strictObject({
      name: z.string(),
      columns: z.array(
        z.union([
          z.strictObject({ feature: z.string(), fill: z.number().optional() }),
          z.strictObject({ request: z.string(), fill: z.number().optional() }),
        ]),
      ),
    })
    .optional(),
  output: z.strictObject({ name: z.string(), column: z.int().optional() }).optional(),
  outcome: z.strictObject({ source: z.string(), key: z.string(), label: z.string() }).optional(),
  response_cache: z.strictObject({ ttl: duration }).optional(),
  trees: modelFile.optional(),
  profile: modelFile.optional(),
  segments: z.array(z.string()).optional(),
  custom: customModel.optional(),
  remote: remoteModel.optional(),
  golden: modelFile.optional(),
});
const targets = z.array(
  z.strictObject({ model: z.string(), version: z.string().optional(), weight: z.number().optional() }),
);
const deploymentDocument = z.strictObject({
  kind: z.literal('deployment'),
  ...metadata,
  targets,
  unit: z.string().optional(),
  rules: z.array(z.strictObject({ name: z.string(), when: z.string(), targets })).optional(),
});
const document = z.discriminatedUnion('kind', [
  entityDocument,
  sourceDocument,
  viewDocument,
  serviceDocument,
  modelDocument,
  deploymentDocument,
]);
type Document = z.infer<typeof document>;

/** The definitions of a YAML text, one a document. INVALID_DEFINITION names the file, the document and every broken field. */
export function parseYamlDefinitions(text: string, file: string): definitions.Definition[] {
  const lines = new LineCounter();
  const problems: string[] = [];
  const found: definitions.Definition[] = [];
  for (const [index, parsed] of parseAllDocuments(text, { lineCounter: lines }).entries()) {
    problems.push(
      ...parsed.errors.map((error) => `${file}:${lines.linePos(error.pos[0]).line}: ${error.message.split('\n')[0]}`),
    );
    const content: unknown = parsed.errors.length > 0 ? null : parsed.toJS();
    if (content === null) continue;
    const checked = document.safeParse(content);
    if (checked.success) {
      try {
        found.push({ ...toDefinition(checked.data, dirname(resolve(file))), file });
      } catch (thrown) {
        if (!(thrown instanceof MeshError)) throw thrown;
        problems.push(`${file}: ${label(content, index)}: ${thrown.message}`);
      }
    } else
      problems.push(
        ...checked.error.issues.map(
          (issue) => `${file}: ${label(content, index)}: ${issue.path.join('.') || 'document'}: ${issue.message}`,
        ),
      );
  }
  if (problems.length > 0)
    throw new MeshError('INVALID_DEFINITION', problems.join('\n'), { file, problems: problems.length });
  return found;
}

function label(content: unknown, index: number): string {
  const { kind, name } = (content ?? {}) as { readonly kind?: unknown; readonly name?: unknown };
  return typeof name === 'string' ? `${String(kind)} "${name}"` : `document ${index + 1}`;
}

function toDefinition(given: Document, folder: string): definitions.Definition {
  const about: MetadataOptions = {
    ...(given.owner === undefined ? {} : { owner: given.owner }),
    ...(given.description === undefined ? {} : { description: given.description }),
    ...(given.tags === undefined ? {} : { tags: given.tags }),
  };
  switch (given.kind) {
    case 'entity': {
      const made: Entity = entity(given.name, { ...about, joinKeys: given.join_keys });
      return made.definition;
    }
    case 'source':
      return define(given.name, about, { $case: 'source', value: sourceSpec(given, folder) });
    case 'feature_view':
      return define(given.name, about, { $case: 'featureView', value: viewSpec(given) });
    case 'feature_service':
      return define(given.name, about, {
        $case: 'featureService',
        value: {
          features: (given.features ?? []).flatMap(referenceSpecs),
          derived: derivedToProto((given.derived ?? {}) as Readonly<Record<string, DerivedOption>>),
          requestFields: requestToProto((given.request ?? {}) as RequestFields),
        },
      });
    case 'model':
      return define(given.name, about, { $case: 'model', value: modelSpec(given) });
    case 'deployment':
      return define(given.name, about, { $case: 'deployment', value: deploymentSpec(given) });
    default:
      return given satisfies never;
  }
}

function viewSpec(given: z.infer<typeof viewDocument>): definitions.FeatureView {
  return {
    entity: given.entity,
    source: given.source,
    keys: Object.entries(given.keys ?? {}).map(([joinKey, name]) => ({ joinKey, field: name })),
    features: Object.entries(given.features).map(([name, spec]) => ({
      name,
      function: functionNumber(spec.function),
      field: spec.field ?? '',
      input: spec.input ?? '',
      window: spec.window,
      filter: spec.filter ?? '',
      ddof: spec.ddof,
      quantile: spec.quantile,
      halfLifeUs: spec.half_life ?? 0n,
      n: spec.n ?? 0,
      edges: spec.edges ?? [],
      numerator: spec.numerator && operandOf(spec.numerator),
      denominator: spec.denominator && operandOf(spec.denominator),
      of: spec.of === undefined ? definitions.AggregationFunction.UNSPECIFIED : functionNumber(spec.of),
      offsetUs: spec.offset ?? 0n,
      description: spec.description ?? '',
    })),
    derived: derivedToProto((given.derived ?? {}) as Readonly<Record<string, DerivedOption>>),
    expectations: expectationsToProto(given.expectations),
  };
}

function functionNumber(name: z.infer<typeof functionName>): definitions.AggregationFunction {
  return definitions.AggregationFunction[name.toUpperCase() as keyof typeof definitions.AggregationFunction];
}

function operandOf(given: z.infer<typeof operandSpec>): definitions.Operand {
  return {
    function: functionNumber(given.function),
    field: given.field ?? '',
    input: given.input ?? '',
    filter: given.filter ?? '',
    ddof: given.ddof,
    quantile: given.quantile,
  };
}

function keysOf(through: Readonly<Record<string, string>>): definitions.LookupKey[] {
  return Object.entries(through).map(([joinKey, from]) => ({ joinKey, from }));
}

function referenceSpecs(
  given: z.infer<typeof referenceOptions> | z.infer<typeof lookup>,
): definitions.FeatureReference[] {
  if (!('features' in given)) return [referenceSpec(given)];
  const keys = keysOf(given.through);
  return given.features.map((each) => ({ ...prefixed(referenceSpec(each), given.as), through: keys }));
}

function referenceSpec(given: z.infer<typeof referenceOptions>): definitions.FeatureReference {
  const actions = { serve: 1, null: 2, default: 3, fail: 4 } as const satisfies Record<string, definitions.StaleAction>;
  return {
    view: given.view,
    feature: given.feature,
    viewVersion: given.version ?? '',
    alias: given.as ?? '',
    defaultValue: given.default === undefined ? undefined : toValue(given.default),
    maxAgeUs: given.max_age ?? 0n,
    staleAction: actions[given.when_stale ?? 'serve'],
    hidden: given.hidden ?? false,
    through: keysOf(given.through ?? {}),
  };
}

function modelSpec(given: z.infer<typeof modelDocument>): definitions.Model {
  return {
    uri: given.uri,
    sha256: given.sha256 ?? '',
    format: given.format ?? 'onnx',
    featureService: given.feature_service ?? '',
    inputName: given.input?.name ?? '',
    inputColumns: (given.input?.columns ?? []).map((column) => ({
      source:
        'feature' in column
          ? { $case: 'feature', value: column.feature }
          : { $case: 'requestField', value: column.request },
      fill: column.fill,
    })),
    outputName: given.output?.name ?? '',
    outputColumn: given.output?.column ?? 0,
    outcome: given.outcome && {
      source: given.outcome.source,
      keyField: given.outcome.key,
      labelField: given.outcome.label,
    },
    responseCacheTtlUs: given.response_cache?.ttl ?? 0n,
    trees: given.trees,
    profile: given.profile,
    segments: given.segments ?? [],
    custom: given.custom && customSpec(given.custom),
    remote: given.remote && remoteSpec(given.remote),
    golden: given.golden,
  };
}
