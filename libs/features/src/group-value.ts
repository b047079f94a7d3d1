import type { Group, GroupFeature, GroupOperand } from './layout.ts';
import type { Accumulator } from './tiles.ts';
import type { FeatureValue } from './types.ts';

/** What a row keeps of a feature from a step on, given the group's windows as of its start. */
export function valueInGroup(
  group: Group,
  { operands, combine }: GroupFeature,
  windows: readonly Accumulator[],
  stepUs: number,
): FeatureValue {
  if (combine === undefined) return operandValue(group, operands[0] as GroupOperand, windows, stepUs);
  return combine(operands.map((operand) => operandValue(group, operand, windows, stepUs)));
}

function operandValue(
  group: Group,
  operand: GroupOperand,
  windows: readonly Accumulator[],
  stepUs: number,
): FeatureValue {
  const { slots, parts } = windows[operand.window] as Accumulator;
  const { at, partAt } = group.cells[operand.cell] as Group['cells'][number];
  return operand.finish(slots, at, parts, partAt, stepUs);
}
