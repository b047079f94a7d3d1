import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { health, inference, oip } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import {
  bool,
  deployment,
  double,
  entity,
  feature,
  featureService,
  featureView,
  model,
  sliding,
  source,
  string,
} from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { startFullMesh, stringKeys } from '../support/full-mesh.ts';

/** The models of test/fixtures/onnx, registered; five services over real stores. No file here is a test. */
export const onnxDir = join(import.meta.dirname, '..', 'fixtures', 'onnx');

/** Five minutes past ten, 2 April 2001. */
export const morningUs = Date.UTC(2001, 3, 2, 10, 5) * 1000;
export const minuteUs = 60e6;

const about = { owner: 'tests' };
const arrivals = source('arrivals', {
  ...about,
  key: 'origin',
  fields: { origin: string(), delay: double({ nullable: true }) },
});
const landings = source('landings', { ...about, fields: { flight: string(), late: bool({ nullable: true }) } });
const origin = entity('origin', { ...about, joinKeys: { origin: 'STRING' } });
const originDelays = featureView('origin_delays', {
  ...about,
  entity: origin,
  source: arrivals,
  features: (of) => ({ mean_1h: of.mean('delay', { window: sliding('1h') }) }),
});
export const lateness = featureService('lateness', {
  ...about,
  features: [feature(originDelays, 'mean_1h', { as: 'delay' })],
});

export function onnxModel(
  name: string,
  options: { readonly file?: string } & Partial<Parameters<typeof model>[1]> = {},
) {
  const { file = name, ...more } = options;
  return model(name, { ...about, uri: `${file}.onnx`, sha256: sha256Of(`${file}.onnx`), ...more });
}

export function sha256Of(file: string): string {
  return createHash('sha256')
    .update(readFileSync(join(onnxDir, file)))
    .digest('hex');
}

export const late = onnxModel('late', {
  file: 'logistic',
  featureService: lateness,
  input: { name: 'X', columns: [{ feature: 'delay' }, { request: 'wind', fill: 0.5 }] },
  output: { name: 'probabilities', column: 1 },
  outcome: { source: landings, key: 'flight', label: 'late' },
  segments: ['origin'],
});
export const lateDeployment = deployment('late', { ...about, targets: [{ model: late }] });

/** The same bytes without a feature service, and both behind one name. */
export const plain = onnxModel('plain', {
  file: 'logistic',
  input: { name: 'X', columns: [{ request: 'delay' }, { request: 'wind' }] },
  output: { name: 'probabilities', column: 1 },
});
export const split = deployment('split', {
  ...about,
  targets: [
    { model: late, weight: 3 },
    { model: plain, weight: 1 },
  ],
});

export const models = ['linear', 'logistic-zipmap', 'logistic', 'two-inputs', 'text', 'one-row', 'slow'] as const;

export type Rows = readonly (readonly (number | string)[])[];
interface Reference {
  readonly inputs: Readonly<Record<string, Rows>>;
  readonly outputs: Readonly<Record<string, Rows>>;
}
export const expected = JSON.parse(readFileSync(join(onnxDir, 'expected.json'), 'utf8')) as Readonly<
  Record<Exclude<(typeof models)[number], 'logistic'>, Reference> & {
    logistic: Reference & { readonly coefficients: readonly number[]; readonly intercept: number };
  }
>;

export type InferenceWorld = Awaited<ReturnType<typeof openInferenceWorld>>;

