import { MeshError } from '@millrace/kernel';

/** Where a remote model is served, and how it is spoken to. */
export interface RemotePlace {
  readonly protocol: 'oip-grpc' | 'oip-rest' | 'tf-serving';
  /** Of gRPC `host:port`, else the URL before `/v2` or `/v1`. */
  readonly server: string;
  readonly model: string;
  /** Empty: the one that the backend chooses. */
  readonly version: string;
}

const grpc = /^grpc:\/\/([^/]+)\/([^/]+)(?:\/([^/]+))?$/;
const http = /^(https?:\/\/.+)\/(v[12])\/models\/([^/]+)(?:\/versions\/([^/]+))?$/;

/** INVALID_DEFINITION names the forms that there are. */
export function remotePlace(uri: string): RemotePlace {
  const overGrpc = grpc.exec(uri);
  if (overGrpc) {
    const [, server = '', model = '', version = ''] = overGrpc;
    return { protocol: 'oip-grpc', server, model: decodeURIComponent(model), version: decodeURIComponent(version) };
  }
  const overHttp = http.exec(uri);
  if (!overHttp)
    throw new MeshError(
      'INVALID_DEFINITION',
      `"${uri}" is no place of a remote model; write grpc://host:port/model[/version] or http(s)://…/v2/models/model[/versions/version], …/v1/models/… of TensorFlow Serving`,
      { uri },
    );
  const [, server = '', api, model = '', version = ''] = overHttp;
  return {
    protocol: api === 'v2' ? 'oip-rest' : 'tf-serving',
    server,
    model: decodeURIComponent(model),
    version: decodeURIComponent(version),
  };
}
