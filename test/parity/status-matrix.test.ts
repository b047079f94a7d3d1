import { MeshError } from '@millrace/kernel';
import {
  type Defined,
  double,
  entity,
  type FeatureRef,
  feature,
  featureService,
  featureView,
  sliding,
  source,
  string,
} from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FullMesh, startFullMesh } from '../support/full-mesh.ts';
import { cellOf, type MatrixRead, openSurfaces, type Surface } from './status-surfaces.ts';

/**
 * W10: what every surface says of a value that is missing, null, stale, future, late, doubled or asked for wrongly. The table is committed
 * as services/online-serving/STATUS-MATRIX.md and this test fails when a surface says something else; `vitest -u` writes it anew.
 */
const visits = source('visits', { key: 'page', fields: { page: string(), spent: double({ nullable: true }) } });
const page = entity('page', { joinKeys: { page: 'STRING' } });
const window = sliding('24h');
const view = featureView('visits_by_page', {
  entity: page,
  source: visits,
  features: (of) => ({
    visits: of.count({ window }),
    mean: of.mean('spent', { window }),
    last: of.last('spent', { window }),
  }),
});
const mean = (as: string, options: Parameters<typeof feature>[2] = {}) => feature(view, 'mean', { as, ...options });
const services = {
  plain: [feature(view, 'visits', { as: 'visits' }), mean('mean'), feature(view, 'last', { as: 'last' })],
  with_default: [mean('mean', { default: -1 }), feature(view, 'visits', { as: 'visits', default: -1 })],
  aged: [
    mean('served', { maxAge: '1h' }),
    mean('nulled', { maxAge: '1h', whenStale: 'null' }),
    mean('defaulted', { maxAge: '1h', whenStale: 'default', default: -1 }),
  ],
  strict: [mean('failed', { maxAge: '1h', whenStale: 'fail' })],
  twice: [mean('one'), mean('two')],
} satisfies Record<string, FeatureRef[]>;

const minuteUs = 60_000_000;
const nowUs = Math.floor(Date.now() / 1000) * 1_000_000;
let mesh: FullMesh;
let surfaces: Awaited<ReturnType<typeof openSurfaces>>;

beforeAll(async () => {
  mesh = await startFullMesh();
  const defined = Object.entries(services).map(([name, features]) => featureService(name, { features }));
  await mesh.apply(visits, page, view, ...defined);
  await mesh.viewsReady(1);
  await publish(['old', -300, 3], ['quiet', -30, null], ['live', -30, 4], ['live', -10, 8]);
  // late: its time is before that of the newest; future: within the skew that the source allows
  await publish(['live', -20, 6], ['live', 4, 100]);
  surfaces = await openSurfaces(mesh);
}, 180_000);

afterAll(async () => {
  await surfaces?.close();
  await mesh?.close();
});

let sequence = 0;

/** Page, minutes from now, amount; waits until rows and history hold them. */
async function publish(...events: readonly (readonly [string, number, number | null])[]): Promise<void> {
  const { position, rejections } = await mesh.clients.ingestion.publish({
    source: 'visits',
    events: events.map(([name, minutes, spent]) => ({
      id: `visit-${sequence++}`,
      eventTimeUs: BigInt(nowUs + minutes * minuteUs),
      json: Buffer.from(JSON.stringify({ page: name, spent })),
    })),
  });
  expect(rejections).toEqual([]);
  await eventually(async () => (await mesh.clients.compute.getStatus({})).rowPosition >= position);
  await eventually(async () => {
    const { sources } = await mesh.clients.ingestion.getProgress({ source: 'visits' });
    return (sources[0]?.historyPosition ?? 0n) >= position;
  });
}

type Case = { readonly label: string; readonly feature: string; readonly read: MatrixRead };

function read(
  label: string,
  service: string,
  name: string,
  pages: MatrixRead['pages'],
  more: Partial<MatrixRead> = {},
): Case {
  return { label, feature: name, read: { service, pages, asOfUs: nowUs, ...more } };
}

