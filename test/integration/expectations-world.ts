import { ingestion } from '@millrace/contracts';
import { parseYamlDefinitions } from '@millrace/sdk';
import { openHarness } from './ingestion-harness.ts';

export const startUs = Date.UTC(2026, 0, 1) * 1000;

/** The ingestion harness with sources defined in YAML. */
export async function openExpectationsWorld(env: Readonly<Record<string, string>> = {}) {
  const harness = await openHarness(env);
  const { client, service } = harness;
  return {
    ...harness,
    async defineYaml(yaml: string) {
      for (const { name, spec } of parseYamlDefinitions(yaml, 'test.yaml')) {
        if (spec?.$case === 'source') await harness.define(spec.value, name);
      }
    },
    send: (source: string, ...events: readonly (readonly [id: string, fields: object, timeUs?: number])[]) =>
      client.publish({
        source,
        events: events.map(([id, fields, timeUs = startUs]) => ({
          id,
          eventTimeUs: BigInt(timeUs),
          json: Buffer.from(JSON.stringify(fields)),
        })),
      }),
    replay: (over: Parameters<typeof ingestion.ReplayQuarantineRequest.fromPartial>[0]) =>
      client.replayQuarantine(ingestion.ReplayQuarantineRequest.fromPartial(over)),
    list: (over: Parameters<typeof ingestion.ListQuarantineRequest.fromPartial>[0]) =>
      client.listQuarantine(ingestion.ListQuarantineRequest.fromPartial(over)),
    async rows<T>(sql: string): Promise<T[]> {
      const response = await fetch(
        `${harness.mesh.clickhouse.url}/?database=millrace&query=${encodeURIComponent(`${sql} FORMAT JSONEachRow`)}`,
      );
      const text = await response.text();
      if (!response.ok) throw new Error(text);
      return text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as T);
    },
    async restart() {
      await service.kill9();
      await service.restart();
    },
  };
}
