import type { definitions } from '@millrace/contracts';

const everyFeature = '*';

/**
 * Puts a view's features, in their order and with the reference's own options, where a feature service says `<view>:*`. Returns what is wrong:
 * the view must be among the definitions, because its features are read off it.
 */
export function expandEveryFeature(all: readonly definitions.Definition[]): string[] {
  const namesOf = new Map(
    all.flatMap(({ name, spec }) =>
      spec?.$case === 'featureView'
        ? [[name, [...spec.value.features, ...spec.value.derived].map((feature) => feature.name)] as const]
        : [],
    ),
  );
  const problems: string[] = [];
  for (const { name, file, spec } of all) {
    if (spec?.$case !== 'featureService') continue;
    spec.value.features = spec.value.features.flatMap((reference) => {
      if (reference.feature !== everyFeature) return [reference];
      const names = namesOf.get(reference.view);
      const alias = (feature: string) => reference.alias.replace(everyFeature, feature);
      if (names) return names.map((feature) => ({ ...reference, feature, alias: alias(feature) }));
      problems.push(
        `${file}: feature_service "${name}": "${reference.view}:*" needs feature view "${reference.view}" in the same load; name its file too, or name the features`,
      );
      return [];
    });
  }
  return problems;
}
