import { type ChildProcess, spawn } from 'node:child_process';

/**
 * A shell that outlives this process by an instant: it holds the list of the process groups that we started and kills
 * them when its stdin closes, which the kernel does however this process ends (`kill -9` included). `exec 1>&- 2>&-`
 * lets go of inherited outputs, and the loop dies with the pipe, so the reaper itself never lingers.
 */
const script = `
exec 1>&- 2>&-
trap '' INT TERM HUP
groups=
while read -r op group; do
  rest=
  for known in $groups; do [ "$known" = "$group" ] || rest="$rest $known"; done
  groups=$rest
  [ "$op" = + ] && groups="$groups $group"
done
for group in $groups; do kill -9 "-$group"; done
`;

let reaper: ChildProcess | undefined;

function tell(op: '+' | '-', group: number): void {
  if (reaper === undefined || reaper.exitCode !== null || reaper.signalCode !== null) {
    if (op === '-') return;
    reaper = spawn('/bin/sh', ['-c', script], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
    reaper.unref();
    reaper.on('error', () => undefined);
    reaper.stdin?.on('error', () => undefined);
    (reaper.stdin as { unref?: () => void } | null)?.unref?.();
  }
  reaper.stdin?.write(`${op} ${group}\n`);
}

/** Kills this process group when the current process ends, whatever ends it. */
export function reapWithParent(group: number): void {
  tell('+', group);
}

export function forgetGroup(group: number): void {
  tell('-', group);
}
