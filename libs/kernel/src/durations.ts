import { MeshError } from './errors.ts';

const unitUs = { us: 1, ms: 1e3, s: 1e6, m: 60e6, h: 3600e6, d: 86400e6, w: 604800e6 } as const;

/** `'90s'`, `'15m'`, `'24h'`, `'7d'`, `'1h30m'` → microseconds. Throws INVALID_ARGUMENT for anything else. */
export function parseDurationUs(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(us|ms|s|m|h|d|w)/g)];
  if (parts.length === 0 || parts.map((part) => part[0]).join('') !== text) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `"${text}" is not a duration; write for example "90s", "15m", "24h" or "7d"`,
      { text },
    );
  }
  return parts.reduce((sum, part) => sum + Math.round(Number(part[1]) * unitUs[part[2] as keyof typeof unitUs]), 0);
}

/** Microseconds → the shortest exact text that `parseDurationUs` reads back: `604800000000` → `'7d'`. */
export function formatDurationUs(durationUs: number): string {
  for (const unit of ['d', 'h', 'm', 's', 'ms'] as const) {
    if (durationUs !== 0 && durationUs % unitUs[unit] === 0) return `${durationUs / unitUs[unit]}${unit}`;
  }
  return `${durationUs}us`;
}
