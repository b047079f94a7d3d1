import { MeshError } from '@millrace/kernel';
import { parseDocument } from 'yaml';
import { z } from 'zod';

const bound = z.number().optional();
const range = z.tuple([z.number(), z.number()]).optional();
const quality = z.looseObject({
  name: z.string().optional(),
  description: z.string().optional(),
  type: z.string().optional(),
  metric: z.string().optional(),
  /** What v3.0 called `metric`. */
  rule: z.string().optional(),
  unit: z.string().optional(),
  severity: z.string().optional(),
  schedule: z.string().optional(),
  arguments: z.record(z.string(), z.unknown()).optional(),
  mustBe: z.union([z.number(), z.string(), z.boolean()]).optional(),
  mustNotBe: z.union([z.number(), z.string(), z.boolean()]).optional(),
  mustBeGreaterThan: bound,
  mustBeGreaterOrEqualTo: bound,
  mustBeLessThan: bound,
  mustBeLessOrEqualTo: bound,
  mustBeBetween: range,
  mustNotBeBetween: range,
});
export type Quality = z.infer<typeof quality>;

const property = z.looseObject({
  name: z.string(),
  logicalType: z.string().optional(),
  logicalTypeOptions: z.record(z.string(), z.unknown()).optional(),
  description: z.string().optional(),
  required: z.boolean().optional(),
  unique: z.boolean().optional(),
  primaryKey: z.boolean().optional(),
  quality: z.array(quality).optional(),
});
export type Property = z.infer<typeof property>;

const schema = z.looseObject({
  name: z.string(),
  description: z.string().optional(),
  properties: z.array(property).min(1),
  quality: z.array(quality).optional(),
});
export type Schema = z.infer<typeof schema>;

const sla = z.looseObject({
  property: z.string(),
  value: z.union([z.number(), z.string(), z.boolean()]).optional(),
  unit: z.string().optional(),
  element: z.string().optional(),
});

const contract = z.looseObject({
  version: z.string(),
  apiVersion: z.string().regex(/^v3\.\d+\.\d+$/, 'only ODCS v3 is read, as "v3.1.0"'),
  kind: z.literal('DataContract'),
  id: z.string(),
  status: z.string(),
  name: z.string().optional(),
  description: z.looseObject({ purpose: z.string().optional() }).optional(),
  schema: z.array(schema).min(1),
  slaProperties: z.array(sla).optional(),
});
export type Contract = z.infer<typeof contract>;

/** An ODCS v3 data contract. INVALID_DEFINITION with everything that is wrong with it. */
export function parseContract(text: string, file: string): Contract {
  const document = parseDocument(text);
  const [broken] = document.errors;
  if (broken) throw new MeshError('INVALID_DEFINITION', `${file}: ${broken.message.split('\n')[0]}`, { file });
  const parsed = contract.safeParse(document.toJS());
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(
    ({ path, message }) => `${file}: ${path.join('.') || 'the document'}: ${message}`,
  );
  throw new MeshError('INVALID_DEFINITION', problems.join('\n'), { file, problems: problems.length });
}
