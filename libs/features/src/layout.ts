import { MeshError } from '@millrace/kernel';
import { type AtRead, atReadOf } from './cells/at-read.ts';
import { type Cell, cellKey, cellOf, type Finish, type Merge } from './cells/cell.ts';
import { finisher, merger } from './cells/operations.ts';
import { checkView } from './check-view.ts';
import { type Composition, compositionOf, operandsOf, type SimpleDefinition } from './compose.ts';
import { viewFeatureTypes } from './feature-types.ts';
import { withInputs } from './inputs.ts';
import type { FeatureDefinition, FeatureType, ViewDefinition } from './types.ts';
import { dimensionOf } from './vectors.ts';
import { type ResolvedWindow, resolveWindow, windowKey } from './windows.ts';

/** What a feature's value is made of, by its places in a group. */
export interface GroupOperand {
  readonly window: number;
  readonly cell: number;
  readonly finish: Finish;
}

/** A feature in its group. */
export interface GroupFeature {
  /** Its place in the view. */
  readonly index: number;
  readonly type: FeatureType;
  /** One, or as many as `combine` takes. */
  readonly operands: readonly GroupOperand[];
  readonly combine: Composition['combine'] | undefined;
  readonly atRead: AtRead | undefined;
  /** What a row keeps is as of the start of its step. */
  readonly decays: boolean;
}

/** Features whose windows share a hop or are the same sessions: they share tiles and timeline. */
export interface Group {
  /** 0 for lifetime and sessions. */
  readonly hopUs: number;
  /** Of sessions, whose tiles are one for each session (sessions.ts); else 0. */
  readonly gapUs: number;
  /** Of sessions: where in a tile's slots the time of its newest event is. */
  readonly endAt: number;
  readonly windows: readonly ResolvedWindow[];
  /** How far back the window that reaches farthest starts: size and offset. */
  readonly maxSizeUs: number;
  /** The group's cells among the view's, with their places in a tile of the group. */
  readonly cells: readonly {
    readonly cell: Cell;
    readonly merge: Merge;
    readonly viewCell: number;
    readonly at: number;
    readonly partAt: number;
  }[];
  readonly width: number;
  readonly parts: number;
  /** Integers last: rows keep them together, as narrow as they allow. */
  readonly features: readonly GroupFeature[];
  /** How many of the features are integers. */
  readonly integers: number;
}

/** BOOL, INT64 and TIMESTAMP. */
function isInteger(type: FeatureType): boolean {
  return type === 'BOOL' || type === 'INT64' || type === 'TIMESTAMP';
}

/** What state, rows and readers of a view agree on; a function of its definition alone. */
export interface Layout {
  readonly view: ViewDefinition;
  readonly types: readonly FeatureType[];
  /** Every cell of the view once, with its places in a head entry. */
  readonly cells: readonly { readonly cell: Cell; readonly at: number; readonly partAt: number }[];
  readonly width: number;
  readonly parts: number;
  readonly groups: readonly Group[];
  /** For each feature its group and its place there. */
  readonly places: readonly { readonly group: number; readonly column: number }[];
  /** Events that stay outside tiles, at most. */
  readonly headMax: number;
}

const headEventsMax = 32;
/** Steps of the head may cost about this much of a row. */
const headBytes = 2_048;

