import { loads } from '@millrace/contracts';
import type { LoadClient } from './context.ts';

export interface FollowOptions {
  readonly json?: boolean;
  /** Ctrl-C: the command stops watching, the load goes on. */
  readonly interrupt: AbortSignal;
}

const { SUCCEEDED, FAILED, CANCELLED, HELD, QUEUED } = loads.LoadState;
/** A load that is held may be for long: who watches is told and let go. */
const ended: ReadonlySet<number> = new Set([SUCCEEDED, FAILED, CANCELLED, HELD]);
const everyMs = 250;
const barCells = 24;

/** Watches a load until it ends, is held or the user turns away; on a terminal with a bar. */
export async function followLoad(client: LoadClient, load: loads.Load, options: FollowOptions): Promise<loads.Load> {
  const draws = !options.json && process.stderr.isTTY;
  let now = load;
  while (!ended.has(now.state)) {
    if (draws) process.stderr.write(`\r\u001b[2K${bar(now)}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
    if (options.interrupt.aborted) {
      process.stderr.write(`\nthe load goes on; watch it with: millrace loads show ${now.loadId} --follow\n`);
      return now;
    }
    now = (await client.getLoad({ loadId: now.loadId })).load ?? now;
  }
  if (draws) process.stderr.write('\r\u001b[2K');
  return now;
}

function bar(load: loads.Load): string {
  if (load.state === QUEUED) return `load ${load.loadId} waits for others`;
  const share = load.bytesTotal > 0n ? Math.min(Number(load.bytes) / Number(load.bytesTotal), 1) : 0;
  const filled = Math.round(share * barCells);
  const eta = load.etaSeconds >= 0 ? `, ${secondsText(load.etaSeconds)} to go` : '';
  const files = load.inputs > 1n ? `, ${load.inputsDone} of ${load.inputs} inputs` : '';
  const rejected = load.rejected > 0n ? `, ${load.rejected} rejected` : '';
  const cells = `${'█'.repeat(filled)}${'░'.repeat(barCells - filled)}`;
  return `${cells} ${Math.floor(share * 100)} %  ${load.rows} rows, ${Math.round(load.rowsPerSecond)}/s${rejected}${files}${eta}`;
}

function secondsText(seconds: number): string {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
}

/** What became of a load, for people. */
export function loadLines(load: loads.Load): string[] {
  const seconds = Number((load.endedUs || BigInt(Date.now()) * 1000n) - load.startedUs) / 1e6;
  const inputs = load.inputs === 1n ? '' : ` of ${load.inputs} inputs`;
  const skipped = load.inputsSkipped > 0n ? `, ${load.inputsSkipped} inputs were read before` : '';
  const counts = `${load.rows} rows${inputs}: ${load.accepted} accepted, ${load.duplicates} duplicates, ${load.rejected} rejected${skipped}`;
  const lines = [`load ${load.loadId} ${stateName(load.state)} (${seconds.toFixed(1)} s): ${counts}`];
  if (load.message !== '') lines.push(`  ${load.reason}: ${load.message}`);
  if (load.state === HELD)
    lines.push(`  it goes on by itself then; watch it with: millrace loads show ${load.loadId} --follow`);
  for (const { row, reason, message } of load.rejections) lines.push(`  row ${row}: ${reason}: ${message}`);
  const more = Number(load.rejected) - load.rejections.length;
  if (more > 0) lines.push(`  and ${more} more, in quarantine`);
  return lines;
}

export function stateName(state: loads.LoadState): string {
  return (Object.entries(loads.LoadState).find(([, value]) => value === state)?.[0] ?? 'unknown').toLowerCase();
}
