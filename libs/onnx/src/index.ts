export { normaliseOnnx } from './normalise.ts';
