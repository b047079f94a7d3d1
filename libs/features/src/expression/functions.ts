import { conversions } from './conversions.ts';
import { coalesce } from './logic.ts';
import { mathFunctions } from './maths.ts';
import type { Node } from './node.ts';
import { textFunctions } from './text.ts';
import { timeFunctions } from './time.ts';

export interface FunctionSpec {
  readonly signature: string;
  /** How many arguments it takes: at least and at most. */
  readonly arguments: readonly [number, number];
  /** Throws an Error that says what is wrong with the arguments, whose number is right. */
  readonly build: (parts: readonly [Node, Node, ...Node[]] & readonly Node[]) => Node;
}

export type Functions = Readonly<Record<string, FunctionSpec>>;

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
