import { MeshError, parseExactJson, type Reason } from '@millrace/kernel';
import { type RemoteCall, remoteError } from './backend.ts';

export interface HttpAnswer {
  readonly headers: Headers;
  readonly body: Buffer;
}

const reasons: Readonly<Record<number, Reason>> = {
  400: 'INVALID_ARGUMENT',
  404: 'MODEL_NOT_READY',
  408: 'DEADLINE_EXCEEDED',
  413: 'LIMIT_EXCEEDED',
  429: 'OVERLOADED',
  501: 'UNSUPPORTED',
  502: 'SERVICE_UNAVAILABLE',
  503: 'SERVICE_UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
};
/** Longer texts of errors are cut. */
const saidMax = 1_000;

/** A call of a backend over HTTP, on connections that are kept. What goes wrong is a `RemoteError`. */
export async function httpCall(
  backend: string,
  url: string,
  { timeoutMs, signal }: RemoteCall,
  request?: { readonly body: string | Buffer; readonly headers: Readonly<Record<string, string>> },
): Promise<HttpAnswer> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), Math.max(1, timeoutMs));
  try {
    const response = await fetch(url, {
      signal: AbortSignal.any([signal, late.signal]),
      redirect: 'error',
      ...(request && { method: 'POST', headers: request.headers, body: request.body as never }),
    });
    const body = Buffer.from(await response.arrayBuffer());
    if (response.ok) return { headers: response.headers, body };
    const reason = reasons[response.status] ?? (response.status < 500 ? 'INVALID_ARGUMENT' : 'MODEL_RUN_FAILED');
    throw remoteError(reason, backend, `HTTP ${response.status}: ${saidIn(body)}`);
  } catch (thrown) {
    if (thrown instanceof MeshError) throw thrown;
    if (signal.aborted) throw remoteError('CANCELLED', backend, 'the call is not wanted any more', thrown);
    if (late.signal.aborted)
      throw remoteError('DEADLINE_EXCEEDED', backend, `did not answer within ${Math.round(timeoutMs)} ms`, thrown);
    const { message, cause } = thrown as Error;
    const why =
      cause instanceof Error && cause.message !== '' ? cause.message : ((cause as { code?: string })?.code ?? message);
    throw remoteError('SERVICE_UNAVAILABLE', backend, `cannot be reached: ${why}`, thrown);
  } finally {
    clearTimeout(timer);
  }
}

/** `{"error": …}` of OIP and of TensorFlow Serving, or the text. */
function saidIn(body: Buffer): string {
  const text = body.toString('utf8').slice(0, saidMax);
  try {
    const { error } = JSON.parse(text) as { readonly error?: unknown };
    return typeof error === 'string' ? error : text;
  } catch {
    return text;
  }
}

/** The JSON of an answer; whole numbers beyond 2^53 are bigint. MODEL_RUN_FAILED when it is none. */
export function jsonOf(backend: string, bytes: Buffer): unknown {
  const text = bytes.toString('utf8');
  try {
    return parseExactJson(text);
  } catch (cause) {
    throw remoteError('MODEL_RUN_FAILED', backend, `its answer is not JSON: ${text.slice(0, 200)}`, cause);
  }
}
