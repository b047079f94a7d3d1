import type { serving } from '@millrace/contracts';

export function int64Keys(name: string, keys: readonly number[]): serving.KeyColumn {
  return { name, strings: [], int64s: keys.map(BigInt), bools: [], nulls: Buffer.alloc(0) };
}
