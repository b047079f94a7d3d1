import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MeshError } from '@millrace/kernel';
import { startProcess } from './process.ts';
import { type Store, type StoreOptions, storeOf } from './store.ts';

/**
 * `nats-server` from the PATH on loopback with JetStream, messages up to 8 MB. With port 0 the server binds first and
 * then says which port it got, so no other process can take it in between.
 */
export async function startNats({ dir, port = 0, ...rest }: StoreOptions): Promise<Store> {
  const portsDir = join(dir, 'ports');
  const configFile = join(dir, 'nats.conf');
  rmSync(portsDir, { recursive: true, force: true });
  mkdirSync(portsDir, { recursive: true });
  writeFileSync(configFile, configOf(join(dir, 'jetstream')));
  const argsFor = (listenPort: number) => ['-c', configFile, '-a', '127.0.0.1', '-p', String(listenPort)];
  const child = await startProcess({
    ...rest,
    name: 'nats',
    command: 'nats-server',
    args: [...argsFor(port === 0 ? -1 : port), '--ports_file_dir', portsDir],
    ready: { line: (line) => line.includes('Server is ready') },
  });
  const bound = port === 0 ? await portIn(portsDir) : port;
  return storeOf(child, { url: `nats://127.0.0.1:${bound}`, port: bound, dir, restartArgs: argsFor(bound) });
}

function configOf(storeDir: string): string {
  return `max_payload: 8MB\njetstream { store_dir: ${JSON.stringify(storeDir)} }\n`;
}

/** The ports file is written just after the ready line: `{"nats":["nats://127.0.0.1:4222"], …}`. */
async function portIn(portsDir: string): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const file = readdirSync(portsDir).find((name) => name.endsWith('.ports'));
    const text = file === undefined ? '' : readFileSync(join(portsDir, file), 'utf8');
    const port = /"nats":\s*\[\s*"nats:\/\/[^"]*:(\d+)"/.exec(text)?.[1];
    if (port !== undefined) return Number(port);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new MeshError('PROCESS_FAILED', `nats-server wrote no ports file in "${portsDir}" within 2 s`, {
    process: 'nats',
    dir: portsDir,
  });
}
