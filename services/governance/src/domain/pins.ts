import type { definitions } from '@millrace/contracts';
import { type Manifest, targetsOf } from '@millrace/registry';
import { labelOf, type Problem } from './problem.ts';

/** Versions that references name and that never were: neither current nor before, nor what the set itself comes to. */
export function pinProblems(
  set: readonly definitions.Definition[],
  manifest: Manifest,
  versions: ReadonlyMap<string, string>,
): Problem[] {
  return set.flatMap((definition) =>
    pinsOf(definition).flatMap(({ field, path, version }) => {
      const entry = manifest[path];
      const there = new Set([versions.get(path) ?? '', entry?.version ?? '', ...(entry?.previousVersions ?? [])]);
      there.delete('');
      if (version === '' || there.has(version)) return [];
      const message = `${path} has no version "${version}"; versions: ${[...there].slice(0, 20).join(', ')}`;
      return [{ file: definition.file, definition: labelOf(definition), field, message }];
    }),
  );
}

function pinsOf({ spec }: definitions.Definition) {
  if (spec?.$case === 'featureService')
    return spec.value.features.map(({ view, viewVersion }, index) => ({
      field: `features.${index}`,
      path: `feature_view/${view}`,
      version: viewVersion,
    }));
  if (spec?.$case === 'deployment')
    return targetsOf(spec.value).map(({ field, target: { model, modelVersion } }) => ({
      field,
      path: `model/${model}`,
      // an alias points to whatever it points to when it is asked
      version: modelVersion.startsWith('@') ? '' : modelVersion,
    }));
  return [];
}
