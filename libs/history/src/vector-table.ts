/** The newest vector of each entity of a view's version, one table for each feature (kept by feature-compute, asked by online-serving). */
export function vectorTable(view: string, version: string, feature: string): string {
  return `\`${vectorTablePrefix}${view}_${version}_${feature}\``;
}

export const vectorTablePrefix = 'vectors_';
