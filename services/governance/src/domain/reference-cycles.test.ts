import { definitions } from '@millrace/contracts';
import { emptySnapshot } from '@millrace/registry';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { catalogOf } from './catalog.ts';
import { cycleProblems, findCycles } from './reference-cycles.ts';

type Edges = readonly (readonly [from: number, to: number])[];

const find = (edges: Edges, starts: readonly number[]) =>
  findCycles(starts.map(String), (node) =>
    edges.filter(([from]) => String(from) === node).map(([, to]) => ({ field: `${node}>${to}`, to: String(to) })),
  );

describe('a walk of references', () => {
  const count = 7;
  const node = fc.nat(count - 1);
  const graph = fc.array(fc.tuple(node, node), { maxLength: 14 });

  test('finds a cycle exactly when a node in reach comes back to itself, and only real ones', () => {
    const seen = { some: 0, none: 0 };
    fc.assert(
      fc.property(graph, fc.uniqueArray(node), (edges, starts) => {
        const reaches = Array.from({ length: count }, (_, from) =>
          Array.from({ length: count }, (_, to) => edges.some(([a, b]) => a === from && b === to)),
        );
        for (let via = 0; via < count; via++)
          for (const row of reaches)
            if (row[via]) for (const [to, there] of (reaches[via] ?? []).entries()) row[to] ||= there;
        const expected = reaches.some(
          (row, at) => row[at] && starts.some((start) => start === at || reaches[start]?.[at]),
        );
        const found = find(edges, starts);
        expect(found.length > 0).toBe(expected);
        seen[expected ? 'some' : 'none']++;
        for (const cycle of found)
          for (const [index, step] of cycle.entries())
            expect(step.field).toBe(`${step.from}>${cycle[(index + 1) % cycle.length]?.from}`);
      }),
      { numRuns: 2_000 },
    );
    expect(Math.min(seen.some, seen.none)).toBeGreaterThan(200);
  });

  test('takes two ways to one node for what they are, and each cycle of two apart', () => {
    expect(
      find(
        [
          [0, 1],
          [0, 2],
          [1, 3],
          [2, 3],
        ],
        [0],
      ),
    ).toEqual([]);
    expect(
      find(
        [
          [0, 1],
          [1, 0],
          [2, 3],
          [3, 2],
        ],
        [0, 2],
      ),
    ).toHaveLength(2);
    expect(find([[4, 4]], [4])).toEqual([[{ from: '4', field: '4>4' }]]);
  });

  test('goes as far as a registry can', () => {
    const last = 50_000;
    const next = (node: string) => [{ field: 'next', to: node === String(last) ? '0' : String(Number(node) + 1) }];
    expect(findCycles(['0'], next).map((cycle) => cycle.length)).toEqual([last + 1]);
  });
});

describe('definitions', () => {
  const define = (name: string, spec: definitions.Definition['spec']) =>
    definitions.Definition.fromPartial({ name, file: `${name}.ts`, spec: spec as never });
  const source = define('predictions_score', { $case: 'source', value: definitions.Source.fromPartial({}) });
  const view = define('risk', {
    $case: 'featureView',
    value: definitions.FeatureView.fromPartial({ entity: 'user', source: 'predictions_score' }),
  });
  const service = define('inputs', {
    $case: 'featureService',
    value: definitions.FeatureService.fromPartial({ features: [{ view: 'clicks' }, { view: 'risk' }] }),
  });
  const model = (featureService: string, outcome?: string) =>
    define('score', {
      $case: 'model',
      value: definitions.Model.fromPartial({ featureService, ...(outcome ? { outcome: { source: outcome } } : {}) }),
    });
  const deployment = define('live', {
    $case: 'deployment',
    value: definitions.Deployment.fromPartial({ targets: [{ model: 'score' }] }),
  });
  const problems = (...set: readonly definitions.Definition[]) =>
    cycleProblems(set, catalogOf(emptySnapshot, set, new Set()));

  test('that lead one way have none', () => {
    expect(problems(source, view, service, model(''), deployment)).toEqual([]);
    expect(problems(source, service, model('inputs'), deployment)).toEqual([]);
  });

  test('have one when a model is fed by its own predictions, told once with the whole way', () => {
    expect(problems(view, deployment, service, model('inputs'), source)).toEqual([
      {
        file: 'risk.ts',
        definition: 'feature_view "risk"',
        field: 'source',
        message:
          'cycle: feature_view "risk" -> source "predictions_score" -> model "score" -> feature_service "inputs" -> feature_view "risk"; take one of these references out',
      },
    ]);
  });

  test('have one when a model takes its predictions for outcomes', () => {
    expect(problems(model('', 'predictions_score'), source)).toMatchObject([
      { file: 'score.ts', definition: 'model "score"', field: 'outcome.source' },
    ]);
  });
});
