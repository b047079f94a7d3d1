import { lineage } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import type { GetLineage } from '../app/lineage.ts';

const { UPSTREAM, DOWNSTREAM } = lineage.Direction;
const defaultDepth = 16;
const depthMax = 64;

/** The wire of LineageService. */
export function lineageService({ getLineage }: { readonly getLineage: GetLineage }): ServiceBinding {
  return bindService(lineage.LineageServiceService, {
    getLineage: async ({ node, direction, depth }) => {
      if (depth > depthMax)
        throw new MeshError('LIMIT_EXCEEDED', `depth ${depth} is over the limit of ${depthMax}`, {
          depth,
          limit: depthMax,
        });
      const found = await getLineage({
        node,
        directions: direction === UPSTREAM ? ['up'] : direction === DOWNSTREAM ? ['down'] : ['up', 'down'],
        depth: depth === 0 ? defaultDepth : depth,
      });
      return { ...found, nodes: [...found.nodes], edges: [...found.edges], notes: [...found.notes] };
    },
  });
}
