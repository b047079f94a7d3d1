import type { definitions } from '@millrace/contracts';
import { Cron } from 'croner';
import { isCorrectable } from './change-problems.ts';
import type { SourceProblem } from './expectation-problems.ts';

const inputsMax = 8;

/** Everything that is wrong with a source's batch inputs, each with its path and what to do. */
export function batchProblems(source: definitions.Source): SourceProblem[] {
  const { batchInputs } = source;
  const found: SourceProblem[] = [];
  if (batchInputs.length > inputsMax)
    found.push({ path: 'batch', problem: `${batchInputs.length} batch inputs are over the limit of ${inputsMax}` });
  const seen = new Set<string>();
  for (const input of batchInputs) {
    const report = (problem: string) => found.push({ path: `batch.${input.name}`, problem });
    if (!/^[a-z][a-z0-9_-]{0,99}$/.test(input.name))
      report(`"${input.name}" is not a name; use lowercase letters, digits, _ and -, a letter first`);
    if (seen.has(input.name)) report(`two batch inputs are named "${input.name}"`);
    seen.add(input.name);
    checkInput(input, source, report);
  }
  return found;
}

function checkInput(
  input: definitions.BatchInput,
  source: definitions.Source,
  report: (problem: string) => void,
): void {
  const { location, query, schedule, format, watermarkColumn, overlapUs } = input;
  if ((location === '') === (query === '')) report('give either a location or a query');
  const cron = schedule === '' ? '' : scheduleProblem(schedule);
  if (cron !== '')
    report(`schedule "${schedule}" is not cron: ${cron}; write five fields as "0 5 * * *", or six with seconds first`);
  const fields = new Set(source.fields.map(({ name }) => name));
  for (const [column, field] of format?.columns ?? [])
    if (field !== '' && !fields.has(field))
      report(`column "${column}" is mapped to "${field}", which is not a field; fields: ${[...fields].join(', ')}`);
  if (source.eventTimeField === '' && !format?.timeColumn)
    report('the source names no event-time field; name the column that holds the time with time');
  if ((format?.idColumns.length ?? 0) > 8) report(`${format?.idColumns.length} id columns are over the limit of 8`);
  const operationColumn = format?.operationColumn ?? '';
  if (operationColumn !== '' && !isCorrectable(source))
    report(`column "${operationColumn}" is to say what becomes of events, which needs changes: upsert`);
  if (operationColumn !== '' && format?.idColumns.length === 0)
    report('rows that correct or delete need the columns that make the event id: id');
  if (overlapUs < 0n) report('overlap cannot be negative');
  if (query === '') {
    if (watermarkColumn !== '' || overlapUs !== 0n)
      report('a watermark is for a query; files are told by their content');
    return;
  }
  if (watermarkColumn === '') report('a query needs the column that grows: watermark');
  if ((format?.idColumns.length ?? 0) === 0) report("a query needs the columns that make a row's id: id");
  if (!/^\s*(select|with)\b/i.test(query)) report('the query is not a SELECT');
}

/** Empty for a schedule that can be kept. */
export function scheduleProblem(schedule: string): string {
  try {
    const cron = new Cron(schedule, { paused: true, timezone: 'UTC' });
    const next = cron.nextRun();
    cron.stop();
    return next === null ? 'it never comes' : '';
  } catch (cause) {
    return (cause as Error).message;
  }
}
