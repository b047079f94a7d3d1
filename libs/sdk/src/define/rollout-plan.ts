import { MeshError } from '@millrace/kernel';
import { checkPlan, defaultPlan, type Guardrail, type RolloutPlan } from '@millrace/rollouts';
import { parse } from 'yaml';
import { z } from 'zod';

const rate = z.strictObject({
  tolerance: z.number().optional(),
  margin: z.number().optional(),
  negligible: z.number().optional(),
  weight: z.number().optional(),
});
const limit = z.strictObject({ limit: z.number(), weight: z.number().optional() });
const paired = limit.extend({ threshold: z.number().optional() });
const schema = z.strictObject({
  steps: z
    .array(
      z.strictObject({
        share: z.number().default(0),
        shadow: z.number().default(0),
        min_seconds: z.number().default(0),
        min_requests: z.number().default(0),
      }),
    )
    .optional(),
  guardrails: z
    .strictObject({
      errors: rate.optional(),
      latency: rate.optional(),
      not_finite: rate.optional(),
      score_shift: limit.optional(),
      disagreement: paired.optional(),
      quality: limit.optional(),
    })
    .optional(),
  alpha: z.number().optional(),
  beta: z.number().optional(),
  rollback_min_requests: z.number().optional(),
  kill: z.strictObject({ share: z.number(), requests: z.number() }).optional(),
  max_seconds: z.number().optional(),
});

/** A rollout's plan as YAML; what it leaves out is the default plan's. INVALID_DEFINITION or INVALID_ARGUMENT names the field. */
export function rolloutPlan(text: string, file: string): RolloutPlan {
  let document: unknown;
  try {
    document = parse(text) ?? {};
  } catch (cause) {
    throw new MeshError('INVALID_DEFINITION', `${file}: ${(cause as Error).message}`, { file }, { cause });
  }
  const parsed = schema.safeParse(document);
  if (!parsed.success)
    throw new MeshError('INVALID_DEFINITION', `${file}: ${z.prettifyError(parsed.error).replace(/\s+/g, ' ')}`, {
      file,
    });
  const given = parsed.data;
  return checkPlan({
    steps:
      given.steps?.map((step) => ({
        share: step.share,
        shadow: step.shadow,
        minSeconds: step.min_seconds,
        minRequests: step.min_requests,
      })) ?? defaultPlan.steps,
    guardrails: given.guardrails ? guardrailsOf(given.guardrails) : defaultPlan.guardrails,
    alpha: given.alpha ?? defaultPlan.alpha,
    beta: given.beta ?? defaultPlan.beta,
    rollbackMinRequests: given.rollback_min_requests ?? defaultPlan.rollbackMinRequests,
    kill: given.kill ?? defaultPlan.kill,
    maxSeconds: given.max_seconds ?? defaultPlan.maxSeconds,
  });
}

type GivenGuardrails = NonNullable<z.infer<typeof schema>['guardrails']>;

function guardrailsOf(given: GivenGuardrails): Guardrail[] {
  const rates = (['errors', 'latency', 'not_finite'] as const).flatMap((kind): Guardrail[] => {
    const own = given[kind];
    if (!own) return [];
    // latencies differ a little between any two models: 20 % higher odds of a slow answer are no regression
    const tolerance = own.tolerance ?? (kind === 'latency' ? 1.2 : 1);
    const margin = own.margin ?? (kind === 'latency' ? 3 : 2);
    return [{ kind, tolerance, margin, negligible: own.negligible ?? 0.001, weight: own.weight ?? 1 }];
  });
  const limits = (['score_shift', 'disagreement', 'quality'] as const).flatMap((kind): Guardrail[] => {
    const own = given[kind];
    const threshold = kind === 'disagreement' ? given.disagreement?.threshold : undefined;
    return own ? [{ kind, limit: own.limit, weight: own.weight ?? 1, threshold }] : [];
  });
  return [...rates, ...limits];
}
