import { withInputs } from './inputs.ts';
import type { FeatureType, ViewDefinition } from './types.ts';
import { isVectorType } from './vectors.ts';

/** The type of each feature, in the view's order. */
export function viewFeatureTypes(given: ViewDefinition): FeatureType[] {
  const view = withInputs(given);
  const fields = new Map(view.fields.map((field) => [field.name, field.type]));
  return view.features.map((feature): FeatureType => {
    const field = fields.get(feature.field) ?? 'DOUBLE';
    switch (feature.function) {
      case 'count':
      case 'distinct':
        return 'INT64';
      case 'sum':
        return field === 'DOUBLE' ? 'DOUBLE' : 'INT64';
      case 'mean':
      case 'rate':
      case 'variance':
      case 'stddev':
      case 'percentile':
      case 'entropy':
      case 'age':
      case 'decayed_sum':
      case 'decayed_count':
      case 'decayed_mean':
      case 'trend':
      case 'ratio':
      case 'zscore':
      case 'change':
        return 'DOUBLE';
      case 'min':
      case 'max':
      case 'first':
      case 'last':
        return field;
      case 'last_n':
      case 'first_n':
      case 'last_distinct_n':
      case 'first_distinct_n':
      case 'top_k':
        // `checkView` refuses those of vectors
        return isVectorType(field) ? field : `${field}[]`;
      case 'histogram':
        return 'INT64[]';
      default:
        return feature.function satisfies never;
    }
  });
}
