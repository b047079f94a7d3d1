import { Agent, request } from 'node:http';
import { type definitions, registry } from '@millrace/contracts';
import { build } from 'hdr-histogram-js';
import { startFullMesh } from '../../support/full-mesh.ts';
import { entityDefinition, featureNames, perView, viewDefinitions } from './data.ts';

const warmUp = 50;

/**
 * One row over POST /push, and reads until it is there: from the moment at which the push leaves until an answer has the value, with the
 * whole mesh running. One after another, each a little later than the one before, so that no beat of the mesh is always met in step.
 */
export async function measurePush(
  pushes: number,
  progress: (text: string) => void,
  signal: AbortSignal,
): Promise<Record<string, number>> {
  progress('starting the whole mesh for pushes');
  const mesh = await startFullMesh();
  try {
    const defined: definitions.Definition[] = [
      entityDefinition,
      ...viewDefinitions('view_0', 'source_0', featureNames(perView)),
    ];
    await mesh.clients.registry.apply(registry.ApplyRequest.fromPartial({ definitions: defined }) as never);
    await mesh.viewsReady(1);
    return await pushAndPoll(mesh.service('online-serving').http, pushes, signal);
  } finally {
    await mesh.close();
  }
}

/** Times from push to readable, and of the push alone, at the address of either side. */
export async function pushAndPoll(
  address: string,
  pushes: number,
  signal: AbortSignal,
): Promise<Record<string, number>> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const histogram = () =>
    build({ lowestDiscernibleValue: 1, highestTrackableValue: 60_000_000, numberOfSignificantValueDigits: 3 });
  const readable = histogram();
  const answered = histogram();
  try {
    for (let i = 0; i < warmUp + pushes; i++) {
      signal.throwIfAborted();
      const { pushMs, readableMs } = await pushOne(agent, address, i);
      if (i >= warmUp) {
        readable.recordValue(Math.max(1, Math.round(readableMs * 1000)));
        answered.recordValue(Math.max(1, Math.round(pushMs * 1000)));
      }
      await new Promise((resolve) => setTimeout(resolve, 5 + ((i * 7) % 23)));
    }
  } finally {
    agent.destroy();
  }
  const ms = (of: typeof readable, percentile: number) => of.getValueAtPercentile(percentile) / 1000;
  return { p50_ms: ms(readable, 50), p99_ms: ms(readable, 99), push_p50_ms: ms(answered, 50), pushes };
}

async function pushOne(agent: Agent, address: string, i: number): Promise<{ pushMs: number; readableMs: number }> {
  const value = 1_000_000 + i;
  const columns = featureNames(perView).map((name) => [name, [value]]);
  const time = new Date(Date.now()).toISOString().slice(0, -1);
  const df = { entity: [i % 100], ...Object.fromEntries(columns), event_timestamp: [time] };
  const push = JSON.stringify({ push_source_name: 'source_0', df, to: 'online' });
  const read = JSON.stringify({ entities: { entity: [i % 100] }, features: ['view_0:feature_0'] });
  const startMs = performance.now();
  const { status, text } = await post(agent, address, '/push', push);
  const pushMs = performance.now() - startMs;
  if (status !== 200) throw new Error(`a push was answered with ${status}: ${text}`);
  while (performance.now() - startMs < 10_000) {
    const answer = await post(agent, address, '/get-online-features', read);
    if (answer.text.includes(`[${value}]`)) return { pushMs, readableMs: performance.now() - startMs };
  }
  throw new Error(`value ${value} was not readable within 10 s`);
}

function post(agent: Agent, address: string, path: string, body: string): Promise<{ status: number; text: string }> {
  const [host, port] = address.split(':');
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  return new Promise((resolve, reject) => {
    const call = request({ agent, host, port, path, method: 'POST', headers }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    call.on('error', reject);
    call.end(body);
  });
}
