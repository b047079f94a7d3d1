import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';

const root = join(import.meta.dirname, '..', '..');
const folder = join(root, 'deploy', 'compose');

interface ComposeService {
  readonly image?: string;
  readonly build?: {
    readonly context: string;
    readonly dockerfile: string;
    readonly args: { readonly SERVICE: string };
  };
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly networks?: readonly string[];
}

const compose = parse(readFileSync(join(folder, 'compose.yaml'), 'utf8'), { merge: true }) as {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes: Readonly<Record<string, unknown>>;
};
const entries = Object.entries(compose.services);

test('every service of the tree is built, from the one Dockerfile', () => {
  const built = entries.flatMap(([name, { build }]) =>
    build ? [{ name, service: build.args.SERVICE, file: join(folder, build.context, build.dockerfile) }] : [],
  );
  expect(built.map(({ service }) => service).sort()).toEqual(readdirSync(join(root, 'services')).sort());
  for (const { name, service, file } of built) {
    expect(service).toBe(name);
    expect(existsSync(file)).toBe(true);
  }
});

test('every variable is one that some service or lib reads', () => {
  const code = ['services', 'libs']
    .flatMap((parent) => readdirSync(join(root, parent)).map((name) => join(root, parent, name, 'src')))
    .flatMap((source) =>
      readdirSync(source, { recursive: true, encoding: 'utf8' })
        .filter((file) => file.endsWith('.ts') && !file.includes('gen/'))
        .map((file) => join(source, file)),
    )
    .map((file) => readFileSync(file, 'utf8'))
    .join('\n');
  const names = new Set(entries.flatMap(([, { build, environment }]) => (build ? Object.keys(environment ?? {}) : [])));
  expect(names.size).toBeGreaterThan(5);
  expect([...names].filter((name) => !code.includes(name))).toEqual([]);
});

test('images are pinned, ports stay on loopback, references and mounted files exist', () => {
  for (const [name, service] of entries) {
    if (service.image !== undefined) expect(service.image, name).toMatch(/:v?\d+\.\d+/);
    for (const port of service.ports ?? []) expect(port, name).toMatch(/^127\.0\.0\.1:/);
    for (const dependency of Object.keys(service.depends_on ?? {}))
      expect(Object.keys(compose.services)).toContain(dependency);
    for (const volume of service.volumes ?? []) {
      const [source = ''] = volume.split(':');
      if (source.startsWith('.')) expect(existsSync(join(folder, source)), `${name}: ${source}`).toBe(true);
      else expect(Object.keys(compose.volumes), `${name}: ${source}`).toContain(source);
    }
  }
});
