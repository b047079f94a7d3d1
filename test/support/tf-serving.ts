import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * A stand-in that speaks the REST contract of TensorFlow Serving as it is documented (tensorflow.org/tfx/serving/api_rest): model status,
 * metadata, and predict in the columnar format. TensorFlow Serving itself is a container that is not run here. Models: `half_plus_two`
 * (y = x / 2 + 2, one output, which comes by itself) and `lengths` (of strings; several outputs, by name).
 */
export async function startTfServing() {
  const server = createServer(async (request, response) => {
    const answer = (status: number, body: string) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(body);
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const [, model = '', , action = ''] =
      /^\/v1\/models\/([^/:]+)(\/versions\/\d+)?(:predict|\/metadata)?$/.exec(pathname) ?? [];
    const signature = signatures[model];
    if (!signature) return answer(404, JSON.stringify({ error: `Could not find any versions of model ${model}` }));
    if (action === '')
      return answer(
        200,
        JSON.stringify({
          model_version_status: [
            { version: '123', state: 'AVAILABLE', status: { error_code: 'OK', error_message: '' } },
          ],
        }),
      );
    if (action === '/metadata')
      return answer(
        200,
        JSON.stringify({
          model_spec: { name: model, signature_name: '', version: '123' },
          metadata: {
            signature_def: {
              signature_def: { serving_default: { ...signature, method_name: 'tensorflow/serving/predict' } },
            },
          },
        }),
      );
    const text = await bodyOf(request);
    // it takes NaN and infinities as bare words, which JSON.parse does not
    const { inputs, signature_name: name } = JSON.parse(text.replace(/\bNaN\b/g, 'null')) as {
      readonly inputs: Columns;
      readonly signature_name: string;
    };
    if (name !== 'serving_default')
      return answer(400, JSON.stringify({ error: `Serving signature "${name}" not found` }));
    return answer(200, predict(model, inputs));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

type Columns = Readonly<Record<string, readonly (readonly (number | string | null)[])[]>>;

function predict(model: string, inputs: Columns): string {
  if (model === 'half_plus_two') {
    const rows = inputs.x?.map((row) => row.map((x) => (x === null ? 'NaN' : Number(x) / 2 + 2)));
    return `{"outputs": [${rows?.map((row) => `[${row.join(', ')}]`).join(', ')}]}`;
  }
  const texts = inputs.text?.map(([text]) => String(text)) ?? [];
  return JSON.stringify({
    outputs: {
      length: texts.map((text) => [text.length]),
      // names that end in _bytes come as base64
      copy_bytes: texts.map((text) => [{ b64: Buffer.from(text).toString('base64') }]),
    },
  });
}

const tensor = (dtype: string) => ({
  dtype,
  tensor_shape: {
    dim: [
      { size: '-1', name: '' },
      { size: '1', name: '' },
    ],
    unknown_rank: false,
  },
  name: 'x:0',
});
const signatures: Readonly<Record<string, unknown>> = {
  half_plus_two: { inputs: { x: tensor('DT_FLOAT') }, outputs: { y: tensor('DT_FLOAT') } },
  lengths: {
    inputs: { text: tensor('DT_STRING') },
    outputs: { length: tensor('DT_INT64'), copy_bytes: tensor('DT_STRING') },
  },
};

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
