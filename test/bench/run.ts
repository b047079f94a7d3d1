import { execFileSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { type Bench, parseBenchArguments, usageOf } from './bench.ts';

/**
 * `npm run bench -- <name> [--json] [arguments]`: runs test/bench/<name>.ts. Progress goes to stderr; the last line of stdout is
 * `{"bench","commit","machine","cases"}`. `--help` tells what each takes.
 */
const names = [
  'compute',
  'feast',
  'freshness',
  'inference',
  'ingest',
  'overload',
  'serving',
  'training-set',
  'vectors',
  'windows',
  'workloads',
];
const [name = '', ...rest] = process.argv.slice(2);
const load = async (bench: string) => (await import(join(import.meta.dirname, `${bench}.ts`))) as Bench;

if (name === '--help' || name === '-h' || name === '') {
  for (const each of names) process.stdout.write(usageOf(each, (await load(each)).usage ?? {}));
  process.exit(name === '' ? 1 : 0);
}
if (!names.includes(name)) {
  process.stderr.write(`bench: "${name}" is not a benchmark; use one of: ${names.join(', ')}\n`);
  process.exit(1);
}
const { run, usage = {} } = await load(name);
const given = parsed();
if (given.help) {
  process.stdout.write(usageOf(name, usage));
  process.exit(0);
}
const stop = new AbortController();
process.once('SIGINT', () => stop.abort());
process.once('SIGTERM', () => stop.abort());
const cases = await run({
  ...given,
  progress: (text) => process.stderr.write(`bench ${name}: ${text}\n`),
  signal: stop.signal,
});
if (!given.json) {
  for (const [label, metrics] of Object.entries(cases)) {
    const line = Object.entries(metrics).map(([metric, value]) => `${metric} ${value}`);
    process.stdout.write(`${label}: ${line.join(', ')}\n`);
  }
}
process.stdout.write(`${JSON.stringify({ bench: name, commit: commitId(), machine: machine(), cases })}\n`);

function parsed() {
  try {
    return parseBenchArguments(rest, usage);
  } catch (cause) {
    process.stderr.write(`bench ${name}: ${(cause as Error).message}\n${usageOf(name, usage)}`);
    process.exit(1);
  }
}

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