export async function openInferenceWorld() {
  const mesh = await startFullMesh({ modelDir: onnxDir, env: { MILLRACE_INFERENCE_QUEUE_MAX: '256' } });
  const service = mesh.service('model-inference');
  const timeout = { defaultTimeoutMs: 20_000 };
  const grpc = connect(oip.GRPCInferenceServiceService, service.grpc, timeout);
  const healthClient = connect(health.HealthService, service.grpc, timeout);
  const isReady = (name: string) =>
    grpc.modelReady({ name, version: '' }).then(
      ({ ready }) => ready,
      () => false,
    );
  const allReady = (...names: readonly string[]) =>
    eventually(async () => (await Promise.all(names.map(isReady))).every(Boolean), { timeoutMs: 30_000 });
  return {
    ...mesh,
    inference: service,
    oip: grpc,
    health: healthClient,
    allReady,
    async applyModels() {
      await mesh.apply(...models.map((name) => onnxModel(name)));
      await allReady(...models);
    },
    async applyPredictions() {
      await mesh.apply(arrivals, landings, origin, originDelays, lateness, late, lateDeployment);
      await mesh.viewsReady(1);
      await allReady('late');
    },
    /** Publishes arrivals and waits until the rows reflect them. */
    async arrive(
      ...events: readonly { readonly origin: string; readonly delay: number | null; readonly atUs: number }[]
    ) {
      const { position } = await mesh.clients.ingestion.publish({
        source: 'arrivals',
        events: events.map(({ atUs, ...fields }, at) => eventOf(`arrival-${atUs}-${at}`, atUs, fields)),
      });
      await eventually(async () => (await mesh.clients.compute.getStatus({})).rowPosition >= position, {
        timeoutMs: 30_000,
      });
    },
    async land(...flights: readonly { readonly flight: string; readonly late: boolean | null }[]) {
      const events = flights.map((fields) => eventOf(`landing-${fields.flight}`, morningUs, fields));
      await mesh.clients.ingestion.publish({ source: 'landings', events });
    },
    predict: (request: Partial<inference.PredictRequest>) =>
      mesh.clients.predictions.predict(inference.PredictRequest.fromPartial(request as never)),
    /** Rows of ClickHouse. */
    async sql<T>(query: string): Promise<T[]> {
      const url = `${mesh.stores.clickhouse.url}/?database=millrace&query=${encodeURIComponent(`${query} FORMAT JSON`)}`;
      const response = await fetch(url);
      const text = await response.text();
      if (!response.ok) throw new Error(text);
      return (JSON.parse(text) as { data: T[] }).data;
    },
    async close() {
      grpc.close();
      healthClient.close();
      await mesh.close();
    },
  };
}

function eventOf(id: string, eventTimeUs: number, fields: unknown) {
  return { id, eventTimeUs: BigInt(eventTimeUs), json: Buffer.from(JSON.stringify(fields)) };
}

/** A request for `late`: one row for each origin. */
export function latePrediction(
  origins: readonly string[],
  more: Partial<inference.PredictRequest> = {},
): Partial<inference.PredictRequest> {
  return {
    deployment: 'late',
    keys: [stringKeys('origin', origins)],
    requestData: [{ name: 'wind', doubles: origins.map((_, at) => at - 1) }],
    asOfUs: BigInt(morningUs),
    ...more,
  };
}

type Contents = Partial<oip.InferTensorContents>;

export interface TestInput {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly contents?: Contents | undefined;
  readonly raw?: Buffer;
}

export function inferRequest(modelName: string, inputs: readonly TestInput[], outputs: readonly string[] = []) {
  return oip.ModelInferRequest.fromPartial({
    modelName,
    id: 'call-1',
    inputs: inputs.map(({ name, datatype, shape, contents }) => ({
      name,
      datatype,
      shape: shape.map(BigInt),
      ...(contents ? { contents } : {}),
    })),
    outputs: outputs.map((name) => ({ name })),
    rawInputContents: inputs.flatMap(({ raw }) => (raw ? [raw] : [])),
  } as never);
}

export function fp32(name: string, rows: Rows, how: 'typed' | 'raw' = 'typed'): TestInput {
  const values = rows.flat() as number[];
  const tensor = { name, datatype: 'FP32', shape: [rows.length, rows[0]?.length ?? 0] };
  return how === 'typed'
    ? { ...tensor, contents: { fp32Contents: values } }
    : { ...tensor, raw: Buffer.from(Float32Array.from(values).buffer) };
}
