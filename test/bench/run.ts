import { execFileSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Bench } from './bench.ts';

/**
 * `npm run bench -- <name> [--json] [arguments]`: runs test/bench/<name>.ts. Progress goes to stderr; the last line of stdout is
 * `{"bench","commit","machine","cases"}`.
 */
const names = [
  'compute',
  'feast',
  'freshness',
  'ingest',
  'overload',
  'serving',
  'training-set',
  'vectors',
  'windows',
  'workloads',
];
const [name = '', ...rest] = process.argv.slice(2);
const json = rest.includes('--json');

if (!names.includes(name)) {
  process.stderr.write(`bench: "${name}" is not a benchmark; use one of: ${names.join(', ')}\n`);
  process.exit(1);
}
const { run } = (await import(join(import.meta.dirname, `${name}.ts`))) as Bench;
const stop = new AbortController();
process.once('SIGINT', () => stop.abort());
process.once('SIGTERM', () => stop.abort());
const cases = await run({
  args: rest.filter((argument) => argument !== '--json'),
  progress: (text) => process.stderr.write(`bench ${name}: ${text}\n`),
  signal: stop.signal,
});
if (!json) {
  for (const [label, metrics] of Object.entries(cases)) {
    const line = Object.entries(metrics).map(([metric, value]) => `${metric} ${value}`);
    process.stdout.write(`${label}: ${line.join(', ')}\n`);
  }
}
process.stdout.write(`${JSON.stringify({ bench: name, commit: commitId(), machine: machine(), cases })}\n`);

function commitId(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

function machine(): string {
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} x ${cpus()[0]?.model.trim() ?? 'cpu'}, ${memory} GiB, node ${process.versions.node}, ${process.platform} ${process.arch}`;
}
