import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { OipServer } from '../app/oip-server.ts';
import { priorityOf, timeoutMsOf } from '../domain/schedule-policy.ts';
import { packed, unpacked } from './compression.ts';
import { answerOf } from './infer-answer.ts';
import { parseInfer } from './infer-body.ts';

interface Named {
  readonly model: string;
  readonly version?: string;
}

const jsonLengthHeader = 'inference-header-content-length';

/** POST …/infer: JSON, or JSON followed by binary tensors. POST …/explain: the same with the parameter `explain`. */
export function inferRoutes(server: OipServer, bytesMax: number) {
  async function infer(request: FastifyRequest, reply: FastifyReply, more: ReadonlyMap<string, unknown> = new Map()) {
    const { model, version = '' } = request.params as Named;
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    const { headers } = request;
    const aborter = new AbortController();
    reply.raw.on('close', () => aborter.abort());
    const call = parseInfer(
      await unpacked(body, headers['content-encoding'], bytesMax),
      headers[jsonLengthHeader]?.toString(),
      () => server.metadata(model, version).inputs,
    );
    const answer = await server.serve(
      {
        protocol: 'rest',
        model,
        version,
        unit: {
          parameter: unitOf(call.parameters),
          headers: () => new Map(Object.entries(headers).map(([name, value]) => [name, String(value ?? '')])),
          id: call.id,
        },
        outputs: call.outputs,
        parameters: new Map([...call.parameters, ...more]),
        options: {
          signal: aborter.signal,
          priority: priorityOf(call.parameters.get('priority')),
          timeoutMs: timeoutMsOf(call.parameters.get('timeout')),
          ownsInputs: true,
        },
        decode: call.decode,
      },
      (outcome) => answerOf(model, call, outcome),
    );
    const sent = await packed(answer.body, headers['accept-encoding']?.toString());
    if (sent.encoding) reply.header('content-encoding', sent.encoding);
    if (answer.jsonLength !== undefined) reply.header(jsonLengthHeader, answer.jsonLength);
    return reply
      .type(answer.jsonLength === undefined ? 'application/json' : 'application/octet-stream')
      .send(sent.body);
  }

  return async function routes(app: FastifyInstance): Promise<void> {
    const schema = { summary: 'Runs the model on tensors, JSON or binary', tags: ['inference'] };
    const explained = {
      summary: 'Runs the model and says how much each feature moved the answer',
      tags: ['inference'],
    };
    for (const path of ['/v2/models/:model', '/v2/models/:model/versions/:version']) {
      app.post(`${path}/infer`, { schema }, (request, reply) => infer(request, reply));
      app.post(`${path}/explain`, { schema: explained }, (request, reply) =>
        infer(request, reply, new Map([['explain', true]])),
      );
    }
  };
}

function unitOf(parameters: ReadonlyMap<string, unknown>): string | undefined {
  const given = parameters.get('unit');
  return given === undefined || given === null ? undefined : String(given);
}
