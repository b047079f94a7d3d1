import type { ServiceBinding } from '@millrace/rpc';
import type { Telemetry } from '@millrace/runtime';
import type { FastifyInstance } from 'fastify';
import type { Full } from '../app/metrics.ts';
import type { PlanBook } from '../app/plan-book.ts';
import type { ReadFeatures } from '../app/read-features.ts';
import { createFeastBook, type ViewCatalog } from './feast-book.ts';
import { createReadFeast } from './feast-read.ts';
import { feastServices } from './grpc.ts';
import { feastRoutes } from './http.ts';
import { createPush, type EventPublisher, type SourceCatalog } from './push.ts';

export type FeastSurface = {
  readonly services: readonly ServiceBinding[];
  readonly routes: (app: FastifyInstance) => Promise<void>;
  /** To be called when the registry has changed. */
  readonly forget: () => void;
};

/** Feast's protocols over this service: see FEAST.md. */
export function createFeastSurface(deps: {
  readonly plans: PlanBook;
  readonly catalog: ViewCatalog & SourceCatalog;
  readonly publisher: EventPublisher;
  readonly readFeatures: ReadFeatures;
  readonly full: Full;
  readonly rowsMax: number;
  readonly telemetry: Telemetry;
  readonly ready: () => boolean;
}): FeastSurface {
  const { plans, catalog, publisher, readFeatures, full, rowsMax, telemetry, ready } = deps;
  const book = createFeastBook({ plans, catalog });
  const readFeast = createReadFeast({ book, readFeatures, rowsMax });
  const push = createPush({ catalog, publisher });
  return {
    services: feastServices({ readFeast, push, full }),
    routes: feastRoutes({ readFeast, push, catalog, telemetry, ready }),
    forget: book.clear,
  };
}
