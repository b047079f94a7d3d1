import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { compute, inference, ingestion, registry, serving } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import type { Defined } from '@millrace/sdk';
import { createTestMesh, eventually, type RunningService, type TestMesh } from '@millrace/testkit';

export const serviceNames = [
  'governance',
  'ingestion',
  'feature-compute',
  'online-serving',
  'model-inference',
] as const;
export type ServiceName = (typeof serviceNames)[number];

export type FullMesh = Awaited<ReturnType<typeof startFullMesh>>;

/** The five services as five processes over real stores, and a client of each. */
export async function startFullMesh(
  options: {
    readonly modelDir?: string;
    readonly env?: Readonly<Record<string, string>>;
    readonly historyNice?: number;
  } = {},
) {
  const mesh: TestMesh = await createTestMesh({
    stores: ['redis', 'nats', 'clickhouse'],
    ...(options.historyNice === undefined ? {} : { historyNice: options.historyNice }),
  });
  try {
    const modelDir = join(mesh.dir, 'models');
    mkdirSync(modelDir, { recursive: true });
    if (options.modelDir) cpSync(options.modelDir, modelDir, { recursive: true });
    const services = new Map<ServiceName, RunningService>();
    const peers: Record<string, string> = { MILLRACE_MODEL_DIR: modelDir, ...options.env };
    for (const name of serviceNames) {
      const service = await mesh.service(name, peers);
      services.set(name, service);
      peers[`MILLRACE_${name.toUpperCase().replaceAll('-', '_')}_ADDRESS`] = service.grpc;
    }
    const service = (name: ServiceName): RunningService => {
      const found = services.get(name);
      if (!found) throw new Error(`no service ${name}`);
      return found;
    };
    const timeout = { defaultTimeoutMs: 30_000 };
    const clients = {
      registry: connect(registry.RegistryServiceService, service('governance').grpc, timeout),
      ingestion: connect(ingestion.IngestionServiceService, service('ingestion').grpc, timeout),
      compute: connect(compute.ComputeServiceService, service('feature-compute').grpc, timeout),
      features: connect(serving.FeatureServiceService, service('online-serving').grpc, timeout),
      predictions: connect(inference.PredictionServiceService, service('model-inference').grpc, timeout),
    };
    return {
      stores: mesh,
      dir: mesh.dir,
      service,
      clients,
      async apply(...defined: readonly Defined[]) {
        return clients.registry.apply({
          definitions: defined.map(({ definition }) => definition),
          removals: [],
          allowBreaking: false,
        });
      },
      /** Waits until compute has `count` views and all of them are ready. */
      async viewsReady(count: number) {
        await eventually(
          async () => {
            const { views } = await clients.compute.getStatus({});
            return views.length >= count && views.every((view) => view.state === compute.ViewState.READY);
          },
          { timeoutMs: 60_000 },
        );
      },
      async close() {
        for (const client of Object.values(clients)) client.close();
        await mesh.close();
      },
    };
  } catch (thrown) {
    await mesh.close();
    throw thrown;
  }
}

/** The values of one feature of each row, null where the status says so. */
export function column(response: serving.GetFeaturesResponse, name: string): (number | string | null)[] {
  const index = response.features.findIndex((feature) => feature.name === name);
  const feature = response.features[index];
  if (!feature) throw new Error(`no feature ${name} among ${response.features.map((known) => known.name).join(', ')}`);
  const width = response.features.filter((other) => other.block === feature.block).length;
  const rows = response.statuses.length / response.features.length;
  return Array.from({ length: rows }, (_, row) => {
    const status = response.statuses[row * response.features.length + index];
    if (status !== serving.ValueStatus.PRESENT && status !== serving.ValueStatus.DEFAULTED) return null;
    const at = row * width + feature.column;
    if (feature.block === 1) return response.doubles[at] ?? null;
    if (feature.block === 2) return Number(response.int64s[at]);
    return response.strings[feature.column]?.values[row] ?? null;
  });
}

export function stringKeys(name: string, strings: readonly string[]): serving.KeyColumn {
  return { name, strings: [...strings], int64s: [], bools: [], nulls: Buffer.alloc(0) };
}

export function readRequest(
  featureService: string,
  keys: serving.KeyColumn[],
  asOfUs: number,
): serving.GetFeaturesRequest {
  return {
    featureService,
    version: '',
    keys,
    asOfUs: BigInt(asOfUs),
    asOfUsByRow: [],
    allowPartial: false,
    allowHistory: false,
    omitMetadata: false,
    requestData: [],
  };
}
