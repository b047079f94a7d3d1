import type { ViewDefinition } from '@millrace/features';
import { eventTable, type History } from '@millrace/history';
import type { ServedSample, Verification } from './compare-samples.ts';
import type { Provenance } from './report-mismatches.ts';
import { sqlLiteral, sqlName } from './sql.ts';

/** A state reflects a correction about a second after it; one that does not after this long is a mismatch. */
const settleUs = 30_000_000;
/** Beyond it the rest counts as it is. */
const lookedAtMax = 50;

/** The verification without what differs because an event of the entity had just been corrected or deleted when the row was read. */
export type Settled = (
  view: ViewDefinition,
  samples: readonly (ServedSample & Provenance)[],
  verification: Verification,
) => Promise<Verification>;

export function createSettled({ history }: { readonly history: History }): Settled {
  return async (view, samples, verification) => {
    if (view.changes !== 'upsert' || verification.mismatches.length === 0) return verification;
    const suspects = [...new Set(verification.mismatches.map(({ sample }) => sample))].slice(0, lookedAtMax);
    const unsettled = new Set<number>();
    for (const suspect of suspects) {
      const sample = samples[suspect];
      if (sample && (await hadCorrection(view, sample))) unsettled.add(suspect);
    }
    return {
      compared: verification.compared,
      mismatches: verification.mismatches.filter(({ sample }) => !unsettled.has(sample)),
    };
  };

  async function hadCorrection(view: ViewDefinition, sample: ServedSample & Provenance): Promise<boolean> {
    const table = eventTable(view.source);
    const isEntity = view.joinKeys
      .map(({ field }, at) => `${sqlName(field)} = ${sqlLiteral(sample.keys[at] ?? '')}`)
      .join(' AND ');
    const [row] = await history.query<{ found: string }>(
      `SELECT count() AS found FROM ${table} WHERE _operation != 'insert' AND _seq <= {position: UInt64}
         AND _known_time >= fromUnixTimestamp64Micro({since: Int64}) AND _event_id IN (SELECT _event_id FROM ${table} WHERE ${isEntity})`,
      { position: sample.position, since: sample.servedUs - settleUs },
    );
    return Number(row?.found ?? 0) > 0;
  }
}
