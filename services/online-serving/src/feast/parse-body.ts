import { parseExactJson } from '@millrace/kernel';
import type { FeastRead, KeyScalar } from './request.ts';

/** A body that is not what the endpoint takes; answered as FastAPI answers it. */
export class BodyError extends Error {
  override readonly name = 'BodyError';
  readonly detail: Readonly<Record<string, unknown>>;

  constructor(type: string, loc: readonly (string | number)[], msg: string) {
    super(msg);
    this.detail = { type, loc: ['body', ...loc], msg };
  }
}

export type Body = Readonly<Record<string, unknown>>;

export function parseBody(text: string): Body {
  let body: unknown;
  try {
    body = parseExactJson(text);
  } catch (thrown) {
    throw new BodyError('json_invalid', [], `JSON decode error: ${thrown instanceof Error ? thrown.message : ''}`);
  }
  if (!isObject(body)) throw new BodyError('model_attributes_type', [], 'Input should be a valid dictionary');
  return body;
}

export function isObject(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Undefined when it is absent or null. */
export function optionalText(body: Body, name: string): string | undefined {
  const value = body[name];
  if (value === undefined || value === null || typeof value === 'string') return value ?? undefined;
  throw new BodyError('string_type', [name], 'Input should be a valid string');
}

export function requiredText(body: Body, name: string): string {
  const value = optionalText(body, name);
  if (value === undefined) throw new BodyError('missing', [name], 'Field required');
  return value;
}

export function flag(body: Body, name: string): boolean {
  const value = body[name] ?? false;
  if (typeof value !== 'boolean') throw new BodyError('bool_parsing', [name], 'Input should be a valid boolean');
  return value;
}

export function texts(body: Body, name: string): readonly string[] {
  const value = body[name] ?? [];
  if (!Array.isArray(value)) throw new BodyError('list_type', [name], 'Input should be a valid list');
  const at = value.findIndex((item) => typeof item !== 'string');
  if (at >= 0) throw new BodyError('string_type', [name, at], 'Input should be a valid string');
  return value as string[];
}

/** The body of POST /get-online-features. */
export function parseRead(text: string): FeastRead {
  const body = parseBody(text);
  const entities = body.entities;
  if (entities === undefined) throw new BodyError('missing', ['entities'], 'Field required');
  if (!isObject(entities)) throw new BodyError('dict_type', ['entities'], 'Input should be a valid dictionary');
  const columns = new Map<string, readonly (KeyScalar | null)[]>();
  for (const [name, values] of Object.entries(entities)) {
    if (!Array.isArray(values)) throw new BodyError('list_type', ['entities', name], 'Input should be a valid list');
    columns.set(name, values as (KeyScalar | null)[]);
  }
  return {
    featureService: optionalText(body, 'feature_service') ?? '',
    features: texts(body, 'features'),
    entities: columns,
    fullFeatureNames: flag(body, 'full_feature_names'),
    viewMetadata: flag(body, 'include_feature_view_version_metadata'),
  };
}
