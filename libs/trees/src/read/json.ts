import { damaged } from '../problems.ts';

/** A JSON file, read with checks: what is not as it should be is named in MODEL_LOAD_FAILED. */
export interface JsonReader {
  record(value: unknown, path: string): Readonly<Record<string, unknown>>;
  list(value: unknown, path: string): readonly unknown[];
  numbers(value: unknown, path: string): readonly number[];
  number(value: unknown, path: string): number;
  text(value: unknown, path: string): string;
}

export function jsonReader(format: string): JsonReader {
  const wrong = (path: string, kind: string) => damaged(format, `"${path}" is no ${kind}`);
  const list = (value: unknown, path: string): readonly unknown[] => {
    if (!Array.isArray(value)) throw wrong(path, 'list');
    return value;
  };
  const number = (value: unknown, path: string): number => {
    // XGBoost writes parameters as text
    const read = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
    if (typeof read !== 'number' || Number.isNaN(read)) throw wrong(path, 'number');
    return read;
  };
  return {
    record(value, path) {
      if (!isRecord(value)) throw wrong(path, 'object');
      return value;
    },
    list,
    number,
    numbers: (value, path) =>
      list(value, path).map((item) => (typeof item === 'boolean' ? Number(item) : number(item, path))),
    text(value, path) {
      if (typeof value !== 'string') throw wrong(path, 'text');
      return value;
    },
  };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function parseJson(format: string, text: string, remedy: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw damaged(format, `it is no JSON (${cause instanceof Error ? cause.message : String(cause)}); ${remedy}`);
  }
}
