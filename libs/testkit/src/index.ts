export { freePort } from '@millrace/stores';
export { eventually } from './eventually.ts';
export { FakeClock } from './fake-clock.ts';
export { createTestMesh, type StoreName, type TestMesh } from './mesh.ts';
export { type RunningService, type ServiceOptions, spawnService } from './service.ts';
