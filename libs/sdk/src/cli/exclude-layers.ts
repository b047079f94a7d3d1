import { gateProblems, type LayerDecision, type OutputReport, reportOutput } from '@millrace/onnx';
import type { Samples } from './model-samples.ts';
import type { ModelSession } from './model-session.ts';
import { progressLine } from './progress-line.ts';
import { allRows } from './quantize-report.ts';

/** Rows that a layer is measured on, at most. */
const measuredRows = 1_024;

/**
 * The layers that stay as they are so that the others pass the gate: each layer is quantized alone and measured by its lowest signal to
 * noise ratio, and the worst are left out one after another until what remains passes. All of them when nothing less does.
 *
 * @param make the model with these layers left out, opened
 */
export async function layersToExclude(of: {
  readonly layers: readonly LayerDecision[];
  readonly original: ModelSession;
  readonly samples: Samples;
  readonly make: (exclude: readonly string[]) => Promise<ModelSession>;
}): Promise<{ readonly exclude: readonly string[]; readonly sqnrDb: ReadonlyMap<string, number> }> {
  const { layers, original, make } = of;
  const samples = { ...of.samples, rows: Math.min(of.samples.rows, measuredRows) };
  const names = layers.filter(({ decision }) => decision === 'quantized').map(({ node }) => node);
  const before = await allRows(original, samples);
  const line = progressLine();

  async function measure(exclude: readonly string[], rows: Samples, wanted = before): Promise<OutputReport[]> {
    const session = await make(exclude);
    try {
      const after = await allRows(session, rows);
      return [...wanted].map(([output, { values, isLabel }]) =>
        reportOutput({
          output,
          rows: rows.rows,
          original: values,
          quantized: after.get(output)?.values ?? [],
          isLabel,
        }),
      );
    } finally {
      await session.close();
    }
  }

  const sqnrDb = new Map<string, number>();
  for (const [at, name] of names.entries()) {
    line.show(at, names.length, `layers measured; now ${name}`);
    const reports = await measure(
      names.filter((other) => other !== name),
      samples,
    );
    sqnrDb.set(name, Math.min(...reports.map((report) => report.sqnrDb ?? Number.POSITIVE_INFINITY)));
  }
  const worstFirst = names.toSorted((a, b) => (sqnrDb.get(a) ?? 0) - (sqnrDb.get(b) ?? 0));
  const all = samples.rows === of.samples.rows ? before : await allRows(original, of.samples);
  let count = 1;
  for (; count < worstFirst.length; count++) {
    line.show(count, names.length, `layers left out; now ${worstFirst[count - 1]}`);
    const reports = await measure(worstFirst.slice(0, count), of.samples, all);
    if (gateProblems(reports, Number.POSITIVE_INFINITY, undefined).length === 0) break;
  }
  line.end();
  return { exclude: worstFirst.slice(0, count), sqnrDb };
}
