import { spawnSync } from 'node:child_process';
import { totalmem } from 'node:os';
import type { Telemetry } from '@millrace/runtime';

/** Of the memory that there is: what an allocation may bring the process to. */
const share = 0.8;

/** What the process may take by default: a share of the machine's memory, or of its container's. */
export function memoryBytesMaxHere(): number {
  const constrained = process.constrainedMemory();
  const total = constrained > 0 && constrained < totalmem() ? constrained : totalmem();
  return Math.floor(total * share);
}

/**
 * Bounds the memory that the process can write to (RLIMIT_DATA, by prlimit of util-linux); 0: not at all. Without it Linux promises a model more
 * than there is and ends the process when it is used; with it the allocation fails, which onnxruntime tells the request. Where there is no
 * prlimit, or it refuses, that is logged.
 */
export function limitMemory(bytes: number, log: Telemetry['log']): void {
  if (bytes === 0) return;
  const given = ['--pid', String(process.pid), `--data=${bytes}`];
  const done = spawnSync('prlimit', given, { encoding: 'utf8', timeout: 5_000 });
  if (done.status !== 0)
    log.warn({ event: 'memory_not_limited', bytes, message: done.error?.message ?? done.stderr.trim() });
}
