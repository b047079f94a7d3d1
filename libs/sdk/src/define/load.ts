import { readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { definitions } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { expandEveryFeature } from './every-feature.ts';
import { isDefined } from './types.ts';
import { parseYamlDefinitions } from './yaml.ts';

const loadable = new Set(['.ts', '.mts', '.js', '.mjs', '.yaml', '.yml']);

/**
 * The definitions of files and folders: TypeScript modules by what they export (definitions, or lists of them), YAML by its documents.
 * A definition that several modules export is taken once. INVALID_DEFINITION names every file that cannot be read.
 */
export async function loadDefinitions(paths: readonly string[]): Promise<definitions.Definition[]> {
  const found = new Set<definitions.Definition>();
  const problems: string[] = [];
  for (const file of paths.flatMap(filesOf)) {
    try {
      for (const definition of await loadFile(file)) found.add(definition);
    } catch (thrown) {
      problems.push(thrown instanceof MeshError ? thrown.message : `${label(file)}: ${(thrown as Error).message}`);
    }
  }
  problems.push(...expandEveryFeature([...found]));
  if (problems.length > 0)
    throw new MeshError('INVALID_DEFINITION', problems.join('\n'), { problems: problems.length });
  return [...found];
}

async function loadFile(file: string): Promise<definitions.Definition[]> {
  if (/\.ya?ml$/.test(file)) return parseYamlDefinitions(readFileSync(file, 'utf8'), label(file));
  const module = (await import(pathToFileURL(file).href)) as Readonly<Record<string, unknown>>;
  const defined = Object.values(module).flat().filter(isDefined);
  for (const { definition } of defined) if (definition.file === '') definition.file = label(file);
  return defined.map(({ definition }) => definition);
}

function filesOf(path: string): string[] {
  const full = resolve(path);
  let isFolder: boolean;
  try {
    isFolder = statSync(full).isDirectory();
  } catch (cause) {
    throw new MeshError('INVALID_ARGUMENT', `no file or folder "${path}"`, { path }, { cause });
  }
  if (!isFolder) return [full];
  return readdirSync(full, { withFileTypes: true })
    .filter((entry) => entry.isFile() && loadable.has(extname(entry.name)) && !/\.test\.|\.d\.ts$/.test(entry.name))
    .map((entry) => join(full, entry.name))
    .sort();
}

function label(file: string): string {
  const short = relative(process.cwd(), file);
  return short.startsWith('..') ? file : short;
}
