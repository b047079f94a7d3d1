import { MeshError } from '@millrace/kernel';
import { expect, test } from 'vitest';
import { compileTrafficRules, type TrafficRequest, trafficProblems } from './traffic-rules.ts';

const request = (given: Partial<TrafficRequest> = {}): TrafficRequest => ({
  headers: new Map(),
  keys: new Map(),
  data: new Map(),
  parameters: new Map(),
  predictionKey: '',
  ...given,
});
const traffic = (unit: string, ...whens: string[]) =>
  compileTrafficRules({ name: 'fraud', unit, rules: whens.map((when, index) => ({ name: `r${index}`, when })) });
const problems = (unit: string, ...whens: string[]) =>
  trafficProblems({ name: 'fraud', unit, rules: whens.map((when, index) => ({ name: `r${index}`, when })) });

test('the first rule that matches decides', () => {
  const { ruleOf } = traffic('', 'headers["x-tenant"] == "beta"', 'data.amount > 100.0', 'unit.startsWith("vip-")');
  const beta = new Map([['x-tenant', 'beta']]);
  expect(ruleOf(request({ headers: beta, data: new Map([['amount', 500]]) }), 'vip-1')).toBe(0);
  expect(ruleOf(request({ data: new Map([['amount', 500]]) }), 'vip-1')).toBe(1);
  expect(ruleOf(request({ data: new Map([['amount', 5]]) }), 'vip-1')).toBe(2);
  expect(ruleOf(request(), 'u')).toBeUndefined();
});

test('keys, parameters and the prediction key are seen as well', () => {
  const { ruleOf } = traffic('', 'keys.airport in ["JFK", "SFO"]', 'parameters.tier == 3', 'prediction_key == "p"');
  expect(ruleOf(request({ keys: new Map([['airport', 'SFO']]) }), '')).toBe(0);
  expect(ruleOf(request({ parameters: new Map([['tier', 3n]]) }), '')).toBe(1);
  // a number of JSON
  expect(ruleOf(request({ parameters: new Map([['tier', 3]]) }), '')).toBe(1);
  expect(ruleOf(request({ parameters: new Map([['tier', 'gold']]), predictionKey: 'p' }), '')).toBe(2);
});

test('what cannot be evaluated does not match, whatever else the expression says', () => {
  const { ruleOf } = traffic('', 'headers["x"] == "1"', '"x" in headers || data.amount > 1.0');
  expect(ruleOf(request(), '')).toBeUndefined();
  expect(ruleOf(request({ headers: new Map([['x', '2']]) }), '')).toBe(1);
  const { verdicts } = traffic('', 'headers["x"] == "1"', 'unit == "u"');
  expect(verdicts(request(), 'u')).toEqual([
    { matches: false, problem: 'No such key: x' },
    { matches: true, problem: '' },
  ]);
});

test('a declared unit is read from the request, and one that lacks it is told so', () => {
  const { unitOf } = traffic('"x-user" in headers ? headers["x-user"] : keys.customer');
  expect(unitOf(request({ headers: new Map([['x-user', 'ada']]) }), () => 'fallback')).toBe('ada');
  expect(unitOf(request({ keys: new Map([['customer', '7']]) }), () => 'fallback')).toBe('7');
  for (const lacking of [request(), request({ headers: new Map([['x-user', '']]) })])
    expect(() => unitOf(lacking, () => 'fallback')).toThrow(
      expect.objectContaining({ reason: 'INVALID_ARGUMENT', message: expect.stringContaining('deployment "fraud"') }),
    );
  expect(traffic('').unitOf(request(), () => 'fallback')).toBe('fallback');
});

test('a unit that is no string for some request is refused there', () => {
  const { unitOf } = traffic('parameters.user');
  expect(unitOf(request({ parameters: new Map([['user', 'ada']]) }), () => '')).toBe('ada');
  expect(() => unitOf(request({ parameters: new Map([['user', 3n]]) }), () => '')).toThrow(MeshError);
});

test('expressions and names are checked before they are used', () => {
  expect(problems('keys.customer', 'headers["a"] == "b"')).toEqual([]);
  const [unknown] = problems('', 'tenant == "b"');
  expect(unknown).toMatchObject({
    field: 'rules.0.when',
    message: expect.stringContaining('Unknown variable: tenant'),
  });
  expect(problems('', 'unit')[0]?.message).toContain('is string; it must be bool');
  expect(problems('1 + 2')[0]?.message).toContain('is int; it must be string');
  expect(problems('unit')[0]?.message).toContain('Unknown variable: unit');
  expect(problems('', 'headers["a"] ==')[0]?.message).toContain('cannot be read');
  expect(problems('', 'true || headers.exists(k, k.matches("(a+)+$"))')[0]?.message).toContain('matches()');
  expect(problems('', `"${'x'.repeat(3_000)}" == unit`)[0]?.message).toContain('over the limit of 2000');
  expect(problems('', ...new Array(33).fill('true'))[0]?.message).toContain('over the limit of 32');
  const named = (name: string) => ({ name, when: 'true' });
  const found = trafficProblems({ name: 'd', unit: '', rules: [named('a'), named('a'), named('A b')] });
  expect(found.map(({ field }) => field)).toEqual(['rules.1.name', 'rules.2.name']);
});
