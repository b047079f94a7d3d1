import { outputNames, type RegistrySnapshot, targetsOf } from '@millrace/registry';
import type { Catalog } from './catalog.ts';
import type { Break, PlannedChange } from './planned-change.ts';
import { label } from './problem.ts';

/** What a change does to consumers that are not in the set. */
export function breaksOf(change: PlannedChange, current: RegistrySnapshot, after: Catalog): Break[] {
  if (change.action === 'REMOVED') return removalBreaks(change, current, after);
  if (change.action !== 'CHANGED') return [];
  if (change.kind === 'feature_view') {
    return [...current.services.values()]
      .filter(
        ({ name, spec }) =>
          !after.isNew('feature_service', name) &&
          after.featureService(name) &&
          spec.features.some(({ view }) => view === change.name),
      )
      .map(({ name }) => ({
        consumer: label('feature_service', name),
        why: `keeps version ${change.oldVersion}; apply it again to move it`,
        fatal: false,
      }));
  }
  if (change.kind === 'source') return outcomeBreaks(change.name, current, after);
  if (change.kind === 'feature_service') {
    return [...current.models.values()]
      .filter(
        ({ name, spec }) => !after.isNew('model', name) && after.model(name) && spec.featureService === change.name,
      )
      .flatMap(({ name, spec }) => {
        const service = after.featureService(change.name);
        const names = new Set(service && outputNames(service));
        const lost = spec.inputColumns.flatMap(({ source }) =>
          source?.$case === 'feature' && !names.has(source.value) ? [source.value] : [],
        );
        return lost.length === 0
          ? []
          : [{ consumer: label('model', name), why: `reads ${lost.join(', ')}, which is gone`, fatal: true }];
      });
  }
  return [];
}

/** Views are made anew from the source; a model reads its outcomes as they come. */
function outcomeBreaks(source: string, current: RegistrySnapshot, after: Catalog): Break[] {
  const fields = new Set(after.source(source)?.fields.map(({ name }) => name));
  return [...current.models.values()].flatMap(({ name, spec: { outcome } }) => {
    if (outcome?.source !== source || after.isNew('model', name) || !after.model(name)) return [];
    const lost = [outcome.keyField, outcome.labelField].filter((field) => !fields.has(field));
    const why = `reads its outcomes from field ${lost.map((field) => `"${field}"`).join(' and ')}, which is gone`;
    return lost.length === 0 ? [] : [{ consumer: label('model', name), why, fatal: true }];
  });
}

function removalBreaks({ kind, name }: PlannedChange, current: RegistrySnapshot, after: Catalog): Break[] {
  const breaks: Break[] = [];
  const fatal = (consumer: string, why: string) => breaks.push({ consumer, why, fatal: true });
  if (kind === 'entity' || kind === 'source') {
    for (const [view, { spec }] of current.views)
      if (after.featureView(view) && spec[kind] === name) fatal(label('feature_view', view), `uses the ${kind}`);
  }
  if (kind === 'source') {
    for (const [model, { spec }] of current.models)
      if (after.model(model) && spec.outcome?.source === name)
        fatal(label('model', model), 'reads its outcomes from it');
  }
  if (kind === 'feature_view') {
    for (const [service] of current.services)
      if (after.featureService(service)?.features.some(({ view }) => view === name))
        fatal(label('feature_service', service), 'reads it');
  }
  if (kind === 'feature_service') {
    for (const [model] of current.models)
      if (after.model(model)?.featureService === name) fatal(label('model', model), 'is fed by it');
  }
  if (kind === 'model') {
    for (const [deployment, { spec }] of current.deployments) {
      if (after.names('deployment').includes(deployment) && targetsOf(spec).some(({ target }) => target.model === name))
        fatal(label('deployment', deployment), 'routes traffic to it');
    }
  }
  return breaks;
}
