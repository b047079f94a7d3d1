import { parseDurationUs } from '@millrace/kernel';
import { z } from 'zod';

/** What every document has. */
export const metadata = {
  name: z.string(),
  owner: z.string().optional(),
  description: z.string().optional(),
  tags: z.record(z.string(), z.string()).optional(),
};

export const fieldType = z.enum(['BOOL', 'INT64', 'DOUBLE', 'STRING', 'TIMESTAMP']);

/** The type of a source's field; of a vector with its dimension, as `VECTOR(384)`. */
export const schemaType = z
  .union([fieldType, z.string().regex(/^VECTOR\(\d{1,9}\)$/)], {
    error: 'expected BOOL, INT64, DOUBLE, STRING, TIMESTAMP, or a vector with its dimension, as VECTOR(384)',
  })
  .transform((type) => {
    const single = fieldType.safeParse(type);
    if (single.success) return { type: single.data };
    return { type: 'VECTOR' as const, dimension: Number(type.slice('VECTOR('.length, -1)) };
  });

export const duration = z.string().transform((text, context) => {
  try {
    return BigInt(parseDurationUs(text));
  } catch (thrown) {
    context.addIssue({ code: 'custom', message: (thrown as Error).message });
    return z.NEVER;
  }
});

/** A duration that is kept as text. */
export const durationText = z.string().superRefine((text, context) => {
  try {
    parseDurationUs(text);
  } catch (thrown) {
    context.addIssue({ code: 'custom', message: (thrown as Error).message });
  }
});
