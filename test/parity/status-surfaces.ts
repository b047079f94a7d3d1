import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compute, feastGrpc, feastServing, serving } from '@millrace/contracts';
import { type History, openHistory } from '@millrace/history';
import { MeshError, type Reason } from '@millrace/kernel';
import { type Client, connect, fromRpcStatus } from '@millrace/rpc';
import type { FullMesh } from '../support/full-mesh.ts';

/** One read of entities of one join key, `page`, in the words of no surface. */
export type MatrixRead = {
  readonly service: string;
  readonly pages: readonly (string | null)[];
  readonly asOfUs: number;
  readonly allowHistory?: boolean;
  /** Sends the key's column a second time. */
  readonly keyTwice?: boolean;
};

/** What a surface says of one feature in one row: a status (where it has one) and a value, or why there is no answer. */
export type Surface = {
  readonly name: string;
  /** It has no word for a read time: it reads as of its clock. */
  readonly onlyNow?: boolean;
  read(read: MatrixRead): Promise<readonly Readonly<Record<string, string>>[]>;
};

export async function openSurfaces(
  mesh: FullMesh,
): Promise<{ readonly surfaces: readonly Surface[]; close(): Promise<void> }> {
  const history = await openHistory({ url: mesh.stores.clickhouse.url });
  const feast = connect(feastGrpc.GrpcFeatureServerService, mesh.service('online-serving').grpc);
  return {
    surfaces: [
      grpc(mesh),
      stream(mesh),
      rest(mesh),
      feastOverGrpc(feast),
      feastOverHttp(mesh),
      trainingSet(mesh, history),
    ],
    async close() {
      feast.close();
      await history.close();
    },
  };
}

/** The cell of one feature of the first row. */
export async function cellOf(surface: Surface, read: MatrixRead, feature: string): Promise<string> {
  try {
    const rows = await surface.read(read);
    return rows.length === 0 ? 'no rows' : (rows[0]?.[feature] ?? 'no such column');
  } catch (thrown) {
    if (thrown instanceof MeshError) return thrown.reason;
    throw thrown;
  }
}

function grpc({ clients }: FullMesh): Surface {
  return { name: 'gRPC', read: async (read) => rowsOf(await clients.features.getFeatures(requestOf(read))) };
}

function stream({ clients }: FullMesh): Surface {
  return {
    name: 'stream',
    async read(read) {
      async function* one() {
        yield { id: 7n, read: requestOf(read), timeoutMs: 0 };
      }
      for await (const { id, result } of clients.features.streamFeatures(one())) {
        if (id !== 7n) throw new Error(`the answer is that of read ${id}`);
        if (result?.$case === 'features') return rowsOf(result.value);
        throw (result && fromRpcStatus(result.value)) ?? new Error('an error without ErrorInfo');
      }
      throw new Error('the stream ended without an answer');
    },
  };
}

function rest(mesh: FullMesh): Surface {
  return {
    name: 'REST',
    async read({ service, pages, asOfUs, allowHistory = false, keyTwice = false }) {
      const entities = pages.map((page) => `{"page":${JSON.stringify(page)}${keyTwice ? `,"page":"twice"` : ''}}`);
      const answer = await fetch(
        `http://${mesh.service('online-serving').http}/v1/feature-services/${service}/features`,
        {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: `{"entities":[${entities.join(',')}],"as_of":${asOfUs},"allow_history":${allowHistory}}`,
        },
      );
      const json = (await answer.json()) as {
        error?: { reason: 'INTERNAL'; message: string };
        rows?: { features: Record<string, { status: string; value: unknown }> }[];
      };
      if (json.error) throw new MeshError(json.error.reason, json.error.message);
      return (json.rows ?? []).map(({ features }) =>
        Object.fromEntries(
          Object.entries(features).map(([name, { status, value }]) => [name, `${status} ${text(value)}`]),
        ),
      );
    },
  };
}

/** Feast's numbers of its statuses, as it names them over HTTP. */
const feastStatuses = ['INVALID', 'PRESENT', 'NULL_VALUE', 'NOT_FOUND', 'OUTSIDE_MAX_AGE'];

