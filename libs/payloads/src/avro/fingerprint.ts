import type { AvroType } from './schema.ts';

/** The schema in Avro's parsing canonical form: what a fingerprint is made of. */
export function canonicalForm(type: AvroType, defined: Set<string> = new Set()): string {
  if ('name' in type) {
    if (defined.has(type.name)) return JSON.stringify(type.name);
    defined.add(type.name);
  }
  switch (type.t) {
    case 'record': {
      const fields = type.fields.map(
        (field) => `{"name":${JSON.stringify(field.name)},"type":${canonicalForm(field.type, defined)}}`,
      );
      return `{"name":${JSON.stringify(type.name)},"type":"record","fields":[${fields.join(',')}]}`;
    }
    case 'enum':
      return `{"name":${JSON.stringify(type.name)},"type":"enum","symbols":${JSON.stringify(type.symbols)}}`;
    case 'fixed':
      return `{"name":${JSON.stringify(type.name)},"type":"fixed","size":${type.size}}`;
    case 'array':
      return `{"type":"array","items":${canonicalForm(type.items, defined)}}`;
    case 'map':
      return `{"type":"map","values":${canonicalForm(type.values, defined)}}`;
    case 'union':
      return `[${type.branches.map((branch) => canonicalForm(branch, defined)).join(',')}]`;
    default:
      return JSON.stringify(type.t);
  }
}

const empty = 0xc15d213aa4d7a795n;
const table = Array.from({ length: 256 }, (_, at) => {
  let entry = BigInt(at);
  for (let bit = 0; bit < 8; bit++) entry = (entry >> 1n) ^ (empty & -(entry & 1n));
  return entry;
});

/** CRC-64-AVRO (Rabin), as single-object encoding writes it: 16 hex digits of its little-endian bytes. */
export function fingerprintHex(type: AvroType): string {
  let crc = empty;
  for (const byte of Buffer.from(canonicalForm(type))) {
    crc = (crc >> 8n) ^ (table[Number((crc ^ BigInt(byte)) & 0xffn)] as bigint);
  }
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, crc));
  return bytes.toString('hex');
}
