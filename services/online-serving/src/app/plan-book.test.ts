import { definitions } from '@millrace/contracts';
import type { ViewDefinition } from '@millrace/features';
import { expect, test } from 'vitest';
import { createPlanBook, type DefinitionCatalog, type ListedService } from './plan-book.ts';

const view = (version: string): ViewDefinition => ({
  name: 'clicks',
  version,
  entity: 'user',
  joinKeys: [{ name: 'user', type: 'STRING', field: 'user' }],
  source: 'clicks',
  fields: [{ name: 'user', type: 'STRING', nullable: false }],
  features: [{ name: 'n', function: 'count', field: '', window: { t: 'lifetime' }, filter: '', ddof: 1 }],
});

/** Version `s3` reads `v3` of the view, and so on; `gone` views are not known any more. */
function world(state: { latest: number; ready: Set<string>; gone: Set<string> }) {
  const service = (number: number): ListedService => ({
    name: 'users',
    version: `s${number}`,
    previousVersions: Array.from({ length: number - 1 }, (_, i) => `s${number - 1 - i}`),
    spec: definitions.FeatureService.fromPartial({
      features: [{ view: 'clicks', viewVersion: `v${number}`, feature: 'n', alias: 'n' }],
    }),
  });
  const catalog: DefinitionCatalog = {
    listServices: () => [service(state.latest)],
    refresh: async () => {},
    service: async (_name, version) => service(Number(version.slice(1))),
    async view(_name, version) {
      if (state.gone.has(version)) throw new Error(`no ${version}`);
      return view(version);
    },
    isReady: (_view, version) => state.ready.has(version),
  };
  return () => createPlanBook({ catalog, onProblem: () => {} });
}

test('a process that starts while a version warms up answers with the latest that is filled, then switches', async () => {
  const state = { latest: 4, ready: new Set(['v1', 'v2']), gone: new Set<string>() };
  const book = world(state)();
  await book.refresh();
  expect(book.current('users', '')?.version).toBe('s2');
  await book.refresh();
  expect(book.current('users', '')?.version).toBe('s2');
  state.ready.add('v4');
  await book.refresh();
  expect(book.current('users', '')?.version).toBe('s4');
});

test('without a version that is filled, or whose views are still known, the current one answers', async () => {
  const none = world({ latest: 2, ready: new Set(), gone: new Set<string>() })();
  await none.refresh();
  expect(none.current('users', '')?.version).toBe('s2');
  const gone = world({ latest: 3, ready: new Set(['v1', 'v2']), gone: new Set(['v2']) })();
  await gone.refresh();
  expect(gone.current('users', '')?.version).toBe('s1');
});
