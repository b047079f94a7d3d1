import type { audit } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';

export type AuditEntry = audit.AuditEntry;
export type AuditFilter = Omit<audit.ListAuditRequest, 'limit'>;

/** What was written down, newest first; each log says what it has of a kind and a name. */
export type AuditLog = (about: Pick<AuditFilter, 'kind' | 'name'>, signal: AbortSignal) => AsyncIterable<AuditEntry>;

const limitDefault = 100;
const limitMax = 1_000;
/** Entries of one log that one answer looks at. */
const lookedMax = 100_000;

export type ListAudit = (
  filter: AuditFilter,
  limit: number,
  signal: AbortSignal,
) => Promise<{ entries: AuditEntry[]; isPartial: boolean }>;

/** Entries of all logs that match, newest first. */
export function createListAudit(logs: readonly AuditLog[]): ListAudit {
  return async (filter, limit, signal) => {
    if (limit < 0 || limit > limitMax)
      throw new MeshError('LIMIT_EXCEEDED', `limit ${limit} is not 0 to ${limitMax}; ask for less at a time`, {
        limit,
      });
    const wanted = limit || limitDefault;
    const found = await Promise.all(logs.map((log) => take(log(filter, signal), filter, wanted)));
    const entries = found.flatMap((each) => each.entries).sort((a, b) => Number(b.atUs - a.atUs));
    return {
      entries: entries.slice(0, wanted),
      isPartial: entries.length > wanted || found.some(({ isPartial }) => isPartial),
    };
  };
}

async function take(log: AsyncIterable<AuditEntry>, filter: AuditFilter, wanted: number) {
  const entries: AuditEntry[] = [];
  let looked = 0;
  for await (const entry of log) {
    if (entry.atUs < filter.sinceUs) break;
    if (matches(entry, filter)) {
      if (entries.length === wanted) return { entries, isPartial: true };
      entries.push(entry);
    }
    if (++looked === lookedMax) return { entries, isPartial: true };
  }
  return { entries, isPartial: false };
}

function matches(entry: AuditEntry, { kind, name, action, by, untilUs }: AuditFilter): boolean {
  return (
    (kind === '' || entry.kind === kind) &&
    (name === '' || entry.name === name) &&
    (action === '' || entry.action === action) &&
    (by === '' || entry.by === by) &&
    (untilUs === 0n || entry.atUs < untilUs)
  );
}
