/** The generated messages and service definitions, one namespace for each proto package. */

import { fileURLToPath } from 'node:url';

export * as feastGrpc from './gen/feast/serving/GrpcServer.ts';
export * as feastServing from './gen/feast/serving/ServingService.ts';
export * as feastTypes from './gen/feast/types/Value.ts';
export * as protobufAny from './gen/google/protobuf/any.ts';
export * as rpcErrors from './gen/google/rpc/error_details.ts';
export * as rpcStatus from './gen/google/rpc/status.ts';
export * as health from './gen/grpc/health/v1/health.ts';
export * as oip from './gen/inference/grpc_service.ts';
export * as modelConfig from './gen/inference/model_config.ts';
export * as alerts from './gen/millrace/alerts/v1/alerts.ts';
export * as audit from './gen/millrace/audit/v1/audit_service.ts';
export * as compute from './gen/millrace/compute/v1/compute_service.ts';
export * as featureQuality from './gen/millrace/compute/v1/feature_quality_service.ts';
export * as trainingSets from './gen/millrace/compute/v1/training_set.ts';
export * as events from './gen/millrace/events/v1/events.ts';
export * as aliases from './gen/millrace/inference/v1/alias_service.ts';
export * as deployments from './gen/millrace/inference/v1/deployment_service.ts';
export * as inference from './gen/millrace/inference/v1/prediction_service.ts';
export * as rollouts from './gen/millrace/inference/v1/rollout_service.ts';
export * as ingestion from './gen/millrace/ingestion/v1/ingestion_service.ts';
export * as loads from './gen/millrace/ingestion/v1/load_service.ts';
export * as lineage from './gen/millrace/lineage/v1/lineage_service.ts';
export * as materialize from './gen/millrace/materialize/v1/materialize_service.ts';
export * as parity from './gen/millrace/parity/v1/served.ts';
export * as definitions from './gen/millrace/registry/v1/definitions.ts';
export * as expectations from './gen/millrace/registry/v1/expectations.ts';
export * as registry from './gen/millrace/registry/v1/registry_service.ts';
export * as serving from './gen/millrace/serving/v1/feature_service.ts';
export * as search from './gen/millrace/serving/v1/search_service.ts';

/** Where the FileDescriptorSet of every contract lies, for reflection. */
export const descriptorSetPath: string = fileURLToPath(new URL('./gen/descriptors.binpb', import.meta.url));
