/** A method as ts-proto's grpc-js output describes it. */
export interface MethodShape {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: (value: never) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => unknown;
  readonly responseSerialize: (value: never) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
}

/** A service: its methods by their names in TypeScript. */
export type ServiceDefinition = Readonly<Record<string, MethodShape>>;

export type RequestOf<M extends MethodShape> = ReturnType<M['requestDeserialize']>;
export type ResponseOf<M extends MethodShape> = ReturnType<M['responseDeserialize']>;

/** In place of the generated codecs, for a hot method. */
export interface MethodCodec<M extends MethodShape> {
  readonly serialize?: (response: ResponseOf<M>) => Buffer;
  readonly deserialize?: (bytes: Buffer) => RequestOf<M>;
}

export type Codecs<S extends ServiceDefinition> = { readonly [M in keyof S]?: MethodCodec<S[M]> };

/** `/millrace.serving.v1.FeatureService/GetFeatures` → `millrace.serving.v1.FeatureService`. */
export function serviceNameOf(definition: ServiceDefinition): string {
  return Object.values(definition)[0]?.path.split('/')[1] ?? '';
}
