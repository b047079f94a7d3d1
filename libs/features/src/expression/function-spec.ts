import type { Node } from './node.ts';

export interface FunctionSpec {
  readonly signature: string;
  /** How many arguments it takes: at least and at most. */
  readonly arguments: readonly [number, number];
  /** Throws an Error that says what is wrong with the arguments, whose number is right. */
  readonly build: (parts: readonly [Node, Node, ...Node[]] & readonly Node[]) => Node;
}

export type Functions = Readonly<Record<string, FunctionSpec>>;
