import { type FileHandle, open } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import type { ingestion } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { type CommonOptions, printJson, withServices } from './context.ts';
import { type EnvelopeFields, toEvent } from './event-lines.ts';

export interface PublishOptions extends CommonOptions, EnvelopeFields {
  /** Events a request. */
  readonly batch: number;
}

const rejectionsShown = 20;

/** Publishes JSON lines; each rejection names its line, and any makes the exit code 1. */
export async function publish(source: string, file: string | undefined, options: PublishOptions): Promise<void> {
  await withServices(options, async (services) => {
    const input = await openInput(file);
    const client = services.ingestion();
    const total = {
      accepted: 0,
      duplicates: 0,
      rejections: [] as (ingestion.Rejection & { readonly line: number })[],
      warnings: new Map<string, ingestion.Warning>(),
    };
    let batch: { readonly event: ingestion.Event; readonly line: number }[] = [];
    const flush = async () => {
      if (batch.length === 0) return;
      const sent = batch;
      batch = [];
      const response = await client.publish({ source, events: sent.map(({ event }) => event) });
      total.accepted += response.accepted;
      total.duplicates += response.duplicates;
      for (const warning of response.warnings) addWarning(total.warnings, warning);
      for (const rejection of response.rejections)
        total.rejections.push({ line: sent[rejection.index]?.line ?? 0, ...rejection });
      if (!options.json && process.stderr.isTTY)
        process.stderr.write(`\r${total.accepted} accepted, ${total.rejections.length} rejected `);
    };
    let line = 0;
    for await (const text of createInterface({ input })) {
      line++;
      if (text.trim() === '') continue;
      batch.push({ event: toEvent(text, line, options), line });
      if (batch.length >= options.batch) await flush();
    }
    await flush();
    if (total.rejections.length > 0) process.exitCode = 1;
    const warnings = [...total.warnings.values()];
    if (options.json) return printJson({ ...total, warnings });
    process.stdout.write(
      `${total.accepted} accepted, ${total.duplicates} duplicates, ${total.rejections.length} rejected\n`,
    );
    for (const { expectation, events, message } of warnings)
      process.stdout.write(`  ${events} accepted with a warning, "${expectation}": ${message}\n`);
    for (const rejection of total.rejections.slice(0, rejectionsShown))
      process.stdout.write(
        `  line ${rejection.line}: ${rejection.reason}: ${rejection.message} (event "${rejection.eventId}", in quarantine)\n`,
      );
    if (total.rejections.length > rejectionsShown)
      process.stdout.write(`  and ${total.rejections.length - rejectionsShown} more, in quarantine\n`);
  });
}

/** Batches are told together, with the message about the first event. */
function addWarning(
  warnings: Map<string, ingestion.Warning>,
  { expectation, events, message }: ingestion.Warning,
): void {
  const known = warnings.get(expectation);
  warnings.set(expectation, { expectation, events: events + (known?.events ?? 0), message: known?.message ?? message });
}

async function openInput(file: string | undefined): Promise<NodeJS.ReadableStream> {
  if (file === undefined) return process.stdin;
  let handle: FileHandle;
  try {
    handle = await open(file);
    if ((await handle.stat()).isFile()) return handle.createReadStream();
    await handle.close();
  } catch (cause) {
    throw new MeshError('INVALID_ARGUMENT', `no file "${file}" of events`, { file }, { cause });
  }
  throw new MeshError('INVALID_ARGUMENT', `"${file}" is not a file of events`, { file });
}
