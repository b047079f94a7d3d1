import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { arrivalOf, type Flight, keyColumns, requestData } from '@millrace/flights';
import { loadDefinitions } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, test } from 'vitest';
import { type FullMesh, startFullMesh } from '../support/full-mesh.ts';

const flights = join(import.meta.dirname, '..', '..', 'deploy', 'examples', 'flights');

interface Span {
  readonly traceId: string;
  readonly name: string;
  readonly service: string;
}

const spans: Span[] = [];
let collector: Server;
let mesh: FullMesh;

beforeAll(async () => {
  collector = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      collect(JSON.parse(Buffer.concat(chunks).toString('utf8')));
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  });
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  const { port } = collector.address() as AddressInfo;
  mesh = await startFullMesh({
    modelDir: join(flights, 'model'),
    env: { MILLRACE_OTLP_ENDPOINT: `http://127.0.0.1:${port}` },
  });
}, 180_000);

afterAll(async () => {
  await mesh?.close();
  collector?.close();
});

test('one trace leads from the publish of an event to the prediction that it changed', async () => {
  const definitions = await loadDefinitions([join(flights, 'src', 'definitions.ts'), join(flights, 'src', 'model.ts')]);
  await mesh.clients.registry.apply({ definitions, removals: [], allowBreaking: false });
  await mesh.viewsReady(5);
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const traceparent = `00-${traceId}-b7ad6b7169203331-01`;
  const flight: Flight = {
    flight: 'f1',
    scheduledUs: Date.UTC(2001, 3, 2, 8) * 1000,
    delayMinutes: 42,
    distanceMiles: 606,
    origin: 'ATL',
    destination: 'ORD',
  };
  const { id, eventTimeUs, fields } = arrivalOf(flight);
  const events = [{ id, eventTimeUs: BigInt(eventTimeUs), json: Buffer.from(JSON.stringify(fields)) }];
  const { position } = await mesh.clients.ingestion.publish({ source: 'arrivals', events }, { traceparent });
  await eventually(async () => (await mesh.clients.compute.getStatus({})).rowPosition >= position, {
    timeoutMs: 20_000,
  });

  const request = {
    deployment: 'flight_delay',
    keys: keyColumns([flight]),
    requestData: requestData([flight]),
    asOfUs: BigInt(eventTimeUs + 1),
    asOfUsByRow: [],
    predictionKeys: ['f2'],
    allowHistory: false,
    omitExplanation: false,
  };
  await eventually(
    async () =>
      mesh.clients.predictions.predict(request, { traceparent }).then(
        (response) => {
          const at = response.vectorNames.indexOf('origin_delays__delay_mean_1h');
          return response.vectors[at] === 42;
        },
        () => false,
      ),
    { timeoutMs: 30_000 },
  );

  await eventually(
    async () => {
      const services = new Set(spans.filter((span) => span.traceId === traceId).map((span) => span.service));
      return ['ingestion', 'feature-compute', 'online-serving', 'model-inference'].every((service) =>
        services.has(service),
      );
    },
    { timeoutMs: 30_000 },
  );
}, 120_000);

interface OtlpTraces {
  readonly resourceSpans: readonly {
    readonly resource: {
      readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[];
    };
    readonly scopeSpans: readonly { readonly spans: readonly { readonly traceId: string; readonly name: string }[] }[];
  }[];
}

function collect({ resourceSpans }: OtlpTraces): void {
  for (const { resource, scopeSpans } of resourceSpans) {
    const service = resource.attributes.find(({ key }) => key === 'service.name')?.value.stringValue ?? '';
    for (const { traceId, name } of scopeSpans.flatMap((scope) => scope.spans)) spans.push({ traceId, name, service });
  }
}
