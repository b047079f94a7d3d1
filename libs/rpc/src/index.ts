export { bindService, type Gates, type Handlers, type ServiceBinding } from './binding.ts';
export { type CallContext, callerHeader, callerMax } from './call-context.ts';
export { connectUnary, type UnaryClient } from './client/connect-unary.ts';
export { type CallOptions, type Client, type ConnectOptions, connect } from './client.ts';
export type { Codecs, MethodCodec, ServiceDefinition } from './definition.ts';
export { type GrpcServer, type GrpcServerOptions, serveGrpc } from './server.ts';
export { fromGrpcError, fromRpcStatus, toRpcStatus } from './status.ts';
export { fixed64, fixed64s, lengthEnd, type Reader, skip, text, varint } from './wire-reader.ts';
