import { compute, inference, ingestion, registry, serving } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import type { Endpoints } from '@millrace/sdk';

export type Clients = ReturnType<typeof openClients>;

/** A client of each service of a running mesh. */
export function openClients(endpoints: Endpoints) {
  const address = (service: string): string => endpoints.services[service]?.grpc ?? '';
  const options = { defaultTimeoutMs: 60_000 };
  const clients = {
    registry: connect(registry.RegistryServiceService, address('governance'), options),
    ingestion: connect(ingestion.IngestionServiceService, address('ingestion'), options),
    compute: connect(compute.ComputeServiceService, address('feature-compute'), options),
    features: connect(serving.FeatureServiceService, address('online-serving'), options),
    predictions: connect(inference.PredictionServiceService, address('model-inference'), options),
  };
  const close = (): void => {
    for (const client of Object.values(clients)) client.close();
  };
  return { ...clients, close };
}
