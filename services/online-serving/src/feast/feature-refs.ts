import { MeshError } from '@millrace/kernel';

/** `view:feature`, `view@v2:feature` or `view@<version>:feature`. */
export type FeatureRef = {
  readonly view: string;
  /** As it stands in the reference; empty when it has none. */
  readonly version: string;
  readonly feature: string;
};

/** What a plan's columns are called: with `full_feature_names`, and without. */
export type FeatureNames = { readonly full: readonly string[]; readonly short: readonly string[] };

export function parseFeatureRef(ref: string): FeatureRef {
  const match = /^([^:@]+)(?:@([^:@]+))?:([^:]+)$/.exec(ref);
  if (!match) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `feature reference "${ref}" is not one; write "<feature view>:<feature>", or "<feature view>@<version>:<feature>"`,
      { field: 'features', feature: ref },
    );
  }
  const [, view = '', version = '', feature = ''] = match;
  return { view, version, feature };
}

/** Feast's names: `view__feature` in full (`view@v2__feature` when pinned), else the feature's own. */
export function namesOfRefs(refs: readonly FeatureRef[]): FeatureNames {
  return {
    full: refs.map(({ view, version, feature }) => `${view}${version === '' ? '' : `@${version}`}__${feature}`),
    short: refs.map(({ feature }) => feature),
  };
}

/** Throws when two columns would have one name; its metadata says so to the error encoder. */
export function checkCollisions(names: readonly string[], full: boolean): void {
  if (new Set(names).size === names.length) return;
  const twice = [...new Set(names.filter((name, index) => names.indexOf(name) !== index))].sort();
  throw new MeshError(
    'INVALID_ARGUMENT',
    `duplicate features named ${twice.map((name) => `"${name}"`).join(', ')}; ${full ? 'name each feature once' : 'set full_feature_names, or name each feature once'}`,
    { field: 'features', collision: twice.join(',') },
  );
}
