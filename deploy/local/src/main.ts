import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { toMeshError } from '@millrace/kernel';
import { lockFolder } from './lock.ts';
import { startMesh } from './mesh.ts';
import { parseOptions } from './options.ts';
import { choosePorts } from './ports.ts';
import { runFlights } from './run-flights.ts';
import { waitWith } from './wait-with.ts';

const examplesDir = resolve(import.meta.dirname, '..', '..', 'examples');
const options = parseOptions(process.argv.slice(2));
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopping.abort());

const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

try {
  const known = existsSync(options.dataDir);
  await lockFolder(options.dataDir);
  if (options.fresh && known) {
    say(`wiping ${options.dataDir}`);
    rmSync(options.dataDir, { recursive: true, force: true });
    mkdirSync(options.dataDir);
  }
  const mesh = await startMesh({
    dataDir: options.dataDir,
    ports: await choosePorts(options.basePort, say),
    modelDir: join(examplesDir, 'flights', 'model'),
    otlpEndpoint: options.otlpEndpoint,
    say,
  });
  try {
    const failed = mesh.failed.then((error) => {
      stopping.abort();
      throw error;
    });
    const running = options.empty
      ? waitWith(mesh.endpoints, options.dataDir, stopping.signal, say)
      : runFlights(options, mesh.endpoints, stopping.signal, say);
    const summary = await Promise.race([running, failed]);
    if (options.once) await mesh.stop();
    if (summary && options.once) process.stdout.write(`${JSON.stringify(summary)}\n`);
  } finally {
    await mesh.stop();
  }
} catch (thrown) {
  const error = toMeshError(thrown, 'the mesh did not run');
  say(`millrace: ${error.message} (${error.reason})`);
  process.exitCode = 1;
}
