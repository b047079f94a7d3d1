import { conversions } from './conversions.ts';
import type { FunctionSpec } from './function-spec.ts';
import { coalesce } from './logic.ts';
import { mathFunctions } from './maths.ts';
import type { Node } from './node.ts';
import { textFunctions } from './text.ts';
import { timeFunctions } from './time.ts';

const functions: ReadonlyMap<string, FunctionSpec> = new Map(
  Object.entries({
    ...textFunctions,
    ...mathFunctions,
    ...conversions,
    ...timeFunctions,
    coalesce: { signature: 'coalesce(a, b, …)', arguments: [1, 16], build: coalesce } satisfies FunctionSpec,
  }),
);

/** `text.size()` and `size(text)` are the same. */
export function callFunction(name: string, parts: readonly Node[]): Node {
  const found = functions.get(name);
  if (!found) throw new Error(`there is no function "${name}"; functions: ${[...functions.keys()].join(', ')}`);
  const [least, most] = found.arguments;
  if (parts.length < least || parts.length > most)
    throw new Error(
      `"${name}" was given ${parts.length} value${parts.length === 1 ? '' : 's'}; write ${found.signature}`,
    );
  return found.build(parts as never);
}
