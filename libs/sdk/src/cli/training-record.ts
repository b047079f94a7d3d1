import type { compute } from '@millrace/contracts';
import Table from 'cli-table3';
import { samplingKinds, splitKinds } from '../training/options.ts';

/** A record as a person reads it. */
export function describeRecord(record: compute.TrainingSetRecord): string {
  const { sampling, split } = record;
  const nameOf = (kinds: Readonly<Record<string, number>>, kind: number) =>
    Object.entries(kinds).find(([, value]) => value === kind)?.[0] ?? '';
  const facts: [string, string][] = [
    ['training set', record.id],
    ['digest', record.digest],
    ['built', new Date(Number(record.createdUs / 1000n)).toISOString()],
    ['feature service', `${record.featureService}@${record.featureServiceVersion}`],
    ['views', record.views.map(({ view, version, position }) => `${view}@${version} up to ${position}`).join(', ')],
    ['rows', `${record.rows} of ${record.labelRows} labels`],
    ['labels', record.labelsId === '' ? record.labelQuery.trim().replace(/\s+/g, ' ') : `file ${record.labelsId}`],
    [
      'events',
      record.complete
        ? 'all before label time'
        : `known ${Number(record.allowedDelayUs) / 1e6} s after label time at the latest`,
    ],
    ['seed', String(record.seed)],
  ];
  if (record.duplicateLabels > 0n)
    facts.push(['duplicates', `${record.duplicateLabels} labels have the keys and time of another`]);
  if (sampling) facts.push(['sample', nameOf(samplingKinds, sampling.kind)]);
  if (split) facts.push(['split', nameOf(splitKinds, split.kind)]);
  if (record.likeId !== '') facts.push(['like', record.likeId]);
  for (const { kind, message } of record.findings) facts.push([`leakage: ${kind}`, message]);
  if (record.leakageReason !== '') facts.push(['allowed because', record.leakageReason]);
  for (const { view, expectation, severity, message } of record.failedExpectations)
    facts.push([`${severity}: ${view}/${expectation}`, message]);
  const table = new Table({ head: ['feature', 'present', 'null', 'not found'], style: { head: [], border: [] } });
  for (const { column, present, nullRows, notFound } of record.counts)
    table.push([column, String(present), String(nullRows), record.withStatuses ? String(notFound) : '']);
  const wide = Math.max(...facts.map(([name]) => name.length));
  return `${facts.map(([name, value]) => `${name.padEnd(wide)}  ${value}`).join('\n')}\n${table.toString()}\n`;
}