/** INVALID_DEFINITION lists every problem. */
export function layoutOf(given: ViewDefinition): Layout {
  const problems = checkView(given);
  if (problems.length > 0) {
    throw new MeshError(
      'INVALID_DEFINITION',
      `feature view "${given.name}": ${problems.map(({ path, problem }) => `${path}: ${problem}`).join('; ')}`,
      { featureView: given.name, problems: problems.length },
    );
  }
  const view = withInputs(given);
  const types = viewFeatureTypes(view);
  const fields = new Map(view.fields.map((field) => [field.name, field]));
  const cells: { cell: Cell; at: number; partAt: number }[] = [];
  const cellIndex = new Map<string, number>();
  const size = { width: 0, parts: 0 };
  const place = (cell: Cell): number => {
    const known = cellIndex.get(cellKey(cell));
    if (known !== undefined) return known;
    cellIndex.set(cellKey(cell), cells.length);
    cells.push({ cell, at: size.width, partAt: size.parts });
    size.width += cell.width;
    size.parts += Number(cell.part !== 'none');
    return cells.length - 1;
  };
  const members = view.features.map((feature, index): Member => {
    const operands = operandsOf(feature).map((operand) => {
      const cell = cellOf(operand, fields);
      return { window: resolveWindow(operand.window), viewCell: place(cell), cell, finish: finisher(operand, cell) };
    });
    return { feature, index, type: types[index] ?? 'DOUBLE', operands };
  });
  // the operands of a feature have windows of the same hop
  const groupKey = ({ operands }: Member) => `${operands[0]?.window.hopUs}/${operands[0]?.window.gapUs}`;
  const groups = [...Map.groupBy(members, groupKey).values()].map((own) => {
    const isSession = (own[0]?.operands[0]?.window.gapUs ?? 0) > 0;
    return groupOf(own, cells, isSession ? [place(cellOf(everyEvent, fields))] : []);
  });
  const places = view.features.map((_, index) => {
    const group = groups.findIndex(({ features }) => features.some((feature) => feature.index === index));
    return { group, column: groups[group]?.features.findIndex((feature) => feature.index === index) ?? 0 };
  });
  const stepBytes = view.features.reduce((sum, feature, at) => sum + bytesInStep(feature, types[at]), 0);
  const headMax = Math.min(headEventsMax, Math.floor(headBytes / stepBytes));
  return { view, types, cells, width: size.width, parts: size.parts, groups, places, headMax };
}

/** About what a feature takes of each step in a row. */
function bytesInStep({ n = 0, edges = [] }: FeatureDefinition, type: FeatureType = 'DOUBLE'): number {
  return 8 * (1 + n + (edges.length > 0 ? edges.length + 1 : 0)) + 4 * dimensionOf(type);
}

/** A feature on its way into a group. */
interface Member {
  readonly feature: FeatureDefinition;
  readonly index: number;
  readonly type: FeatureType;
  readonly operands: readonly {
    readonly window: ResolvedWindow;
    readonly viewCell: number;
    readonly cell: Cell;
    readonly finish: Finish;
  }[];
}

/** What tells when a session ends. */
const everyEvent: SimpleDefinition = {
  name: '',
  function: 'age',
  field: '',
  window: { t: 'lifetime' },
  filter: '',
  ddof: 0,
};

/** `first` are cells of the view that the group needs beside those of its features, at the start of its tiles. */
function groupOf(given: readonly Member[], viewCells: Layout['cells'], first: readonly number[]): Group {
  const members = [...given.filter(({ type }) => !isInteger(type)), ...given.filter(({ type }) => isInteger(type))];
  const all = members.flatMap(({ operands }) => operands);
  const windows = new Map(all.map(({ window }) => [windowKey(window), window]));
  const windowKeys = [...windows.keys()];
  const used = [...new Set([...first, ...all.map(({ viewCell }) => viewCell)])];
  let width = 0;
  let parts = 0;
  const cells = used.flatMap((viewCell) => {
    const cell = viewCells[viewCell]?.cell;
    if (!cell) return [];
    const place = { cell, merge: merger(cell), viewCell, at: width, partAt: parts };
    width += cell.width;
    parts += Number(cell.part !== 'none');
    return [place];
  });
  const features = members.map(
    ({ feature, index, type, operands }): GroupFeature => ({
      index,
      type,
      operands: operands.map(({ window, viewCell, finish }) => ({
        window: windowKeys.indexOf(windowKey(window)),
        cell: used.indexOf(viewCell),
        finish,
      })),
      combine: compositionOf(feature)?.combine,
      atRead: atReadOf(feature),
      decays: atReadOf(feature) !== undefined && operands[0]?.cell.kind === 'decayed',
    }),
  );
  return {
    hopUs: all[0]?.window.hopUs ?? 0,
    gapUs: all[0]?.window.gapUs ?? 0,
    // the second slot of the cell of every event, which is the first
    endAt: 1,
    windows: [...windows.values()],
    maxSizeUs: Math.max(...all.map(({ window }) => window.sizeUs + window.offsetUs)),
    cells,
    width,
    parts,
    features,
    integers: members.filter(({ type }) => isInteger(type)).length,
  };
}