const cases: readonly Case[] = [
  read('value', 'plain', 'mean', ['live']),
  read('missing entity, a count', 'plain', 'visits', ['nobody']),
  read('missing entity, a mean', 'plain', 'mean', ['nobody']),
  read('missing entity, with a default', 'with_default', 'mean', ['nobody']),
  read('missing entity, a count with a default', 'with_default', 'visits', ['nobody']),
  read('null value', 'plain', 'mean', ['quiet']),
  read('null value, with a default', 'with_default', 'mean', ['quiet']),
  read('stale, policy serve', 'aged', 'served', ['old']),
  read('stale, policy null', 'aged', 'nulled', ['old']),
  read('stale, policy default', 'aged', 'defaulted', ['old']),
  read('stale, policy fail', 'strict', 'failed', ['old']),
  read('future event, before its time', 'plain', 'last', ['live']),
  read('future event, after its time', 'plain', 'last', ['live'], { asOfUs: nowUs + 5 * minuteUs }),
  read('late event, a count', 'plain', 'visits', ['live']),
  read('late event, the newest value', 'plain', 'last', ['live']),
  read('read time before the row', 'plain', 'visits', ['live'], { asOfUs: nowUs - 25 * minuteUs }),
  read('read time before the row, history allowed', 'plain', 'visits', ['live'], {
    asOfUs: nowUs - 25 * minuteUs,
    allowHistory: true,
  }),
  read('one feature under two names', 'twice', 'two', ['live']),
  read('a key column twice', 'plain', 'visits', ['live'], { keyTwice: true }),
  read('unknown feature service', 'nope', 'visits', ['live']),
  read('empty list', 'plain', 'visits', []),
  read('null key', 'plain', 'visits', [null]),
];

const refusedAtApply: readonly [string, Defined][] = [
  ['two features under one name', featureService('doubled', { features: [mean('same'), mean('same')] })],
  ['unknown feature', featureService('wrong', { features: [{ ...mean('x'), feature: 'median' }] })],
];

test('every surface says what the committed table says', async () => {
  const columns = surfaces.surfaces;
  const lines: string[] = [];
  for (const { label, feature: name, read: one } of cases) {
    const cells: string[] = [];
    for (const surface of columns) cells.push(speaksOf(surface, one) ? await settledCell(surface, one, name) : '—');
    lines.push(row([label, ...cells, '']));
  }
  for (const [label, defined] of refusedAtApply)
    lines.push(row([label, ...columns.map(() => ''), await applied(defined)]));
  const table = [
    row(['case', ...columns.map(({ name }) => name), '`apply`']),
    row(Array.from({ length: columns.length + 2 }, () => '---')),
    ...lines,
  ];
  await expect(`${intro}\n${table.join('\n')}\n`).toMatchFileSnapshot('../../services/online-serving/STATUS-MATRIX.md');
}, 120_000);

test('the native surfaces agree on every value, and so do those of Feast; none fails for a reason of its own', async () => {
  for (const { label, feature: name, read: one } of cases.filter(({ read: { keyTwice } }) => !keyTwice)) {
    for (const family of [native, feast]) {
      const said = new Set<string>();
      for (const surface of surfaces.surfaces.filter((known) => family.includes(known.name)))
        if (speaksOf(surface, one)) said.add(await settledCell(surface, one, name));
      expect(said.size, `${label}: ${[...said]}`).toBeLessThanOrEqual(1);
      expect([...said], label).not.toContain('INTERNAL');
    }
  }
}, 120_000);

/** Feast has no read time; it and a training set's labels have one column for each name. */
function speaksOf({ name, onlyNow = false }: Surface, { asOfUs, keyTwice = false }: MatrixRead): boolean {
  return (!onlyNow || asOfUs === nowUs) && (!keyTwice || native.includes(name));
}

/** The row store may be slow on a busy machine; that is not what the table is about. */
async function settledCell(surface: Surface, one: MatrixRead, name: string): Promise<string> {
  return eventually(async () => {
    const cell = await cellOf(surface, one, name);
    return cell === 'STORE_UNAVAILABLE' ? false : cell;
  });
}

async function applied(defined: Defined): Promise<string> {
  try {
    await mesh.apply(defined);
    return 'taken';
  } catch (thrown) {
    return thrown instanceof MeshError ? `refused, ${thrown.reason}` : String(thrown);
  }
}

const native = ['gRPC', 'stream', 'REST'];
const feast = ['Feast gRPC', 'Feast HTTP'];
const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;

const intro = `# What every surface says of a value

Made by test/parity/status-matrix.test.ts from five processes over real stores, and compared by it: \`vitest -u\` writes it anew. A cell is
the status and the value, or the reason of the error; Feast's surfaces read as of now alone (FEAST.md says where they differ from Feast); a
training set has values alone, all events counted (\`complete\`).
The view counts visits, their mean and the last amount over 24 hours. Page \`live\` has visits of 4, 6 and 8, of which 6 came late, and one of 100
that lies four minutes in the future; \`quiet\` has one without an amount, \`old\` one of 3 that is five hours old with a \`max_age\` of one hour.
`;
