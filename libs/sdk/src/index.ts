export * from './define/index.ts';
export { type Endpoints, findEndpoints, readEndpoints } from './endpoints.ts';
