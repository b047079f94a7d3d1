export { type ClickHouseOptions, type ClickHouseStore, startClickHouse } from './clickhouse.ts';
export { startNats } from './nats.ts';
export { nodePath } from './node-path.ts';
export { freePort } from './ports.ts';
export { type ExitInfo, type ProcessOptions, type ReadyProbe, type RunningProcess, startProcess } from './process.ts';
export { startRedis } from './redis.ts';
export type { Store, StoreOptions } from './store.ts';
