import { MeshError } from '@millrace/kernel';
import { z } from 'zod';

export type Env = Readonly<Record<string, string | undefined>>;

const address = (fallback: string) =>
  z
    .string()
    .regex(/^.+:\d{1,5}$/, 'write host:port')
    .default(fallback);

const storesSchema = z.object({
  MILLRACE_NATS_URL: z.string().min(1),
  MILLRACE_REDIS_URL: z.string().default('redis://127.0.0.1:6379'),
  MILLRACE_CLICKHOUSE_URL: z.string().default('http://127.0.0.1:8123'),
});

const ownSchema = z.object({
  MILLRACE_GRPC_ADDRESS: address('127.0.0.1:0'),
  MILLRACE_HTTP_ADDRESS: address('127.0.0.1:0'),
  MILLRACE_DATA_DIR: z.string().default('.millrace/data'),
  MILLRACE_OTLP_ENDPOINT: z.string().optional(),
  MILLRACE_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
});

/** What every service reads from the environment. */
export function commonConfig(env: Env) {
  const stores = parseEnv(storesSchema.extend(ownSchema.shape), env);
  return {
    natsUrl: stores.MILLRACE_NATS_URL,
    redisUrl: stores.MILLRACE_REDIS_URL,
    clickhouseUrl: stores.MILLRACE_CLICKHOUSE_URL,
    ...ownConfig(env),
  };
}

/** What a service that runs without the stores reads of it. */
export function ownConfig(env: Env) {
  const own = parseEnv(ownSchema, env);
  return {
    grpcAddress: own.MILLRACE_GRPC_ADDRESS,
    httpAddress: own.MILLRACE_HTTP_ADDRESS,
    dataDir: own.MILLRACE_DATA_DIR,
    otlpEndpoint: own.MILLRACE_OTLP_ENDPOINT,
    logLevel: own.MILLRACE_LOG_LEVEL,
  };
}

export type CommonConfig = ReturnType<typeof commonConfig>;

/** Empty variables count as unset. INVALID_CONFIG names every variable that is wrong. */
export function parseEnv<S extends z.ZodType>(schema: S, env: Env): z.output<S> {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''));
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new MeshError('INVALID_CONFIG', `environment: ${problems.join('; ')}`, { problems: problems.length });
}
