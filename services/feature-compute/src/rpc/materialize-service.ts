import { materialize } from '@millrace/contracts';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import { leftUs, type Materialization, shardsOf } from '../app/materialize/materialization.ts';
import type { Materializer } from '../app/materialize/materialize.ts';

const listedMax = 1_000;
const states = {
  running: materialize.MaterializationState.RUNNING,
  done: materialize.MaterializationState.DONE,
  cancelled: materialize.MaterializationState.CANCELLED,
  failed: materialize.MaterializationState.FAILED,
} as const;

/** The wire of MaterializeService; `tableOf` names the table of a view. */
export function materializeService(parts: {
  readonly materializer: Materializer;
  readonly tableOf: (view: string) => string;
}): ServiceBinding {
  const { materializer, tableOf } = parts;
  const toWire = (job: Materialization): materialize.Materialization => ({
    id: job.id,
    view: job.view,
    version: job.version,
    fromUs: BigInt(job.fromUs),
    toUs: BigInt(job.toUs),
    everyUs: BigInt(job.everyUs),
    state: states[job.state],
    shardsDone: BigInt(job.shardsDone),
    shardsTotal: BigInt(shardsOf(job)),
    rows: BigInt(job.rows),
    leftUs: BigInt(leftUs(job)),
    error: job.error,
    table: tableOf(job.view),
    position: BigInt(job.position),
    createdUs: BigInt(job.createdUs),
  });
  return bindService(materialize.MaterializeServiceService, {
    materialize: async ({ view, version, fromUs, toUs, everyUs, allowFailedExpectations }) => ({
      materialization: toWire(
        await materializer.start(
          { view, version, fromUs: Number(fromUs), toUs: Number(toUs), everyUs: Number(everyUs) },
          allowFailedExpectations,
        ),
      ),
    }),
    listMaterializations: async ({ id }) => ({
      materializations: materializer
        .list()
        .filter((job) => id === '' || job.id === id)
        .slice(0, listedMax)
        .map(toWire),
    }),
    cancelMaterialization: async ({ id }) => ({ materialization: toWire(materializer.cancel(id)) }),
  });
}