function feastOverGrpc(client: Client<typeof feastGrpc.GrpcFeatureServerService>): Surface {
  return {
    name: 'Feast gRPC',
    onlyNow: true,
    async read({ service, pages }) {
      const val = pages.map((page) => ({
        val: page === null ? undefined : { $case: 'stringVal' as const, value: page },
      }));
      const request = feastServing.GetOnlineFeaturesRequest.fromPartial({
        kind: { $case: 'featureService', value: service },
        entities: new Map([['page', { val }]]) as never,
      });
      const { metadata, results } = await client.getOnlineFeatures(request);
      const names = metadata?.featureNames?.val ?? [];
      return pages.map((_, row) =>
        Object.fromEntries(
          names.map((name, at) => {
            const value = results[at]?.values[row]?.val;
            const status = feastStatuses[results[at]?.statuses[row] ?? 0];
            return [name, `${status} ${text(value === undefined || value.$case === 'nullVal' ? null : value.value)}`];
          }),
        ),
      );
    },
  };
}

function feastOverHttp(mesh: FullMesh): Surface {
  return {
    name: 'Feast HTTP',
    onlyNow: true,
    async read({ service, pages }) {
      const answer = await fetch(`http://${mesh.service('online-serving').http}/get-online-features`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ feature_service: service, entities: { page: pages } }),
      });
      const json = (await answer.json()) as {
        metadata: { feature_names: string[] };
        results: { values: unknown[]; statuses: string[] }[];
      };
      const reason = answer.headers.get('x-millrace-reason');
      if (answer.status !== 200) throw new MeshError((reason ?? 'INTERNAL') as Reason, JSON.stringify(json));
      return pages.map((_, row) =>
        Object.fromEntries(
          json.metadata.feature_names.map((name, at) => [
            name,
            `${json.results[at]?.statuses[row]} ${text(json.results[at]?.values[row])}`,
          ]),
        ),
      );
    },
  };
}

/** Values without a status: null where there is none. */
function trainingSet(mesh: FullMesh, history: History): Surface {
  let files = 0;
  return {
    name: 'training set',
    async read({ service, pages, asOfUs, keyTwice = false }) {
      const literal = (page: string | null) => (page === null ? 'CAST(NULL AS Nullable(String))' : `'${page}'`);
      const page = (value: string | null) => `${literal(value)} AS page${keyTwice ? `, 'twice' AS page` : ''}`;
      const time = `fromUnixTimestamp64Micro(toInt64(${asOfUs}), 'UTC') AS label_time`;
      const labelQuery =
        pages.length === 0
          ? `SELECT ${page('x')}, ${time} WHERE 0`
          : pages.map((one) => `SELECT ${page(one)}, ${time}`).join(' UNION ALL ');
      const request = compute.BuildTrainingSetRequest.fromPartial({
        featureService: service,
        labelQuery,
        complete: true,
      });
      const pieces: Buffer[] = [];
      for await (const { part } of mesh.clients.compute.buildTrainingSet(request))
        if (part?.$case === 'parquet') pieces.push(part.value);
      const file = join(mesh.dir, `matrix-${files++}.parquet`);
      writeFileSync(file, Buffer.concat(pieces));
      const rows = await history.query<Record<string, unknown>>(`SELECT * FROM file('${file}', Parquet)`);
      return rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, text(value)])));
    },
  };
}

function requestOf({ service, pages, asOfUs, allowHistory = false, keyTwice = false }: MatrixRead) {
  const nulls = pages.some((page) => page === null) ? pages.map((page) => (page === null ? 1 : 0)) : [];
  const key = { name: 'page', strings: pages.map((page) => page ?? ''), nulls: Buffer.from(nulls) };
  return serving.GetFeaturesRequest.fromPartial({
    featureService: service,
    keys: keyTwice ? [key, key] : [key],
    asOfUs: BigInt(asOfUs),
    allowHistory,
  });
}

const statusNames = Object.fromEntries(Object.entries(serving.ValueStatus).map(([name, value]) => [value, name]));

function rowsOf(answer: serving.GetFeaturesResponse): Record<string, string>[] {
  const width = answer.features.length;
  const widths = [0, 0, 0, 0];
  for (const { block } of answer.features) widths[block] = (widths[block] ?? 0) + 1;
  return Array.from({ length: answer.statuses.length / width }, (_, row) =>
    Object.fromEntries(
      answer.features.map((feature, i) => {
        const at = row * (widths[feature.block] ?? 0) + feature.column;
        const status = statusNames[answer.statuses[row * width + i] ?? 0] ?? '';
        const value = [undefined, answer.doubles[at], answer.int64s[at], answer.strings[feature.column]?.values[row]];
        return [feature.name, `${status} ${text(nothing(value[feature.block]) ? null : value[feature.block])}`];
      }),
    ),
  );
}

/** Null is NaN among doubles and 0 among integers; the matrix has no PRESENT 0. */
function nothing(value: unknown): boolean {
  return value === 0n || (typeof value === 'number' && Number.isNaN(value));
}

function text(value: unknown): string {
  return value === null || value === undefined ? 'null' : String(value);
}
