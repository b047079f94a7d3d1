import { quietTelemetry } from '@millrace/runtime';
import { Validator } from '@seriousme/openapi-schema-validator';
import { expect, test } from 'vitest';
import { createPlanBook } from '../app/plan-book.ts';
import { createRest } from './rest.ts';

const emptyCatalog = {
  listServices: () => [],
  async refresh() {},
  async service() {
    return undefined;
  },
  async view(): Promise<never> {
    throw new Error('there is none');
  },
  isReady: () => true,
};

test('the description is OpenAPI 3.1, names every route, and every path in it is a route', async () => {
  const rest = createRest({
    plans: createPlanBook({ catalog: emptyCatalog, onProblem() {} }),
    readFeatures: () => Promise.reject(new Error('not asked')),
    usage: { report: () => Promise.reject(new Error('not asked')) },
    telemetry: quietTelemetry(),
    ready: () => true,
  });
  const routes = new Set<string>();
  rest.addHook('onRoute', ({ method, url }) => {
    if (url.startsWith('/docs')) return;
    for (const one of [method].flat()) if (one !== 'HEAD') routes.add(`${one} ${url.replace(/:(\w+)/g, '{$1}')}`);
  });
  rest.register(async (app) => app.get('/added-later', () => 'yes'));
  await rest.ready();
  const spec = (await rest.inject('/openapi.json')).json() as { openapi: string; paths: Record<string, object> };
  const validator = new Validator();
  expect(await validator.validate(structuredClone(spec))).toEqual({ valid: true });
  expect(validator.version).toBe('3.1');
  const described = Object.entries(spec.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(described.sort()).toEqual([...routes].sort());
  expect(described).toContain('POST /v1/feature-services/{name}/versions/{version}/features');
  expect(described).toContain('GET /added-later');
  await rest.close();
});
