import { userInfo } from 'node:os';
import {
  aliases,
  audit,
  type compute,
  compute as computeContract,
  deployments,
  featureQuality,
  inference,
  ingestion,
  lineage,
  loads,
  materialize,
  oip,
  registry,
  rollouts,
  search,
  serving,
} from '@millrace/contracts';
import { MeshError, type Reason, toMeshError } from '@millrace/kernel';
import { connect } from '@millrace/rpc';
import { InvalidArgumentError } from 'commander';
import { type Endpoints, readEndpoints } from '../endpoints.ts';

/** Options of every command. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly endpoints?: string;
  /** In seconds. */
  readonly timeout: number;
}

export type Services = ReturnType<typeof openServices>;
export type LoadClient = ReturnType<Services['loads']>;

/** Clients of the services that a command needs; opened on first use and closed at its end. */
export function openServices(options: CommonOptions) {
  const opened: { close(): void }[] = [];
  let endpoints: Endpoints | undefined;
  const defaultTimeoutMs = options.timeout * 1000;
  const where = (): Endpoints => {
    endpoints ??= readEndpoints(options.endpoints);
    return endpoints;
  };
  const address = (service: string): string => {
    const found = where().services[service]?.grpc;
    if (!found)
      throw new MeshError('SERVICE_UNAVAILABLE', `the endpoints file names no service "${service}"; is it running?`, {
        service,
      });
    return found;
  };
  const keep = <T extends { close(): void }>(client: T): T => {
    opened.push(client);
    return client;
  };
  return {
    endpoints: where,
    registry: () => keep(connect(registry.RegistryServiceService, address('governance'), { defaultTimeoutMs })),
    loads: () => keep(connect(loads.LoadServiceService, address('ingestion'), { defaultTimeoutMs })),
    audit: () => keep(connect(audit.AuditServiceService, address('governance'), { defaultTimeoutMs })),
    lineage: () => keep(connect(lineage.LineageServiceService, address('governance'), { defaultTimeoutMs })),
    ingestion: () => keep(connect(ingestion.IngestionServiceService, address('ingestion'), { defaultTimeoutMs })),
    compute: () =>
      keep(connect(computeContract.ComputeServiceService, address('feature-compute'), { defaultTimeoutMs })),
    featureQuality: () =>
      keep(connect(featureQuality.FeatureQualityServiceService, address('feature-compute'), { defaultTimeoutMs })),
    materialize: () =>
      keep(connect(materialize.MaterializeServiceService, address('feature-compute'), { defaultTimeoutMs })),
    features: () =>
      keep(connect(serving.FeatureServiceService, address('online-serving'), { defaultTimeoutMs, caller: 'millrace' })),
    search: () =>
      keep(connect(search.SearchServiceService, address('online-serving'), { defaultTimeoutMs, caller: 'millrace' })),
    predictions: () =>
      keep(connect(inference.PredictionServiceService, address('model-inference'), { defaultTimeoutMs })),
    deployments: () =>
      keep(connect(deployments.DeploymentServiceService, address('model-inference'), { defaultTimeoutMs })),
    oip: () => keep(connect(oip.GRPCInferenceServiceService, address('model-inference'), { defaultTimeoutMs })),
    aliases: () => keep(connect(aliases.AliasServiceService, address('model-inference'), { defaultTimeoutMs })),
    rollouts: () => keep(connect(rollouts.RolloutServiceService, address('model-inference'), { defaultTimeoutMs })),
    close() {
      for (const client of opened) client.close();
    },
  };
}

/** Runs a command with its clients; an error ends it with its reason, message and exit code 1. */
export async function withServices(
  options: CommonOptions,
  command: (services: Services) => Promise<void>,
): Promise<void> {
  const services = openServices(options);
  try {
    await command(services);
  } catch (thrown) {
    reportError(thrown, options);
  } finally {
    services.close();
  }
}

export function reportError(thrown: unknown, options: CommonOptions): void {
  const error = toMeshError(thrown);
  process.exitCode = 1;
  if (options.json) printJson({ error: { reason: error.reason, message: error.message, metadata: error.metadata } });
  else process.stderr.write(`millrace: ${error.message}${remedies[error.reason] ?? ''} (${error.reason})\n`);
}

/** What to do when only the caller's side knows that something is not there. */
const remedies: Readonly<Partial<Record<Reason, string>>> = {
  SERVICE_UNAVAILABLE: '; is the mesh running? try: millrace doctor',
  LEAKAGE_FOUND: ': --allow-leakage <reason>',
};

/** Who asks, for audits. */
export function personName(): string {
  return userInfo().username;
}

/** The value of an option that is a number above 0. */
export function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value)) throw new InvalidArgumentError('write a number above 0');
  return value;
}

/** One line of JSON; 64-bit integers beyond 2^53 as strings. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, jsonMember)}\n`);
}

function jsonMember(_key: string, member: unknown): unknown {
  if (typeof member === 'bigint') return Number.isSafeInteger(Number(member)) ? Number(member) : member.toString();
  if (member instanceof Map) return Object.fromEntries(member);
  if (typeof member === 'number' && !Number.isFinite(member)) return null;
  return member;
}

export type ViewStateName = keyof typeof computeContract.ViewState;

export function viewStateName(state: compute.ViewState): string {
  return Object.entries(computeContract.ViewState).find(([, value]) => value === state)?.[0] ?? 'UNKNOWN';
}
