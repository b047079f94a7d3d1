import type { inference } from '@millrace/contracts';
import type { ExplainedPart } from '../app/explain-rows.ts';
import type { Explanation } from '../domain/explanation.ts';

/** Attributions as Explain answers them. */
export function explainMessage(parts: readonly ExplainedPart[]): inference.ExplainResponse {
  return {
    models: parts.map(({ model, members, values, statuses, explanation }) => {
      const width = explanation.features.length;
      const of = <T>(list: { slice(from: number, to: number): T }, at: number) =>
        list.slice(at * width, (at + 1) * width);
      return {
        model: model.name,
        modelVersion: model.version,
        method: explanation.method,
        note: explanation.note,
        output: explanation.output,
        featureNames: [...explanation.features],
        pairs: explanation.pairs,
        rows: members.map((row, at) => ({
          row,
          features: [...of(values, at)],
          statuses: Buffer.from(of(statuses, at)),
          outputs: Array.from({ length: explanation.outputs }, (_, output) => outputMessage(explanation, at, output)),
        })),
      };
    }),
  };
}

function outputMessage(explanation: Explanation, row: number, output: number): inference.OutputAttributions {
  const { outputs, features, values, standardErrors, bases, margins, residuals, labels } = explanation;
  const at = row * outputs + output;
  const [from, to] = [at * features.length, (at + 1) * features.length];
  return {
    label: labels[output] ?? '',
    base: bases[at] ?? Number.NaN,
    margin: margins[at] ?? Number.NaN,
    residual: residuals[at] ?? Number.NaN,
    values: [...values.subarray(from, to)],
    standardErrors: [...(standardErrors?.subarray(from, to) ?? [])],
  };
}
