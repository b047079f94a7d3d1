export { denseModel } from './dense-model.ts';
