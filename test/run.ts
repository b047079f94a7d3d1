/** `npm test`: type-check, lint, contracts, then every vitest project; ends with `N passed, N failed`. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

type Step = { readonly name: string; readonly passed: boolean };

const filters = process.argv.slice(2);
const root = join(import.meta.dirname, '..');

function step(name: string, command: string, args: readonly string[]): Step {
  process.stderr.write(`\n== ${name}\n`);
  const startedMs = Date.now();
  const done = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  const passed = done.status === 0;
  process.stderr.write(
    `== ${name}: ${passed ? 'ok' : 'FAILED'} in ${((Date.now() - startedMs) / 1000).toFixed(1)} s\n`,
  );
  return { name, passed };
}

/** Vitest's own exit code misses nothing, but its summary does not say `N passed, N failed`: that comes from its report. */
function vitest(): { readonly passed: number; readonly failed: number } {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-test-'));
  const report = join(folder, 'report.json');
  const done = step('tests', 'vitest', [
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...filters,
  ]);
  if (!existsSync(report)) return { passed: 0, failed: 1 };
  const { numPassedTests, numFailedTests, numTotalTests, testResults } = JSON.parse(readFileSync(report, 'utf8')) as {
    readonly numPassedTests: number;
    readonly numFailedTests: number;
    readonly numTotalTests: number;
    readonly testResults: readonly { readonly status: string; readonly assertionResults: readonly unknown[] }[];
  };
  rmSync(folder, { recursive: true, force: true });
  const brokenFiles = testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  ).length;
  const failed = numFailedTests + brokenFiles;
  if (numTotalTests === 0) return { passed: 0, failed: failed + 1 };
  return { passed: numPassedTests, failed: failed === 0 && !done.passed ? 1 : failed };
}

const gates =
  filters.length > 0
    ? []
    : [
        step('types', 'tsc', ['--noEmit']),
        step('lint', 'biome', ['check', '.']),
        step('contracts', 'buf', ['lint', 'proto']),
      ];
const tests = vitest();
const passed = tests.passed + gates.filter((gate) => gate.passed).length;
const failed = tests.failed + gates.filter((gate) => !gate.passed).length;
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
