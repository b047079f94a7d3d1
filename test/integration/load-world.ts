import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { loads } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { eventually } from '@millrace/testkit';
import { type IngestionHarness, openHarness, source } from './ingestion-harness.ts';

export type LoadWorld = Awaited<ReturnType<typeof openLoadWorld>>;

const { SUCCEEDED, FAILED, CANCELLED } = loads.LoadState;
const ended: ReadonlySet<number> = new Set([SUCCEEDED, FAILED, CANCELLED]);

/** Ingestion with a source of arrivals, a client of its loads, and a folder that it may read. */
export async function openLoadWorld(env: (dir: string) => Readonly<Record<string, string>> = () => ({})) {
  const { mkdtempSync, rmSync } = await import('node:fs');
  const { tmpdir } = await import('node:os');
  const dir = mkdtempSync(join(tmpdir(), 'millrace-loads-'));
  const folder = join(dir, 'files');
  mkdirSync(folder);
  const harness: IngestionHarness = await openHarness({ MILLRACE_INGESTION_LOAD_FOLDERS: folder, ...env(dir) });
  const client = connect(loads.LoadServiceService, harness.service.grpc, { defaultTimeoutMs: 20_000 });
  const get = async (loadId: string): Promise<loads.Load> => found((await client.getLoad({ loadId })).load);
  return {
    ...harness,
    folder,
    loads: client,
    get,
    async start(location: string, over: Partial<loads.StartLoadRequest> = {}): Promise<loads.Load> {
      const request = loads.StartLoadRequest.fromPartial({ source, location, ...over });
      return found((await client.startLoad(request)).load);
    },
    /** The load when it has ended, whatever happened to the service meanwhile. */
    settled: (loadId: string): Promise<loads.Load> =>
      eventually(
        async () => {
          const load = await get(loadId);
          return ended.has(load.state) ? load : false;
        },
        { timeoutMs: 90_000 },
      ),
    async close() {
      client.close();
      await harness.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function found(load: loads.Load | undefined): loads.Load {
  if (load === undefined) throw new Error('no load');
  return load;
}
