import { definitions, expectations } from '@millrace/contracts';
import type { SourceProblem } from './expectation-problems.ts';

const idColumnsMax = 8;

/** True when events of the source may be corrected and deleted. */
export function isCorrectable({ changes }: definitions.Source): boolean {
  return changes === definitions.Changes.UPSERT;
}

/** What is wrong with what an event says that it does; undefined when nothing is. */
export function operationProblem(operation: string | undefined): string | undefined {
  if (operation === undefined || operation === 'upsert' || operation === 'delete') return undefined;
  return `operation "${operation.slice(0, 40)}" is none of insert, update, upsert and delete (or c, r, u, d)`;
}

/** What is wrong with how a source's events change. */
export function changeProblems(source: definitions.Source): SourceProblem[] {
  const { debezium } = source;
  const found: SourceProblem[] = [];
  if (debezium !== undefined) {
    const { idColumns } = debezium;
    if (!isCorrectable(source))
      found.push({ path: 'debezium', problem: 'a table changes, so its source needs changes: upsert' });
    if (source.payload !== undefined)
      found.push({ path: 'debezium', problem: 'its change events are taken as JSON; leave the payload out' });
    if (idColumns.length === 0 || idColumns.length > idColumnsMax || idColumns.includes(''))
      found.push({ path: 'debezium', problem: `name the columns of the primary key with id, 1 to ${idColumnsMax}` });
  }
  return isCorrectable(source) ? [...found, ...rememberedProblems(source)] : found;
}

/** What ingestion remembers of accepted events beside their ids is not taken back when one is corrected. */
function rememberedProblems({ fields, expectations: all }: definitions.Source): SourceProblem[] {
  const why = 'which is not for a source whose events may be corrected (changes: upsert)';
  const carried = fields
    .filter(({ missing }) => missing === expectations.MissingAction.FORWARD)
    .map(({ name }) => ({
      path: `fields.${name}`,
      problem: `takes the latest value of the same key when missing, ${why}; use default, mean or median`,
    }));
  const uniques = all
    .filter(({ check }) => check?.$case === 'unique')
    .map(({ name }) => ({
      path: `expectations.${name}`,
      problem: `is of kind unique, ${why}; make what must be unique the event's id`,
    }));
  return [...carried, ...uniques];
}

/** Undefined while a source goes on as it was. */
export function changesChanged(before: definitions.Source, after: definitions.Source): SourceProblem | undefined {
  if (isCorrectable(before) === isCorrectable(after)) return undefined;
  const name = (source: definitions.Source) => (isCorrectable(source) ? 'upsert' : 'append');
  return {
    path: 'changes',
    problem: `was ${name(before)} and cannot become ${name(after)}: what was computed before would mean something else; define a source of another name`,
  };
}
