import type { definitions } from '@millrace/contracts';
import type { Report } from './problem.ts';

/** Where remote models are, as model-inference reads them. */
const uris: readonly RegExp[] = [
  /^grpc:\/\/[^/\s]+:\d{1,5}\/[^/\s]+(\/[^/\s]+)?$/,
  /^https?:\/\/\S+\/v[12]\/models\/[^/\s]+(\/versions\/[^/\s]+)?$/,
];
const datatypes = /^(BOOL|U?INT(8|16|32|64)|FP(16|32|64)|BYTES)$/;

/** A model that another server serves. */
export function validateRemote({ format, uri, sha256, remote }: definitions.Model, report: Report): void {
  if (format === 'remote') {
    if (!uris.some((pattern) => pattern.test(uri)))
      report(
        'uri',
        `"${uri}" is no place of a remote model; write grpc://host:port/model[/version], http(s)://host/v2/models/model[/versions/version], or …/v1/models/… of TensorFlow Serving`,
      );
    if (sha256 !== '') report('sha256', 'a remote model has no bytes here; leave it out');
  } else if (remote) report('remote', `is for models of format remote, and this one is ${format}`);
  if (!remote) return;
  const within = (field: string, value: number, least: number, most: number) => {
    if (value < least || value > most) report(`remote.${field}`, `${value} is not from ${least} to ${most}`);
  };
  if (remote.timeoutUs !== 0n) within('timeout_us', Number(remote.timeoutUs), 1_000, 600e6);
  within('calls_max', remote.callsMax, 0, 1_024);
  within('batch_rows_max', remote.batchRowsMax, 0, 100_000);
  within('retries_max', remote.retriesMax ?? 0, 0, 5);
  for (const [side, tensors] of [
    ['inputs', remote.inputs],
    ['outputs', remote.outputs],
  ] as const) {
    if (tensors.length > 256) report(`remote.${side}`, `${tensors.length} are over the limit of 256`);
    for (const [at, { name, datatype, shape }] of tensors.entries()) {
      if (!datatypes.test(datatype))
        report(
          `remote.${side}.${name}`,
          `"${datatype}" is no datatype; use BOOL, UINT8 … UINT64, INT8 … INT64, FP16, FP32, FP64 or BYTES`,
        );
      if (shape.length > 16 || shape.some((size) => size < -1n))
        report(`remote.${side}.${name}`, `[${shape}] is no shape; sizes are −1 (any) or more, at most 16 of them`);
      if (tensors.findIndex((other) => other.name === name) < at) report(`remote.${side}.${name}`, 'is declared twice');
    }
  }
}
