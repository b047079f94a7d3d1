import type { events } from '@millrace/contracts';
import type { History, openHistory } from '@millrace/history';
import type { ArmUnits, ReadExposures } from '../app/exposure-report.ts';
import type { LandingTable } from './land-stream.ts';

/** Units and where they went; of what was logged more than once the first time counts. */
export const exposureTable: LandingTable<events.ExposureBatch> = {
  name: 'exposures',
  ddl: `
    CREATE TABLE IF NOT EXISTS exposures (
      deployment LowCardinality(String), deployment_version LowCardinality(String), rollout LowCardinality(String), rule LowCardinality(String),
      unit String, model LowCardinality(String), model_version LowCardinality(String),
      exposed SimpleAggregateFunction(min, DateTime64(6, 'UTC')), _seq SimpleAggregateFunction(max, UInt64)
    ) ENGINE = AggregatingMergeTree ORDER BY (deployment, deployment_version, rollout, rule, unit, model, model_version)`,
  columns: ['deployment', 'deployment_version', 'rollout', 'rule', 'unit', 'model', 'model_version', 'exposed', '_seq'],
  rowsOf: ({ exposures }) => exposures.length,
  writeRow(writer, seq, { deployment, deploymentVersion, exposures }, row) {
    const exposure = exposures[row];
    writer.string(deployment);
    writer.string(deploymentVersion);
    writer.string(exposure?.rollout ?? '');
    writer.string(exposure?.rule ?? '');
    writer.string(exposure?.unit ?? '');
    writer.string(exposure?.model ?? '');
    writer.string(exposure?.modelVersion ?? '');
    writer.bigint64(exposure?.exposedUs ?? 0n);
    writer.int64(seq);
  },
};

const groupsMax = 64;

/** Counts units by where they went. A unit that went to several versions counts for none of them: it is one that moved. */
export function createExposureReader(open: () => ReturnType<typeof openHistory>): {
  readonly read: ReadExposures;
  close(): Promise<void>;
} {
  let opened: Promise<History> | undefined;
  return {
    async read(deployment, version) {
      opened ??= open();
      const history = await opened.catch((error) => {
        opened = undefined;
        throw error;
      });
      return history.query<ArmUnits>(
        `SELECT rule, rollout, if(arms = 1, one_model, '') AS model, if(arms = 1, one_version, '') AS modelVersion,
            count() AS units, toInt64(toUnixTimestamp64Micro(min(first))) AS firstUs, toInt64(toUnixTimestamp64Micro(max(first))) AS lastUs
          FROM (
            SELECT rule, rollout, unit, uniqExact(model, model_version) AS arms, any(model) AS one_model, any(model_version) AS one_version, min(exposed) AS first
            FROM exposures WHERE deployment = {deployment: String} AND deployment_version = {version: String}
            GROUP BY rule, rollout, unit
          )
          GROUP BY rule, rollout, model, modelVersion ORDER BY rule, rollout, model, modelVersion LIMIT ${groupsMax * 33}`,
        { deployment, version },
      );
    },
    async close() {
      await (await opened?.catch(() => undefined))?.close();
    },
  };
}
