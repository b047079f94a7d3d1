import type { definitions } from '@millrace/contracts';
import { hash32, quote } from '@millrace/kernel';
import { VecBuilder } from './columns.ts';
import type { FieldReaderFactory } from './field-reader.ts';
import type { PayloadHash } from './payload-hash.ts';
import { type Problem, problem, typeName } from './problem.ts';

/** Beyond it no float32 is finite: what is nearer to the largest one than to the next power of two becomes that one. */
const float32End = 2 ** 128 - 2 ** 103;

/** Vectors as arrays of numbers, or as base64 of little-endian float32. What a float32 does not hold exactly becomes the nearest one. */
export function vectorReader({ name, dimension }: definitions.SourceField): FieldReaderFactory {
  const seed = hash32(name);
  const type = `VECTOR(${dimension})`;
  return (capacity) => {
    const builder = new VecBuilder(capacity, dimension);
    const isNull = (row: number) => builder.nulls?.[row] === 1;
    return {
      live: () => builder.live(),
      isNull,
      setNull: (row) => builder.setNull(row),
      clear(row) {
        if (builder.nulls !== null) builder.nulls[row] = 0;
      },
      column: (rows) => builder.gather(rows),
      size: () => 4 * dimension,
      put() {
        throw new TypeError(`nothing stands in for vector "${name}"`);
      },
      // what asks for single values of a field does not pass the checks of a source with a vector there
      number: () => Number.NaN,
      scalar: () => null,
      keyText: () => '',
      read(value, row, hash) {
        const given = typeof value === 'string' ? fromBase64(value) : value;
        if (!Array.isArray(given) && !(given instanceof Float32Array))
          return problem(
            'WRONG_TYPE',
            name,
            `field "${name}" ${quote(value)} is ${typeName(value)}, not ${type}; send an array of ${dimension} numbers, or base64 of as many little-endian float32`,
          );
        if (given.length !== dimension)
          return problem(
            'WRONG_DIMENSION',
            name,
            `field "${name}" has ${given.length} numbers and is ${type}; send ${dimension}`,
          );
        return fill(given, row * dimension) ?? mixed(row, hash);
      },
    };

    function fill(given: readonly unknown[] | Float32Array, start: number): Problem | null {
      for (let i = 0; i < dimension; i++) {
        const number = given[i];
        if (typeof number !== 'number')
          return problem(
            'WRONG_TYPE',
            name,
            `field "${name}" has ${typeName(number)} ${quote(number)} at ${i}; send ${dimension} numbers, or null for the whole vector where it is nullable`,
          );
        if (!(Math.abs(number) < float32End))
          return problem(
            'NOT_FINITE',
            name,
            `field "${name}" has ${number} at ${i}, which no float32 holds; send finite numbers up to 3.4e38`,
          );
        builder.values[start + i] = number;
      }
      return null;
    }

    function mixed(row: number, hash: PayloadHash): null {
      for (let i = 0; i < dimension; i++)
        hash.number((seed + Math.imul(i, 0x9e3779b1)) | 0, (builder.values[row * dimension + i] as number) + 0);
      return null;
    }
  };
}

/** Undefined for a text that is none. */
function fromBase64(text: string): Float32Array | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined;
  const bytes = Uint8Array.from(Buffer.from(text, 'base64'));
  return bytes.length % 4 === 0 ? new Float32Array(bytes.buffer) : undefined;
}
