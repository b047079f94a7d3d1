import { expect, test } from 'vitest';
import { int8Saturates } from './saturation.ts';

const info = (...flags: readonly string[]) => `processor\t: 0\nflags\t\t: fpu ${flags.join(' ')} avx2\nbugs\t: none\n`;

test.each([
  ['x64', info(), true],
  ['x64', info('avx512_vnni'), false],
  ['x64', info('avx_vnni'), false],
  ['x64', info('amx_int8'), false],
  // a flag that only begins like one
  ['x64', info('avx512_vnni2'), true],
  ['arm64', 'Features\t: fp asimddp\n', false],
  ['x64', '', false],
])('%s with %j: %s', (architecture, text, saturates) => {
  expect(int8Saturates(architecture, text)).toBe(saturates);
});
