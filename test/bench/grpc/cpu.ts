import { readFileSync } from 'node:fs';

/** User and system time of a process, in ticks of 10 ms. */
export function cpuMs(pid: number | string): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
