import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Materialization, MaterializationBook } from '../app/materialize/materialization.ts';

/** One file a job in the service's data folder; a file is replaced as a whole, so a crash leaves the old or the new one. */
export function openMaterializationFiles(dir: string): MaterializationBook {
  mkdirSync(dir, { recursive: true });
  const jobs = new Map(
    readdirSync(dir)
      .filter((name) => name.endsWith('.json'))
      .map((name) => JSON.parse(readFileSync(join(dir, name), 'utf8')) as Materialization)
      .map((job) => [job.id, job]),
  );
  return {
    list: () => [...jobs.values()],
    put(job) {
      const file = join(dir, `${job.id}.json`);
      const handle = openSync(`${file}.new`, 'w');
      writeSync(handle, JSON.stringify(job));
      fsyncSync(handle);
      closeSync(handle);
      renameSync(`${file}.new`, file);
      jobs.set(job.id, job);
    },
  };
}
