import { expectations } from '@millrace/contracts';
import type { SourceField } from '@millrace/features';
import { expectationProblems, type SourceProblem } from './expectation-problems.ts';

/** Everything that is wrong with a view's expectations; `fields` are its features that are single values, derived ones too, `lists` those that are. */
export function featureExpectationProblems(
  given: readonly expectations.Expectation[],
  fields: readonly SourceField[],
  lists: readonly string[],
): SourceProblem[] {
  const found = given.flatMap(({ name, severity, check, perBatch }): SourceProblem[] => {
    const report = (problem: string) => [{ path: `expectations.${name}`, problem }];
    if (severity === expectations.Severity.QUARANTINE)
      return report(
        'a feature has the same value everywhere, so no check can take one away: set severity to warn or block, or quarantine events with an expectation of the source',
      );
    if (perBatch !== undefined)
      return report('events come in batches, features do not; leave per_batch out, or expect it of the source');
    if (check?.$case === 'unique')
      return report('an entity has one row in a view; expect distinctness of a feature over an interval instead');
    if (severity === expectations.Severity.BLOCK && (check?.$case === 'volume' || check?.$case === 'freshness'))
      return report(
        'looks at rows as they come, which a new version and a training set do not: it can only warn; set severity to warn, or leave it out',
      );
    const field = check && 'field' in check.value ? check.value.field : '';
    if (lists.includes(field))
      return report(`feature "${field}" is a list or a vector; expect something of single values`);
    return [];
  });
  const told = new Set(found.map(({ path }) => path));
  // what else can be wrong is what can be wrong with an expectation of a source, but that those of intervals may block
  const plain = given.map((each) => ({ ...each, severity: expectations.Severity.UNSPECIFIED }));
  for (const { path, problem } of expectationProblems({ expectations: plain }, fields))
    if (!told.has(path)) found.push({ path, problem: problem.replaceAll('field', 'feature') });
  return found;
}
