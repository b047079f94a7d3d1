import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { cruise, type ICruiseResult, type IForbiddenRuleType } from 'dependency-cruiser';
import { beforeAll, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..', '..');
const tests = '\\.test\\.ts$';

/** The tree is the rule book: design §9, in the words of dependency-cruiser. */
const rules: IForbiddenRuleType[] = [
  { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true, viaOnly: { pathNot: 'node_modules' } } },
  {
    name: 'kernel-stands-alone',
    severity: 'error',
    from: { path: '^libs/kernel/src', pathNot: tests },
    to: { pathNot: '^libs/kernel/|^(node:)?(crypto|perf_hooks)$' },
  },
  {
    name: 'features-is-pure',
    severity: 'error',
    from: { path: '^libs/features/src', pathNot: `${tests}|/testing/` },
    to: { pathNot: '^libs/(features|kernel)/|node_modules/(@marcbachmann/cel-js|re2js)/' },
  },
  {
    name: 'libs-know-no-service',
    severity: 'error',
    from: { path: '^libs/' },
    to: { path: '^(services|deploy|test)/' },
  },
  {
    name: 'services-meet-over-contracts',
    severity: 'error',
    from: { path: '^services/([^/]+)/' },
    to: { path: '^services/', pathNot: '^services/$1/' },
  },
  { name: 'services-know-no-deployment', severity: 'error', from: { path: '^services/' }, to: { path: '^deploy/' } },
  {
    name: 'domain-is-pure',
    severity: 'error',
    from: { path: '^services/[^/]+/src/domain/', pathNot: tests },
    to: {
      pathNot:
        '^services/[^/]+/src/domain/|^libs/(kernel|features|contracts|registry|rollouts|sources|stats|payloads)/|^(node:)?crypto$',
    },
  },
  {
    name: 'app-knows-no-adapter',
    severity: 'error',
    from: { path: '^services/[^/]+/src/app/', pathNot: tests },
    to: { path: '^services/[^/]+/src/(adapters|rpc|consumers|http|main|config)', dependencyTypesNot: ['type-only'] },
  },
  {
    name: 'only-main-builds-adapters',
    severity: 'error',
    from: { path: '^services/[^/]+/src/', pathNot: `^services/[^/]+/src/(main\\.ts|adapters/)|${tests}` },
    to: { path: '^services/[^/]+/src/adapters/', dependencyTypesNot: ['type-only'] },
  },
  {
    name: 'testkit-is-for-tests',
    severity: 'error',
    from: { path: '^(libs|services|deploy)/', pathNot: `${tests}|^libs/testkit/` },
    to: { path: '^libs/testkit/' },
  },
  {
    name: 'no-deep-imports',
    severity: 'error',
    from: { path: '^(libs|services|deploy)/([^/]+)/' },
    to: { path: '^libs/', pathNot: '^libs/$2/|^libs/[^/]+/src/(index|testing/index)\\.ts$' },
  },
  { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
];

let result: ICruiseResult;

beforeAll(async () => {
  const { output } = await cruise(['libs', 'services', 'deploy'], {
    baseDir: root,
    ruleSet: { forbidden: rules },
    validate: true,
    exclude: { path: '(^|/)(gen|fixtures)/|\\.mjs$' },
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'types', 'default'],
      extensions: ['.ts', '.js', '.mjs', '.d.ts'],
    },
  });
  if (typeof output === 'string') throw new Error('dependency-cruiser answered with text');
  result = output;
}, 180_000);

test('every module of the libs, services and deploy folders is examined', () => {
  const expected = ['libs', 'services', 'deploy'].flatMap((folder) => sources(folder)).length;
  const seen = result.modules.filter(
    (module) => /^(libs|services|deploy)\/.*\.ts$/.test(module.source) && !module.source.includes('node_modules'),
  ).length;
  expect(expected).toBeGreaterThan(60);
  expect(seen).toBeGreaterThanOrEqual(expected);
});

test('the import rules hold', () => {
  expect(result.summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`)).toEqual([]);
});

test('every package imports only what its package.json declares', () => {
  const undeclared = packages().flatMap(({ folder, declared }) =>
    sources(folder)
      .filter((file) => !file.endsWith('.test.ts') && !file.includes('/testing/'))
      .flatMap((file) =>
        [...readFileSync(join(root, file), 'utf8').matchAll(/(?:from|import\()\s*'([^'.][^']*)'/g)]
          .map(([, name = '']) => name)
          .filter((name) => !name.startsWith('node:'))
          .map((name) =>
            name
              .split('/')
              .slice(0, name.startsWith('@') ? 2 : 1)
              .join('/'),
          )
          .filter((name) => !declared.has(name))
          .map((name) => `${file}: ${name}`),
      ),
  );
  expect(undeclared).toEqual([]);
});

test('process.env is read in config files alone', () => {
  const readers = ['libs', 'services']
    .flatMap((folder) => sources(folder))
    .filter((file) => !/\.test\.ts$|\/config\.ts$|^libs\/(testkit|stores|runtime|sdk)\//.test(file))
    .filter((file) => /process\.env\b/.test(readFileSync(join(root, file), 'utf8')));
  expect(readers).toEqual([]);
});

test('no file is longer than 400 lines', () => {
  const long = ['libs', 'services', 'deploy', 'test']
    .flatMap((folder) => sources(folder))
    .map((file) => ({ file, lines: readFileSync(join(root, file), 'utf8').split('\n').length - 1 }))
    .filter(({ lines }) => lines > 400);
  expect(long).toEqual([]);
});

test('every service and lib has a README', () => {
  const without = packages().filter(({ folder }) => !readdirSync(join(root, folder)).includes('README.md'));
  expect(without.map(({ folder }) => folder)).toEqual([]);
});

function packages(): { folder: string; declared: ReadonlySet<string> }[] {
  const folders = ['libs', 'services', 'deploy', 'deploy/examples'].flatMap((parent) =>
    readdirSync(join(root, parent), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && readdirSync(join(root, parent, entry.name)).includes('package.json'))
      .map((entry) => `${parent}/${entry.name}`),
  );
  return folders.map((folder) => {
    const json = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')) as {
      name: string;
      dependencies?: Record<string, string>;
    };
    return { folder, declared: new Set([json.name, ...Object.keys(json.dependencies ?? {})]) };
  });
}

/** Every TypeScript source under a folder, generated code left out. */
function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((file) => !/node_modules|\/gen\/|\/fixtures\/|\.d\.ts$/.test(file));
}
