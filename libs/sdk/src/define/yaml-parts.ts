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
