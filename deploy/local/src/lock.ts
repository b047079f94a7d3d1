import { createHash } from 'node:crypto';
import { mkdirSync, realpathSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { MeshError } from '@millrace/kernel';

/** Held while a mesh uses a data folder; the system lets go of it when the process ends, whatever ends it. */
export interface FolderLock {
  release(): Promise<void>;
}

/**
 * Takes a data folder for this process: a Unix socket in the abstract namespace, named after the folder, which answers with the process id.
 * Throws MeshError FOLDER_IN_USE, with that id, when another process has it.
 */
export async function lockFolder(folder: string): Promise<FolderLock> {
  mkdirSync(folder, { recursive: true });
  const digest = createHash('sha256').update(realpathSync(folder)).digest('hex');
  const path = `\0millrace-${digest}`;
  const server = createServer((socket) => socket.on('error', () => undefined).end(String(process.pid)));
  if (await listens(server, path)) {
    server.unref();
    return { release: () => new Promise((resolve) => server.close(() => resolve())) };
  }
  const holder = await ask(path);
  throw new MeshError(
    'FOLDER_IN_USE',
    `a mesh runs on ${folder}${holder === '' ? '' : ` (process ${holder})`}; stop it with Ctrl-C, or use another folder: npm start -- --data-dir <folder>`,
    { folder, process: holder },
  );
}

function listens(server: Server, path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(false) : reject(error),
    );
    server.listen(path, () => resolve(true));
  });
}

function ask(path: string): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(path);
    socket.setTimeout(1_000, () => socket.destroy());
    socket.on('data', (bytes) => (text += bytes));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(text));
  });
}
