import { createHash, randomBytes } from 'node:crypto';

/** JSON with object keys sorted at every depth; bigint as a decimal string, bytes as Base64; undefined members left out. */
export function canonicalJson(value: unknown): string {
  if (typeof value === 'bigint') return JSON.stringify(value.toString());
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  if (value instanceof Uint8Array) return JSON.stringify(Buffer.from(value).toString('base64'));
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`).join(',')}}`;
}

/** The first 12 hex digits of the SHA-256 of the canonical JSON: the version of a definition. */
export function contentVersion(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex').slice(0, 12);
}

/** FNV-1a, 32 bits, over UTF-16 code units: for sharding, not for security. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** A time-ordered unique id (UUIDv7). */
export function newId(nowMs: number = Date.now()): string {
  return idOf(randomBytes(idBytes), 0, nowMs);
}

/** So many of them at once: random bytes are dearer to fetch than to use. */
export function newIds(count: number, nowMs: number = Date.now()): string[] {
  const bytes = randomBytes(idBytes * count);
  return Array.from({ length: count }, (_, at) => idOf(bytes, at * idBytes, nowMs));
}

const idBytes = 16;

function idOf(bytes: Buffer, at: number, nowMs: number): string {
  bytes.writeUIntBE(nowMs, at, 6);
  bytes[at + 6] = ((bytes[at + 6] ?? 0) & 0x0f) | 0x70;
  bytes[at + 8] = ((bytes[at + 8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString('hex', at, at + idBytes);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
